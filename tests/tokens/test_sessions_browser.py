"""A session in several cookies in a real browser: what is set is kept, what is cleared is gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
import uvicorn
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from holdfast import Keyring, Sessions
from holdfast.asgi import SessionMiddleware
from holdfast.tokens import Token

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MOST_BYTES = 60_000


async def page(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """`/?size=n` puts n characters into the session, `/logout` ends it, `/` says how many it holds."""
    if scope["type"] != "http":
        return
    session = scope["session"]
    query = parse_qs(scope["query_string"].decode())
    if scope["path"] == "/logout":
        session.logout()
    elif "size" in query:
        session["value"] = "x" * int(query["size"][0])
    body = str(len(session.get("value", ""))).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


class Served:
    """The application on a free port of this machine."""

    def __init__(self, **settings: Any) -> None:
        sessions = Sessions(token=Token(max_bytes=MOST_BYTES), keys=Keyring.generate(), **settings)
        # Sixteen cookies of 4,096 bytes are more than uvicorn takes by itself.
        config = uvicorn.Config(
            SessionMiddleware(page, sessions),
            port=0,
            log_level="warning",
            lifespan="off",
            http="h11",
            h11_max_incomplete_event_size=128 * 1024,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()), daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            assert self._thread.is_alive()
        return f"http://localhost:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One Chromium with a profile of its own."""
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    driver = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.mark.parametrize("insecure_http", [False, True], ids=["__Host-session", "session"])
def test_a_browser_keeps_exactly_the_parts_of_the_newest_token(chrome: Chrome, insecure_http: bool) -> None:
    """From one cookie to fifteen and back: none is dropped, none is left, none is over 4,096 bytes."""
    name = "session" if insecure_http else "__Host-session"  # localhost is trusted like https

    def jar() -> dict[str, str]:
        found = chrome.execute_cdp_cmd("Network.getAllCookies", {})["cookies"]
        assert all(cookie["httpOnly"] and cookie["sameSite"] == "Lax" for cookie in found)
        assert all(cookie["secure"] is not insecure_http for cookie in found)
        return {cookie["name"]: cookie["value"] for cookie in found}

    with Served(insecure_http=insecure_http) as address:
        chrome.get("about:blank")
        chrome.execute_cdp_cmd("Network.clearBrowserCookies", {})

        def text(path: str) -> str:
            chrome.get(address + path)
            found: str = chrome.execute_script("return document.body.textContent")
            return found

        assert text("/") == "0"
        assert jar() == {}
        for size, count in [(10, 1), (5_000, 2), (20_000, 7), (3_000, 2), (41_000, 14), (9_000, 4), (1, 1)]:
            assert text(f"/?size={size}") == str(size)
            held = jar()
            assert sorted(held) == sorted([name, *(f"{name}-part{place}" for place in range(1, count))])
            assert max(len(each) + len(value) for each, value in held.items()) <= 4096
            assert text("/") == str(size)  # all of it came back
            assert jar() == held  # and reading set nothing
        text("/?size=12000")
        assert text("/logout") == "0"
        assert jar() == {}
