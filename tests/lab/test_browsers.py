"""The simulated browser over real HTTP: what it sends, what it learns, and what it writes down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from holdfast.lab import browsers
from holdfast.lab.browsers import Browser
from holdfast.lab.history import Event, History

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def browsing(handler: Handler) -> AsyncIterator[tuple[Browser, list[Event]]]:
    """A browser at a server of its own, and the events that it writes down."""
    app = web.Application()
    app.router.add_route("*", "/{path}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    history = History()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with Browser(3, url, history, seed=1) as browser:
            yield browser, history.events
    finally:
        await runner.cleanup()


def shown(user: str | None = None, *cookies: str, **values: object) -> web.Response:
    """The shop's answer."""
    response = web.json_response({"instance": "i7", "user": user, "values": values})
    for cookie in cookies:
        response.headers.add("Set-Cookie", cookie)
    return response


@pytest.mark.parametrize(
    ("op", "method", "url"),
    [
        ("visit", "POST", "/visit?think=30"),
        ("put", "POST", "/put?think=30&key=a+b&value=x%26y"),
        ("read", "GET", "/read?think=30"),
        ("login", "POST", "/login?think=30&user=x%26y"),
        ("logout", "POST", "/logout?think=30"),
        ("replay", "GET", "/read?think=30"),
    ],
)
async def test_operations(op: str, method: str, url: str) -> None:
    """Each is the shop's request for it."""
    asked: list[tuple[str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append((request.method, request.raw_path))
        return shown()

    async with browsing(handler) as (browser, _):
        await browser.ask(op, tab=0, session=1, key="a b", value="x&y", think=30)
    assert asked == [(method, url)]


async def test_an_acknowledged_request() -> None:
    """The tab is told what was shown, and the history has it all."""

    async def handler(request: web.Request) -> web.Response:
        return shown("b3", a="v1", visits=2)

    async with browsing(handler) as (browser, events):
        answer = await browser.ask("put", tab=1, session=4, key="a", value="v1")
    assert answer.ok
    assert (answer.status, answer.user, answer.values) == (200, "b3", {"a": "v1", "visits": 2})
    [event] = events
    assert event["t1"] >= event["t0"] + event["ms"] / 1000 > event["t0"]
    del event["t0"], event["t1"], event["ms"]
    assert event == {
        "kind": "request",
        "browser": 3,
        "tab": 1,
        "session": 4,
        "op": "put",
        "key": "a",
        "value": "v1",
        "outcome": "ok",
        "status": 200,
        "instance": "i7",
        "user": "b3",
        "values": {"a": "v1", "visits": 2},
    }


@pytest.mark.parametrize("status", [409, 503])
async def test_a_refused_request(status: int) -> None:
    """Whatever the body says, it is no acknowledgement; a redirect would not be followed either."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, text="sorry")

    async with browsing(handler) as (browser, events):
        answer = await browser.ask("visit", tab=0, session=1)
    assert (answer.ok, answer.outcome, answer.status, answer.values) == (False, "refused", status, None)
    assert (events[0]["outcome"], events[0]["status"], events[0]["instance"]) == ("refused", status, None)


async def hang_up(request: web.Request) -> web.Response:
    """Cut the connection, as the front door does when an instance dies."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def half_an_answer(request: web.Request) -> web.StreamResponse:
    """Die in the middle of the body."""
    response = web.StreamResponse(headers={"Content-Length": "100", "Set-Cookie": "new=1; Path=/"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.close()
    return response


@pytest.mark.parametrize("handler", [hang_up, half_an_answer])
async def test_a_request_without_an_answer(handler: Handler) -> None:
    """It is a network error: it may or may not have happened."""
    async with browsing(handler) as (browser, events):
        answer = await browser.ask("visit", tab=0, session=1)
    assert (answer.outcome, answer.status, answer.blank) == ("network", None, False)
    assert (events[0]["outcome"], events[0]["status"], events[0]["values"]) == ("network", None, None)


async def test_cookies_count_from_the_headers_on() -> None:
    """A browser has them even if the body never comes."""
    async with browsing(half_an_answer) as (browser, _):
        await browser.ask("login", tab=0, session=1, value="b3")
        assert browser.cookies() == "new=1"


async def test_an_answer_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser gives up after a time."""
    monkeypatch.setattr(browsers, "TIMEOUT", 0.05)

    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return shown()

    async with browsing(handler) as (browser, _):
        started = time.monotonic()
        answer = await browser.ask("visit", tab=0, session=1)
    assert answer.outcome == "network"
    assert time.monotonic() - started < 5


async def test_an_update_is_sent_once() -> None:
    """What may have been carried out is not repeated, on a connection that was kept alive either."""
    asked = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return shown() if asked == 1 else await hang_up(request)

    async with browsing(handler) as (browser, _):
        assert (await browser.ask("visit", tab=0, session=1)).ok
        assert not (await browser.ask("visit", tab=0, session=1)).ok
    assert asked == 2


async def test_the_tabs_share_a_jar() -> None:
    """What one tab was given, the other sends."""
    seen: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        return shown(None, "a=1; Path=/", "__Host-b=2; Path=/; Secure")

    async with browsing(handler) as (browser, _):
        await browser.ask("visit", tab=0, session=1)
        await browser.ask("read", tab=1, session=1)
    assert seen == [None, "a=1; __Host-b=2"]


async def test_a_replay_sends_what_it_is_given_and_learns_nothing() -> None:
    """The old cookie is tried, and the jar stays as it is."""
    seen: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        return shown(None, f"a={len(seen)}; Path=/")

    async with browsing(handler) as (browser, _):
        await browser.ask("visit", tab=0, session=1)
        await browser.ask("replay", tab=0, session=1, cookies="a=old")
        assert browser.cookies() == "a=1"
    assert seen == [None, "a=old"]


async def test_answers_overtake_each_other() -> None:
    """Of two cookies at once, sometimes the one and sometimes the other stays: delivery is delayed at random."""
    count = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return shown(None, f"a={count}; Path=/")

    winners = set()
    async with browsing(handler) as (browser, events):
        for _ in range(12):
            await asyncio.gather(*(browser.ask("read", tab=tab, session=1) for tab in (0, 1)))
            winners.add(browser.cookies() == f"a={count}")
    assert winners == {True, False}
    assert all(
        event["t1"] - event["t0"] <= event["ms"] / 1000 + 2 * browsers.LONGEST_DELAY for event in events
    )


@pytest.mark.parametrize(
    ("op", "user", "values", "blank"),
    [
        ("read", None, {}, True),
        ("read", "b3", {}, False),
        ("read", None, {"visits": 1}, False),
        ("visit", None, {"visits": 1}, True),
        ("visit", None, {"visits": 2}, False),
        ("put", None, {"a": "v1"}, True),
        ("put", None, {"a": "v1", "b": "v2"}, False),
        ("login", "b3", {}, True),
    ],
)
async def test_blank_answers(op: str, user: str | None, values: dict[str, object], blank: bool) -> None:
    """An answer is blank if it shows nothing but what the request itself has put there."""

    async def handler(request: web.Request) -> web.Response:
        return shown(user, **values)

    async with browsing(handler) as (browser, _):
        answer = await browser.ask(op, tab=0, session=1, key="a" if op == "put" else None, value="v1")
    assert answer.blank is blank
