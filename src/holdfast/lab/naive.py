"""Sessions in a dictionary of the process: the way that many applications begin with.

Written as such code usually is, and no worse: ids are random, an unknown id is never adopted, a session
that was emptied is forgotten. It cannot survive its process, and no other process knows of it: that is what
the lab shows.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "sid"


class MemorySessions:
    """ASGI middleware: `scope["session"]` is a plain dict that lives as long as this process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._sessions: dict[str, dict[str, Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sid = cookie_of(scope)
        known = sid in self._sessions
        session = self._sessions[sid] if known else {}
        scope["session"] = session

        async def send_and_keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                if session and known:
                    self._sessions[sid] = session
                elif session:
                    new = secrets.token_urlsafe(24)
                    self._sessions[new] = session
                    set_cookie(message, f"{COOKIE}={new}; Path=/; HttpOnly; SameSite=Lax")
                elif known:
                    self._sessions.pop(sid, None)
                    set_cookie(message, f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
            await send(message)

        await self._app(scope, receive, send_and_keep)


def cookie_of(scope: Scope) -> str:
    """The session id that the browser sent, or nothing."""
    for name, value in scope["headers"]:
        if name == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                key, _, text = pair.strip().partition("=")
                if key == COOKIE:
                    return str(text)
    return ""


def set_cookie(message: Message, cookie: str) -> None:
    """Add a `Set-Cookie` header to the start of a response."""
    message["headers"] = [*message.get("headers", ()), (b"set-cookie", cookie.encode("latin-1"))]
