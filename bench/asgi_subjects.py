"""The ASGI applications of the request benchmark: the same handlers behind different session middleware."""

from __future__ import annotations

import itertools
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import redis.asyncio
from starlette.middleware.sessions import SessionMiddleware as SignedCookie
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starsessions import SessionAutoloadMiddleware
from starsessions import SessionMiddleware as Starsessions
from starsessions.stores.redis import RedisStore as StarsessionsRedis

from .measure import Call

DATA: dict[str, Any] = {
    "user": "b1946ac9-2ed5-4e07-9d2c-6f0f1f6f7a31",
    "cart": [{"sku": f"tea-{n}", "count": n, "price": 4.5 * n} for n in range(1, 5)],
    "csrf": "kN3vJ9fWq2xTz7LmPb5RcYh8Ds4Gt6Qa1Ue0Xo",
    "locale": "en-GB",
    "flash": ["Your tea is on its way."],
    "seen": ["/tea/assam", "/tea/darjeeling", "/tea/oolong", "/about"],
    "page": 1,
}
"""About 400 bytes once encoded."""

number = itertools.count(2)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """What every subject wraps: it does to the session what the path says, and answers two bytes."""
    request = Request(scope, receive)
    match scope["path"]:
        case "/read":
            read(request.session)
        case "/write":
            request.session["page"] = next(number)
        case "/fill":
            request.session.update(DATA)
    await PlainTextResponse("ok")(scope, receive, send)


def read(session: MutableMapping[str, Any]) -> None:
    """Look at a text and at a list, as a page that greets its user and shows the cart does."""
    session.get("user")
    session.get("cart")


class Browser:
    """Calls an ASGI application in this process, with the cookies of its first answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.cookies: dict[str, str] = {}
        self.answer: Message = {}

    async def fill(self) -> Browser:
        """Store the data of a typical session, and keep the cookies."""
        await self.call("/fill")
        self.keep()
        return self

    def keep(self) -> None:
        """Keep the cookies of the last answer."""
        for name, value in self.answer["headers"]:
            if name == b"set-cookie":
                key, _, rest = value.decode("latin-1").partition("=")
                self.cookies[key] = rest.partition(";")[0]

    async def call(self, path: str) -> None:
        """Send one request; RuntimeError unless the answer is 200."""
        headers = [(b"host", b"shop.example"), (b"accept", b"text/html")]
        if self.cookies:
            pairs = (f"{name}={value}" for name, value in self.cookies.items())
            headers.append((b"cookie", "; ".join(pairs).encode()))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 50000),
            "server": ("shop.example", 443),
        }
        await self.app(scope, self.receive, self.send)
        if self.answer["status"] != 200:
            raise RuntimeError(f"{path} answered {self.answer['status']}")

    def to(self, path: str) -> Call:
        """The call that requests `path`."""
        return lambda: self.call(path)

    async def receive(self) -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.answer = message


async def peers(client: redis.asyncio.Redis) -> dict[str, Call]:
    """The application without sessions, and with those of others."""
    bare = Browser(application)
    signed = await Browser(SignedCookie(application, secret_key="k" * 32)).fill()
    store = StarsessionsRedis(connection=client)
    stored = await Browser(
        Starsessions(SessionAutoloadMiddleware(application), store=store, lifetime=3600)
    ).fill()
    return {
        "Starlette, no sessions": bare.to("/none"),
        "Starlette signed cookie, read": signed.to("/read"),
        "Starlette signed cookie, write": signed.to("/write"),
        "starsessions on Redis, read": stored.to("/read"),
        "starsessions on Redis, write": stored.to("/write"),
    }


async def holdfast(port: int, place: Path) -> dict[str, Call]:
    """The application with Holdfast's sessions, on the Redis of that port and in files at `place`.

    The store alone answers, but for a browser that has just written where there are local copies: its reads are
    strong, and its cookies say how far it has seen.
    """
    from holdfast import Keyring, Sessions
    from holdfast.asgi import SessionMiddleware

    keys, redis_url = Keyring.generate(), f"redis://127.0.0.1:{port}"
    on_redis = Sessions(redis_url, keys=keys, local=None)
    eager = await Browser(SessionMiddleware(application, on_redis)).fill()
    lazy = Browser(SessionMiddleware(application, on_redis, lazy=True))
    lazy.cookies = eager.cookies
    stranger = Browser(SessionMiddleware(application, on_redis))
    with_copies = SessionMiddleware(application, Sessions(redis_url, keys=keys))
    pinned, writer = await Browser(with_copies).fill(), await Browser(with_copies).fill()
    calls = {
        "Holdfast on Redis, read": eager.to("/read"),
        "Holdfast on Redis, write": eager.to("/write"),
        "Holdfast on Redis, untouched": eager.to("/none"),
        "Holdfast on Redis, untouched, lazy": lazy.to("/none"),
        "Holdfast on Redis, untouched, no cookie": stranger.to("/none"),
        "Holdfast on Redis, read, no cookie": stranger.to("/read"),
        "Holdfast on Redis, local copies, pinned read": pinned.to("/read"),
        "Holdfast on Redis, local copies, write": writer.to("/write"),
    }
    for name, url in {"memory": "memory://", "SQLite": f"sqlite:///{place}/sessions.db"}.items():
        sessions = Sessions(url, keys=keys, local=None)
        browser = await Browser(SessionMiddleware(application, sessions)).fill()
        calls |= {f"Holdfast on {name}, {path}": browser.to(f"/{path}") for path in ("read", "write")}
    return calls
