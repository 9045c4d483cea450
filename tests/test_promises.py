"""The promises of the README, each under its number, on several instances over each real store.

Promise 5 and 9 are in test_cookies.py, 7 in test_outage.py, 8 in copies/test_ladder.py, 10 in test_keyring.py; the same
promises under real processes that are killed are in lab/.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asgi_client import Browser
from holdfast import Keyring, Sessions
from holdfast.asgi import SessionMiddleware
from holdfast.testing import FakeClock
from servers.firestore import PROJECT
from servers.process import PATIENCE_SECONDS

KEYS = Keyring.generate()


class Fleet:
    """Several instances of a shop over one store; a request may go to any of them."""

    def __init__(self, url: str) -> None:
        self.clock = FakeClock(1_800_000_000.0)
        self.open_gate = asyncio.Event()
        self.open_gate.set()
        self.arrived = asyncio.Semaphore(0)
        # Sessions of the same URL are instances with connections of their own.
        self.sessions = [Sessions(url, keys=KEYS, clock=self.clock) for _ in range(3)]
        self.apps = [self.instance(sessions) for sessions in self.sessions]

    def instance(self, sessions: Sessions) -> SessionMiddleware:
        """One application, whose handlers wait at the gate between reading and answering."""

        async def put(request: Request) -> JSONResponse:
            session = request.session
            session[request.path_params["key"]] = request.path_params["value"]
            return await self.answer(dict(session))

        async def count(request: Request) -> JSONResponse:
            return await self.answer(request.session.alter("visits", lambda n: n + 1, default=0))

        async def read(request: Request) -> JSONResponse:
            return JSONResponse({"owner": request.session.owner, **request.session})

        async def login(request: Request) -> JSONResponse:
            request.session.login("ann")
            return await self.answer(None)

        async def logout(request: Request) -> JSONResponse:
            request.session.logout()
            return await self.answer(None)

        routes = [
            Route("/put/{key}/{value}", put),
            Route("/count", count),
            Route("/read", read),
            Route("/login", login),
            Route("/logout", logout),
        ]
        return SessionMiddleware(Starlette(routes=routes), sessions)

    async def answer(self, content: Any) -> JSONResponse:
        self.arrived.release()
        await self.open_gate.wait()
        return JSONResponse(content)

    async def get(self, instance: int, path: str, cookie: str | None) -> tuple[int, Any, str | None]:
        """Status, content and the cookie held afterwards."""
        browser = Browser(self.apps[instance])
        browser.cookie = cookie
        response = await browser.get(path)
        content = json.loads(response.body) if response.status == 200 else None
        return response.status, content, browser.cookie

    def close_gate(self) -> None:
        """From now on no handler answers; `arrived` counts those that would."""
        self.arrived = asyncio.Semaphore(0)
        self.open_gate.clear()

    async def start(self) -> str:
        """The cookie of a session with something in it."""
        _, _, cookie = await self.get(0, "/put/cart/tea", None)
        assert cookie is not None
        return cookie

    async def together(self, *requests: tuple[int, str, str]) -> list[tuple[int, Any, str | None]]:
        """All of them have loaded their session before the first one may answer."""
        self.close_gate()
        tasks = [asyncio.create_task(self.get(*request)) for request in requests]
        for _ in tasks:
            await self.arrived.acquire()
        self.open_gate.set()
        return await asyncio.gather(*tasks)


PATIENCE = f"timeout={PATIENCE_SECONDS}"
STORES: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "sqlite": lambda request: f"sqlite:///{request.getfixturevalue('tmp_path')}/s.db",
    "redis": lambda request: f"{request.getfixturevalue('redis_url')}?{PATIENCE}",
    "redis-cluster": lambda request: f"{request.getfixturevalue('redis_cluster').url}?{PATIENCE}",
    "postgres": lambda request: f"{request.getfixturevalue('postgres_url')}?{PATIENCE}",
    "dynamodb": lambda request: request.getfixturevalue("dynalite_url"),
    "cosmos": lambda request: request.getfixturevalue("cosmos_url"),
    "firestore": lambda request: (
        f"firestore://{PROJECT}/sessions?emulator={request.getfixturevalue('firestore_address')}&{PATIENCE}"
    ),
}


@pytest.fixture(params=STORES)
async def fleet(request: pytest.FixtureRequest) -> Any:
    fleet = Fleet(STORES[request.param](request))
    yield fleet
    for sessions in fleet.sessions:
        await sessions.aclose()


async def test_promise_1_acknowledged_means_committed(fleet: Fleet) -> None:
    """Whatever instance is asked the moment the answer is there: the change is in the store."""
    cookie = await fleet.start()
    for number in range(20):
        status, _, _ = await fleet.get(number % 3, f"/put/key/{number}", cookie)
        assert status == 200
        _, seen, _ = await fleet.get((number + 1) % 3, "/read", cookie)
        assert seen["key"] == str(number)


async def test_promise_2_no_lost_update(fleet: Fleet) -> None:
    """Twenty-four requests that all loaded the same version: every key and every increment survives."""
    cookie = await fleet.start()
    await fleet.together(
        *[(number % 3, f"/put/key{number}/{number}", cookie) for number in range(12)],
        *[(number % 3, "/count", cookie) for number in range(12)],
    )
    _, seen, _ = await fleet.get(1, "/read", cookie)
    assert seen["visits"] == 12
    assert {name: value for name, value in seen.items() if name.startswith("key")} == {
        f"key{number}": str(number) for number in range(12)
    }


@pytest.mark.parametrize("end", ["logout", "login", "revocation", "expiry"])
async def test_promise_3_ended_stays_ended(fleet: Fleet, end: str) -> None:
    """A slow request that had loaded the session is refused with 409, and nothing of it comes back."""
    cookie = await fleet.start()
    fleet.close_gate()
    slow = [
        asyncio.create_task(fleet.get(0, "/put/cart/revived", cookie)),
        asyncio.create_task(fleet.get(1, "/count", cookie)),
        asyncio.create_task(fleet.get(2, "/login", cookie)),
    ]
    for _ in slow:
        await fleet.arrived.acquire()
    session = fleet.sessions[2].open(cookie.encode())
    await session.load()
    if end == "revocation":
        assert await fleet.sessions[2].end(str(session.handle))
    elif end == "expiry":
        fleet.clock.advance(1801)
    else:
        session.logout() if end == "logout" else session.login("ann")
        await session.commit()
    fleet.open_gate.set()
    for status, _, planted in await asyncio.gather(*slow):
        assert status == 409
        assert planted == cookie, "a late response plants no identity"
    for instance in range(3):
        _, seen, _ = await fleet.get(instance, "/read", cookie)
        assert seen == {"owner": None}


async def test_promise_4_a_browser_never_sees_its_session_go_backwards(fleet: Fleet) -> None:
    """Two tabs write and read on all instances: no read is older than what the browser knows."""
    cookie = await fleet.start()
    known = 0

    async def tab(number: int) -> None:
        nonlocal known
        for step in range(15):
            _, count, _ = await fleet.get((number + step) % 3, "/count", cookie)
            known = max(known, count)
            floor = known
            _, seen, _ = await fleet.get((number + step + 1) % 3, "/read", cookie)
            assert seen["visits"] >= floor
            known = max(known, seen["visits"])

    await asyncio.gather(tab(0), tab(1))
    _, seen, _ = await fleet.get(0, "/read", cookie)
    assert seen["visits"] == 30


async def test_promise_6_revocation_arrives(fleet: Fleet) -> None:
    """At once, on every instance; the one that ends the others stays."""
    cookies = [(await fleet.get(0, "/login", None))[2] for _ in range(4)]
    keep = fleet.sessions[0].open(str(cookies[0]).encode())
    await keep.load()
    listed = await fleet.sessions[1].of("ann")
    assert {info.handle for info in listed} >= {keep.handle}
    assert await fleet.sessions[1].end_all("ann", but=keep.handle) >= 3
    for instance in range(3):
        owners = [(await fleet.get(instance, "/read", cookie))[1]["owner"] for cookie in cookies]
        assert owners == ["ann", None, None, None]
