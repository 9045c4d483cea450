"""The Flask applications of the request benchmark: the same views with different session interfaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from flask import Flask, session
from flask_session.redis import RedisSessionInterface
from werkzeug.test import create_environ

from .asgi_subjects import DATA, number, read
from .measure import Call


def application() -> Flask:
    """An application whose views do to the session what their path says."""
    app = Flask("shop")

    @app.get("/none")
    def none() -> str:
        return "ok"

    @app.get("/read")
    def look() -> str:
        read(session)
        return "ok"

    @app.get("/write")
    def write() -> str:
        session["page"] = next(number)
        return "ok"

    @app.get("/fill")
    def fill() -> str:
        session.update(DATA)
        return "ok"

    return app


class Browser:
    """Calls a WSGI application in this process, with the cookies of its first answer."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.cookies: list[str] = []
        self.status = ""
        self.headers: list[tuple[str, str]] = []

    async def fill(self) -> Browser:
        """Store the data of a typical session, and keep the cookies."""
        await self.to("/fill")()
        self.cookies = [value.partition(";")[0] for name, value in self.headers if name == "Set-Cookie"]
        return self

    def to(self, path: str) -> Call:
        """The call that requests `path`; it raises RuntimeError unless the answer is 200."""
        environ = create_environ(path, "https://shop.example", headers={"Cookie": "; ".join(self.cookies)})

        async def call() -> None:
            for _ in self.app(environ.copy(), self.start_response):
                pass
            if self.status != "200 OK":
                raise RuntimeError(f"{path} answered {self.status}")

        return call

    def start_response(
        self, status: str, headers: list[tuple[str, str]], error: Any = None
    ) -> Callable[[bytes], object]:
        self.status, self.headers = status, headers
        return lambda data: None


async def peers(client: redis.Redis) -> dict[str, Call]:
    """The application without sessions, with Flask's own, and with Flask-Session's."""
    cookie = application()
    cookie.secret_key = "k" * 32
    signed = await Browser(cookie).fill()
    stored_app = application()
    stored_app.session_interface = RedisSessionInterface(stored_app, client)
    stored = await Browser(stored_app).fill()
    return {
        "Flask, no sessions": Browser(application()).to("/none"),
        "Flask signed cookie, read": signed.to("/read"),
        "Flask signed cookie, write": signed.to("/write"),
        "Flask-Session on Redis, read": stored.to("/read"),
        "Flask-Session on Redis, write": stored.to("/write"),
    }
