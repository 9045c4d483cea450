"""The shop that every instance of the lab runs: one small ASGI application, the same for every strategy.

Each operation takes `think`, milliseconds that the handler spends between looking at the session and
answering, as a real handler would on its database; that is what puts work in flight for a kill to hit.

    POST /visit              one more visit
    POST /put?key=&value=    remember a text
    GET  /read               look, change nothing
    POST /login?user=        sign in
    POST /logout             sign out

Each answers 200 and `{"instance": "i7", "user": str | null, "values": {...}}`: what the session holds
afterwards. A request that makes no sense is answered with 400 or 404 and changes no session.

It is plain ASGI and imports next to nothing, because its imports are part of every cold start.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol
from urllib.parse import parse_qs

from .naive import Receive, Scope, Send

Think = Callable[[], Awaitable[None]]

LONGEST_THINK = 10_000.0  # milliseconds


class Shop:
    """The ASGI application. `instance` names it in its answers; `ways` is how its handlers use a session."""

    def __init__(self, instance: str, ways: Ways) -> None:
        self._instance = instance
        self._ways = ways

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the shop speaks http only, not {scope['type']}")
        status, answer = await self._answer(scope)
        body = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        operation = OPERATIONS.get((scope["method"], scope["path"]))
        if operation is None:
            return 404, {"error": f"there is no {scope['method']} {scope['path']}"}
        session = scope["session"]
        try:
            query = _Query(scope["query_string"])
            await operation(self._ways, session, query)
        except _Senseless as error:
            return 400, {"error": str(error)}
        values = {key: session[key] for key in session if key != "user"}
        return 200, {"instance": self._instance, "user": self._ways.user(session), "values": values}


class Ways(Protocol):
    """How a handler does what the shop needs with the sessions that it has."""

    async def visit(self, session: Any, think: Think) -> None: ...
    def login(self, session: Any, user: str) -> None: ...
    def logout(self, session: Any) -> None: ...
    def user(self, session: Any) -> str | None: ...


class UsualWays:
    """With a dict: read, work, write back; the user is a value like any other."""

    async def visit(self, session: MutableMapping[str, Any], think: Think) -> None:
        visits = session.get("visits", 0)
        await think()
        session["visits"] = visits + 1

    def login(self, session: MutableMapping[str, Any], user: str) -> None:
        session["user"] = user

    def logout(self, session: MutableMapping[str, Any]) -> None:
        session.clear()

    def user(self, session: MutableMapping[str, Any]) -> str | None:
        return session.get("user")


class HoldfastWays:
    """With a Holdfast session: a counter is altered, and signing in and out are the session's own."""

    async def visit(self, session: Any, think: Think) -> None:
        session.alter("visits", lambda visits: visits + 1, default=0)
        await think()

    def login(self, session: Any, user: str) -> None:
        session.login(user)

    def logout(self, session: Any) -> None:
        session.logout()

    def user(self, session: Any) -> str | None:
        owner: str | None = session.owner
        return owner


class _Senseless(ValueError):
    """The request cannot be meant; the text says why."""


class _Query:
    """The query of one request. A value that is missing or makes no sense raises `_Senseless`."""

    def __init__(self, raw: bytes) -> None:
        self._values = parse_qs(raw.decode("latin-1"), keep_blank_values=True)
        try:
            self._think = float(self["think"]) if "think" in self._values else 0.0
        except ValueError as error:
            raise _Senseless("think= is a number of milliseconds") from error
        if not 0 <= self._think <= LONGEST_THINK:
            raise _Senseless(f"think= is 0 to {LONGEST_THINK:.0f} milliseconds")

    def __getitem__(self, name: str) -> str:
        found = self._values.get(name, [])
        if len(found) != 1:
            raise _Senseless(f"{name}= is needed once")
        return found[0]

    async def think(self) -> None:
        await asyncio.sleep(self._think / 1000)


async def _visit(ways: Ways, session: Any, query: _Query) -> None:
    await ways.visit(session, query.think)


async def _put(ways: Ways, session: Any, query: _Query) -> None:
    key, value = query["key"], query["value"]
    if key in ("user", "visits"):
        raise _Senseless(f"{key} is not a key to put")
    session[key] = value
    await query.think()


async def _read(ways: Ways, session: Any, query: _Query) -> None:
    await query.think()


async def _login(ways: Ways, session: Any, query: _Query) -> None:
    ways.login(session, query["user"])
    await query.think()


async def _logout(ways: Ways, session: Any, query: _Query) -> None:
    ways.logout(session)
    await query.think()


OPERATIONS: dict[tuple[str, str], Callable[[Ways, Any, _Query], Awaitable[None]]] = {
    ("POST", "/visit"): _visit,
    ("POST", "/put"): _put,
    ("GET", "/read"): _read,
    ("POST", "/login"): _login,
    ("POST", "/logout"): _logout,
}
