"""Sessions for ASGI applications: Starlette, FastAPI, Litestar, or none of them.

    app = SessionMiddleware(app, sessions)

Handlers find their session in `scope["session"]`, and so in `request.session`. No response leaves before its
changes are committed: a change that could not be kept turns the response into an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from .deadline import time_left
from .errors import ConfigError, HoldfastError, ResponseStarted, SessionGone, StoreError
from .ladder import FRESHNESS, Freshness
from .reading import Reading
from .responses import headers_for, refusal
from .session import Session
from .sessions import Sessions
from .settings import one_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class SessionMiddleware:
    """Gives each request and WebSocket its session.

    With `lazy`, a session is left unloaded until `await session.load()`, so that routes which need none cost
    nothing. `freshness` is for requests whose scope says nothing else in `scope["holdfast.freshness"]`. With
    `debug_header`, responses tell in `Holdfast-Explain` which home has answered, and why others have not.

    Calls to the store stop waiting before the platform ends the request: where `scope["aws.context"]` is the context of
    AWS Lambda (Mangum puts it there), or `scope["holdfast.time_left"]` says how many seconds are left. What a handler
    asks of stores by itself, and tasks that it begins, are under the same limit.

    If the store cannot be reached, requests that touch the session are answered 503 with `Retry-After`; if the
    session has ended under a request that changes it, 409. Raises `ConfigError` for wrong arguments.
    """

    def __init__(
        self,
        app: App,
        sessions: Sessions,
        *,
        lazy: bool = False,
        freshness: Freshness | None = None,
        debug_header: bool = False,
    ) -> None:
        if not isinstance(sessions, Sessions):
            raise ConfigError(f"SessionMiddleware takes a Sessions, not {type(sessions).__name__}")
        self._app = app
        self._sessions = sessions
        self._lazy = lazy
        self._freshness = freshness
        self._debug_header = debug_header
        if freshness is not None:
            one_of("freshness", freshness, *FRESHNESS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            await self._sessions.aclose()
            return
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if (seconds := _seconds_left(scope)) is None:
            await self._serve(scope, receive, send)
        else:
            with time_left(seconds):
                await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        session = scope["session"] = self._sessions.open(_cookie_header(headers), headers)
        if not self._lazy:
            freshness = scope.get("holdfast.freshness", self._freshness)
            if (rest := session._engine.begin_load(session, freshness)) is not None:
                await rest
        gate = _Gate(self._sessions, session, scope, send, self._debug_header)
        if scope["type"] == "websocket":
            await self._app(scope, receive, gate.on_websocket)
            gate.check_nothing_is_left("on a WebSocket")
            return
        try:
            await self._app(scope, receive, gate.on_response)
        except (SessionGone, StoreError) as error:
            if (
                not gate.refused
            ):  # or else an outer layer of the application raises it once more after our response
                if gate.began:
                    raise
                await gate.refuse(error)
        else:
            gate.check_nothing_is_left("after its response had begun")


class _Gate:
    """Holds a response back until the session's changes are committed."""

    __slots__ = ("_explains", "_scope", "_send", "_session", "_sessions", "began", "refused")

    def __init__(
        self, sessions: Sessions, session: Session, scope: Scope, send: Send, debug_header: bool
    ) -> None:
        self._sessions = sessions
        self._session = session
        self._scope = scope
        self._send = send
        self._explains = debug_header
        self.began = False  # the application's response, or one of ours in its place
        self.refused = False  # ours was sent: the rest of the application's is dropped

    def on_response(self, message: Message) -> Awaitable[None]:
        """The `send` of a request. What has to wait for nothing is passed on without a coroutine of its own."""
        session = self._session
        if self.refused:
            return _nothing()
        if message["type"] != "http.response.start" or self.began:
            if self.began and session._has_marks():
                self.check_nothing_is_left("after its response had begun")
            return self._send(message)
        # From here on a further response start, by an error handler of the application, commits nothing.
        self.began = True
        failure = session._raised
        if failure is not None and message["status"] == 500:
            # The handler met it, and a layer in between made an error page of it.
            return self.refuse(failure)
        if self._scope.get("session") is not session:
            self._adopt(self._scope.get("session"))
        if session._accessed or self._explains:
            if not session._engine.is_settled(session):
                return self._commit_first(message)
            message = self._with_headers(message)
        session._started = True
        return self._send(message)

    async def _commit_first(self, message: Message) -> None:
        try:
            await self._session.commit()
        except (SessionGone, StoreError) as error:
            await self.refuse(error)
            return
        except BaseException:
            # The handler hears of it. What could not be committed is given up; an error page may pass.
            self.began = False
            self._session._abandon()
            raise
        self._session._started = True
        await self._send(self._with_headers(message))

    async def on_websocket(self, message: Message) -> None:
        """The `send` of a WebSocket: the answer to the handshake is the only one that can carry a cookie."""
        if message["type"] in ("websocket.accept", "websocket.http.response.start"):
            self._session._started = True
            message = self._with_headers(message)
        await self._send(message)

    def _adopt(self, found: object) -> None:
        """Take over what a framework has put in the place of the session (Litestar's `set_session`)."""
        self._session.clear()
        if isinstance(found, Mapping):
            self._session.update(found)

    def check_nothing_is_left(self, when: str) -> None:
        """Raise `ResponseStarted` for a change that came too late to be committed."""
        session = self._session
        if not session._is_untouched() and not self.refused and session._is_changed():
            session._abandon()
            raise ResponseStarted(
                f"the session was changed {when} and never committed: the change is not kept. "
                "Change it earlier, or call `await session.commit()`"
            )

    def _with_headers(self, message: Message) -> Message:
        headers = message.get("headers", ())
        if type(headers) is not list:
            headers = list(headers)
        extra = headers_for(self._session, headers, self._sessions.vary)
        if self._explains:
            extra.append((b"holdfast-explain", _ascii(self._sessions.explain(self._session))))
        return {**message, "headers": headers + extra} if extra else message

    async def refuse(self, error: HoldfastError) -> None:
        """Answer in the place of the application."""
        self.began = self.refused = True
        status, headers, body = refusal(error)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


async def _nothing() -> None:
    """What is sent where the response was refused."""


def _seconds_left(scope: Scope) -> float | None:
    """How long the platform lets the request go on, where it says so."""
    seconds: float | None = scope.get("holdfast.time_left")
    if "aws.context" not in scope:
        return seconds
    remaining = getattr(scope["aws.context"], "get_remaining_time_in_millis", None)
    if remaining is None:
        return seconds
    by_lambda: float = remaining() / 1000
    return by_lambda if seconds is None else min(by_lambda, seconds)


def _cookie_header(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The request's cookies in one line: HTTP/2 may bring them in several (RFC 9113, 8.2.3)."""
    found = None
    for name, value in headers:
        if name == b"cookie":
            found = value if found is None else found + b"; " + value
    return found


def _ascii(reading: Reading) -> bytes:
    return str(reading).encode("ascii", "replace")
