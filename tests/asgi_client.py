"""A browser for ASGI applications in this process: keeps its cookies, shows each message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
App = Callable[..., Awaitable[None]]


class Response:
    """What the application sent."""

    def __init__(self, messages: list[Message]) -> None:
        self.messages = messages
        self.status: int = messages[0]["status"]
        self.headers: list[tuple[bytes, bytes]] = list(messages[0]["headers"])
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    def all(self, name: str) -> list[str]:
        """The values of a header."""
        return [value.decode("latin-1") for other, value in self.headers if other.decode().lower() == name]

    def get(self, name: str) -> str | None:
        """The value of a header that must not be there twice."""
        values = self.all(name)
        assert len(values) <= 1, values
        return values[0] if values else None


class Browser:
    """Sends requests to an application, with the cookies that it was given."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.jar: dict[str, str] = {}

    @property
    def cookie(self) -> str | None:
        """The `Cookie` header of the next request."""
        return "; ".join(f"{name}={value}" for name, value in self.jar.items()) or None

    @cookie.setter
    def cookie(self, header: str | None) -> None:
        self.jar = dict(pair.split("=", 1) for pair in header.split("; ")) if header else {}

    def scope(self, path: str = "/", kind: str = "http", cookie: str | None = None) -> dict[str, Any]:
        """A request or handshake as a server would make it."""
        headers = [(b"host", b"shop.example")]
        if cookie is not None:
            headers.append((b"cookie", cookie.encode("latin-1")))
        return {
            "type": kind,
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https" if kind == "http" else "wss",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 40000),
            "server": ("shop.example", 443),
            "subprotocols": [],
            "state": {},
        }

    async def get(self, path: str = "/", cookie: str | None = None) -> Response:
        """Ask for a page, with the cookie held or the one given; exceptions of the application come through."""
        sent: list[Message] = []

        asked = False

        async def receive() -> Message:
            nonlocal asked
            if asked:
                await asyncio.Event().wait()  # the browser stays
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        try:
            await self.app(self.scope(path, cookie=cookie or self.cookie), receive, send)
        finally:
            self.sent = sent
        response = Response(sent)
        for line in response.all("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.jar.pop(name, None)
            if "Max-Age=0" not in line:
                self.jar[name] = value
        return response
