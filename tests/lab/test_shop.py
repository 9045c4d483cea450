"""The shop and the usual ways of keeping a session, without processes: the application is called directly."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast import Keyring
from holdfast.lab.instance import application
from holdfast.lab.strategies import Strategy, strategies
from holdfast.stores import from_url

KEYS = Keyring.new_secret()
KINDS = ["memory", "signed", "holdfast"]


@pytest.fixture
def shopper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes browsers, by kind of strategy; the same kind gives another browser of the same shop."""
    monkeypatch.setenv("HOLDFAST_KEYS", KEYS)
    shops: dict[str, Any] = {}

    def browser(kind: str) -> httpx.AsyncClient:
        if kind not in shops:
            store = f"sqlite:///{tmp_path}/s.db" if kind == "holdfast" else None
            shops[kind] = application("i1", Strategy(kind, kind, store=store), {"HOLDFAST_KEYS": KEYS})
        return httpx.AsyncClient(transport=httpx.ASGITransport(shops[kind]), base_url="https://shop")

    return browser


@pytest.mark.parametrize("kind", KINDS)
async def test_every_operation_answers_with_what_the_session_holds(shopper, kind: str) -> None:
    """Visit, put, read, login and logout mean the same with every strategy."""
    async with shopper(kind) as browser:
        journey = [
            await browser.post("/visit"),
            await browser.post("/visit?think=1"),
            await browser.post("/put?key=cart&value=green+tea"),
            await browser.post("/login?user=ada"),
            await browser.get("/read"),
            await browser.post("/logout"),
            await browser.get("/read"),
        ]
    assert [answer.status_code for answer in journey] == [200] * 7
    full = {"visits": 2, "cart": "green tea"}
    assert [(answer.json()["user"], answer.json()["values"]) for answer in journey] == [
        (None, {"visits": 1}),
        (None, {"visits": 2}),
        (None, full),
        ("ada", full),
        ("ada", full),
        (None, {}),
        (None, {}),
    ]
    assert {answer.json()["instance"] for answer in journey} == {"i1"}


@pytest.mark.parametrize("kind", KINDS)
async def test_browsers_do_not_see_each_other(shopper, kind: str) -> None:
    """Two browsers of one instance have two sessions."""
    async with shopper(kind) as one, shopper(kind) as other:
        await one.post("/login?user=ada")
        assert (await other.get("/read")).json() == {"instance": "i1", "user": None, "values": {}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("POST /put?key=cart", 400),
        ("POST /put?key=a&key=b&value=c", 400),
        ("POST /put?key=visits&value=9", 400),
        ("POST /login", 400),
        ("POST /visit?think=soon", 400),
        ("POST /visit?think=-1", 400),
        ("POST /visit?think=nan", 400),
        ("GET /visit", 404),
        ("POST /nowhere", 404),
    ],
)
async def test_senseless_requests_are_refused(shopper, kind: str, request_line: str, status: int) -> None:
    """A request that makes no sense is answered as such, says why, and leaves no session behind."""
    async with shopper(kind) as browser:
        method, url = request_line.split()
        answer = await browser.request(method, url)
        assert answer.status_code == status
        assert answer.json()["error"]
        assert "set-cookie" not in answer.headers


async def test_think_time_passes_inside_the_handler(shopper) -> None:
    """The answer comes no earlier than the think time, which is milliseconds."""
    async with shopper("memory") as browser:
        began = asyncio.get_running_loop().time()
        await browser.post("/visit?think=60")
        assert asyncio.get_running_loop().time() - began >= 0.06


@pytest.mark.parametrize("kind", ["memory", "signed"])
async def test_the_usual_ways_lose_parallel_visits(shopper, kind: str) -> None:
    """Read, work, write: of two overlapping visits one is lost, which the lab must be able to show."""
    async with shopper(kind) as browser:
        await browser.post("/visit")
        await asyncio.gather(browser.post("/visit?think=40"), browser.post("/visit?think=40"))
        assert (await browser.get("/read")).json()["values"] == {"visits": 2}


async def test_holdfast_keeps_parallel_visits(shopper) -> None:
    """The same handlers with `alter` count every visit."""
    async with shopper("holdfast") as browser:
        await browser.post("/visit")
        await asyncio.gather(*[browser.post("/visit?think=20") for _ in range(4)])
        assert (await browser.get("/read")).json()["values"] == {"visits": 5}


async def test_memory_sessions_adopt_no_foreign_id(shopper) -> None:
    """An id that the process does not know gets an empty session under a fresh id."""
    async with shopper("memory") as browser:
        answer = await browser.post("/visit", headers={"cookie": "other=1; sid=chosen-by-me"})
        assert answer.json()["values"] == {"visits": 1}
        assert "chosen-by-me" not in answer.headers["set-cookie"]


async def test_memory_sessions_forget_who_logged_out(shopper) -> None:
    """After logout the old cookie opens nothing, and is taken from the browser."""
    async with shopper("memory") as browser:
        await browser.post("/login?user=ada")
        old = browser.cookies["sid"]
        assert "Max-Age=0" in (await browser.post("/logout")).headers["set-cookie"]
        assert "sid" not in browser.cookies
        answer = await browser.get("/read", headers={"cookie": f"sid={old}"})
        assert answer.json()["user"] is None


def test_strategies_are_the_three_usual_ways_and_holdfast_on_each_store(tmp_path: Path) -> None:
    """Names are unique and never show a password; SQLite is in the given folder."""
    redis = "redis://ada:hunter2@cache:6379/0"
    folder = tmp_path / "a folder #1?"
    listed = strategies([redis, redis], folder)
    assert [strategy.name for strategy in listed] == [
        "memory",
        "memory + affinity",
        "signed cookie",
        "holdfast (sqlite)",
        "holdfast (redis)",
        "holdfast (redis 2)",
    ]
    assert [strategy.holdfast for strategy in listed] == [False, False, False, True, True, True]
    assert [strategy.affinity for strategy in listed] == [False, True, False, False, False, False]
    folder.mkdir()
    from_url(listed[3].store or "")
    assert (folder / "sessions.db").exists()
    assert listed[4].store == redis


def test_a_strategy_survives_its_way_to_an_instance() -> None:
    """It travels as JSON."""
    strategy = Strategy("holdfast (sqlite)", "holdfast", store="sqlite:///x.db", fault="upsert")
    assert Strategy(**json.loads(json.dumps(strategy._asdict()))) == strategy


@pytest.mark.parametrize("strategy", [Strategy("x", "no such kind"), Strategy("x", "holdfast")])
def test_an_impossible_strategy_is_an_error(strategy: Strategy) -> None:
    """Nothing is run in its place."""
    with pytest.raises(ValueError, match="no instance can be built"):
        application("i1", strategy, {"HOLDFAST_KEYS": KEYS})
