"""Promise 7 on a real server: an outage is not a logout, and nothing needs a restart afterwards."""

from __future__ import annotations

import logging
import sys
import time

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asgi_client import Browser
from holdfast import ConfigError, Keyring, Sessions
from holdfast.asgi import SessionMiddleware
from servers.process import BUSY_SECONDS, free_port
from servers.redis import RedisServer

KEYS = Keyring.generate()


async def visit(request: Request) -> JSONResponse:
    return JSONResponse(request.session.alter("visits", lambda n: n + 1, default=0))


async def read(request: Request) -> JSONResponse:
    return JSONResponse(request.session.get("visits"))


async def page(request: Request) -> JSONResponse:
    return JSONResponse("a page without a session")


def shop(sessions: Sessions) -> SessionMiddleware:
    routes = [Route("/visit", visit), Route("/read", read), Route("/page", page)]
    return SessionMiddleware(Starlette(routes=routes), sessions)


async def test_promise_7_an_outage_is_not_a_logout(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis stops: 503 with Retry-After where the session is touched, the cookie stays; back again, all works."""
    browser = Browser(shop(Sessions(redis_server.url, keys=KEYS)))
    for count in (1, 2):
        assert (await browser.get("/visit")).body == str(count).encode()
    identity = browser.jar["__Host-session"]

    redis_server.stop()
    for path in ("/visit", "/read"):
        with caplog.at_level(logging.WARNING, "holdfast"):
            response = await browser.get(path)
        assert response.status == 503
        assert int(response.get("retry-after") or 0) > 0
        assert response.get("set-cookie") is None
        assert b"redis" not in response.body.lower()
    assert (await browser.get("/page")).status == 200
    newcomer = Browser(browser.app)
    assert (await newcomer.get("/read")).status == 200, "whoever has no session needs no store to be told so"
    assert (await newcomer.get("/visit")).status == 503
    assert newcomer.cookie is None
    assert identity not in caplog.text

    redis_server.start()
    response = await browser.get("/visit")
    assert (response.status, response.body) == (200, b"3"), "the same application, not restarted"
    assert browser.jar["__Host-session"] == identity


async def test_a_store_that_does_not_answer_costs_one_time_limit(redis_server: RedisServer) -> None:
    """It accepts and never answers: the request is refused in bounded time, and keeps its cookie."""
    browser = Browser(shop(Sessions(f"{redis_server.url}?timeout=1", keys=KEYS)))
    await browser.get("/visit")
    redis_server.freeze()
    before = time.monotonic()
    response = await browser.get("/read")
    took = time.monotonic() - before
    redis_server.thaw()
    assert response.status == 503
    assert response.get("set-cookie") is None
    assert took < 1 + BUSY_SECONDS
    assert (await browser.get("/visit")).body == b"2"


async def test_a_store_that_is_not_there_at_the_start(tmp_path: object) -> None:
    """The application starts all the same: the store may come up later."""
    browser = Browser(shop(Sessions(f"redis://127.0.0.1:{free_port()}", keys=KEYS)))
    assert (await browser.get("/page")).status == 200
    assert (await browser.get("/visit")).status == 503


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://127.0.0.1:port", "port"),
        ("redis://127.0.0.1:6379/zero", "number of a database"),
        ("redis://127.0.0.1?nonsense=1", "nonsense"),
        ("sqlite:////nowhere/at/all/s.db", "nowhere"),
        ("mongodb://x", "mongodb"),
        ("redis://[::1", "is no URL"),
        ("just text", "just text"),
        ("", "HOLDFAST|store"),
    ],
)
def test_a_bad_url_is_an_error_at_construction(url: str, text: str) -> None:
    """That says what is wrong with it."""
    with pytest.raises(ConfigError, match=text):
        Sessions(url, keys=KEYS)


def test_a_missing_client_answers_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """At construction, not at the first request."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "holdfast.stores.redis", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'holdfast\[redis\]'"):
        Sessions("redis://127.0.0.1", keys=KEYS)
