"""Cache-aside as it is kept today: it works, and it breaks the promises that the lab counts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from holdfast.lab import aside
from holdfast.lab.instance import application
from holdfast.lab.strategies import Strategy


@pytest.fixture(params=["memory", "redis", "memcached"])
def kind(request: pytest.FixtureRequest) -> str:
    """Where the cache is."""
    return str(request.param)


@pytest.fixture
def cache(kind: str, request: pytest.FixtureRequest) -> str | None:
    """The cache's URL; None for one in each instance."""
    return None if kind == "memory" else str(request.getfixturevalue(f"{kind}_url"))


def instances(tmp_path: Path, cache: str | None, count: int = 2) -> list[aside.App]:
    """Instances of one shop."""
    strategy = Strategy("cache-aside", "aside", store=f"{tmp_path}/sessions.db", cache=cache)
    return [application(f"i{number}", strategy, {}) for number in range(count)]


def browser(app: aside.App, cookies: httpx.Cookies | None = None) -> httpx.AsyncClient:
    """A browser at one instance, with the cookies of another time."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://shop", cookies=cookies)


async def test_every_operation_means_the_same(tmp_path: Path, cache: str | None) -> None:
    """In calm, with one request after the other at one instance, nothing is wrong with it."""
    (app,) = instances(tmp_path, cache, 1)
    async with browser(app) as one, browser(app) as other:
        for call in ("/visit", "/visit", "/put?key=cart&value=tea", "/login?user=ada"):
            assert (await one.post(call)).status_code == 200
        shown = (await one.get("/read")).json()
        assert (shown["user"], shown["values"]) == ("ada", {"visits": 2, "cart": "tea"})
        assert (await other.get("/read")).json()["user"] is None
        old = httpx.Cookies(one.cookies)
        await one.post("/logout")
        assert (await one.get("/read")).json()["values"] == {}
        async with browser(app, old) as replay:
            assert (await replay.get("/read")).json()["user"] is None


async def test_another_instance_finds_the_session(tmp_path: Path, cache: str | None) -> None:
    """What is not in the cache is read from the database."""
    first, second = instances(tmp_path, cache)
    async with browser(first) as one:
        await one.post("/visit")
        async with browser(second, one.cookies) as there:
            assert (await there.get("/read")).json()["values"] == {"visits": 1}


async def test_an_unknown_id_is_not_adopted(tmp_path: Path) -> None:
    """An id that nobody knows gets an empty session under a fresh id."""
    (app,) = instances(tmp_path, None, 1)
    async with browser(app) as one:
        answer = await one.post("/visit", headers={"cookie": "sid=chosen-by-me"})
        assert answer.json()["values"] == {"visits": 1}
        assert "chosen-by-me" not in answer.headers["set-cookie"]


async def test_copies_in_memory_are_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that holds a copy does not hear of a change elsewhere until the copy's time is over."""
    now = 100.0
    monkeypatch.setattr(aside.time, "monotonic", lambda: now)
    first, second = instances(tmp_path, None)
    async with browser(first) as here:
        await here.post("/visit")
        async with browser(second, here.cookies) as there:
            await there.get("/read")
            await here.post("/visit")
            assert (await there.get("/read")).json()["values"] == {"visits": 1}
            now += aside.IN_MEMORY_SECONDS
            assert (await there.get("/read")).json()["values"] == {"visits": 2}


async def test_a_slow_write_brings_an_ended_session_back(tmp_path: Path, cache: str | None) -> None:
    """The whole session is written back, whatever became of it meanwhile."""
    (app,) = instances(tmp_path, cache, 1)
    async with browser(app) as one:
        await one.post("/login?user=ada")
        async with browser(app, httpx.Cookies(one.cookies)) as slow:
            late = asyncio.create_task(slow.post("/put?key=cart&value=tea&think=1500"))
            await asyncio.sleep(0.3)
            await one.post("/logout")
            await late
            assert (await slow.get("/read")).json()["user"] == "ada"


async def test_parallel_changes_overwrite_each_other(tmp_path: Path, cache: str | None) -> None:
    """Of two changes to different keys one is lost."""
    (app,) = instances(tmp_path, cache, 1)
    async with browser(app) as one:
        await one.post("/visit")
        await asyncio.gather(*[one.post(f"/put?key={key}&value=1&think=500") for key in ("a", "b")])
        assert len((await one.get("/read")).json()["values"]) == 2
