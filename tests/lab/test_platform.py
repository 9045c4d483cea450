"""The platform on real processes: births, deaths and disturbances, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from holdfast.lab import platform as platform_module
from holdfast.lab.platform import InstanceFailed, Platform
from holdfast.lab.strategies import Strategy

MEMORY = Strategy("memory", "memory")


class Events(list[dict[str, Any]]):
    """What a platform has emitted."""

    def what(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self if event["what"] == kind]

    async def until(self, kind: str, count: int = 1) -> None:
        async with asyncio.timeout(60):
            while len(self.what(kind)) < count:  # noqa: ASYNC110 - real processes
                await asyncio.sleep(0.005)


@pytest.fixture
def events() -> Events:
    """The events of the test's platform."""
    return Events()


@pytest.fixture
def start(events: Events) -> Callable[..., Platform]:
    """A platform to enter, of plain instances unless said otherwise."""

    def start(strategy: Strategy = MEMORY, low: int = 1, high: int = 1, seed: int = 1) -> Platform:
        return Platform(strategy, min_instances=low, max_instances=high, seed=seed, emit=events.append)

    return start


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    """A browser without a jar: a connection for each request, and no request twice."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def visit(browser: aiohttp.ClientSession, platform: Platform, think: int = 0, cookie: str = "") -> Any:
    headers = {"Cookie": cookie} if cookie else {}
    async with browser.post(f"{platform.url}/visit?think={think}", headers=headers) as answer:
        assert answer.status == 200
        return await answer.json()


async def at_work(platform: Platform, count: int = 1) -> None:
    """Wait until that many requests are in the hands of instances that serve."""
    async with asyncio.timeout(60):
        while sum(instance.in_flight for instance in platform.ready()) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    await asyncio.sleep(0.3)  # on its way from the door into the handler


def is_there(pid: int, *, even_dead: bool = False) -> bool:
    """Whether a process runs; or, `even_dead`, only waits to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return even_dead or state != "Z"


async def test_instances_are_processes_that_live_as_long_as_the_platform(start, events, browser) -> None:
    """They serve when it is entered, and when it is left every one is gone and reaped."""
    async with start(low=2, high=2) as platform:
        pids = platform.pids
        assert len(set(pids)) == 2
        assert all(is_there(pid) for pid in pids)
        answers = {(await visit(browser, platform))["instance"] for _ in range(20)}
        assert answers == {"i1", "i2"}
    assert not any(is_there(pid, even_dead=True) for pid in pids)
    order = [event["what"] for event in events if event["instance"] == "i1"]
    assert order == ["start", "ready", "terminate", "exit"]
    assert all(event["kind"] == "instance" and event["in_flight"] == 0 for event in events)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (3, 2)])
def test_bounds_that_make_no_sense_are_refused(start, low: int, high: int) -> None:
    """At least one instance, and no more than the maximum."""
    with pytest.raises(ValueError, match="1 <= min <= max"):
        start(low=low, high=high)


async def test_load_starts_instances_and_its_end_stops_them(
    start, events, browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scaled out to the maximum while requests queue up, scaled in to the minimum, and nobody is cut."""
    monkeypatch.setattr(platform_module, "IDLE_FOR", 0.4)
    monkeypatch.setattr(platform_module, "TICK", 0.05)
    async with start(low=1, high=3) as platform:
        work = [asyncio.ensure_future(visit(browser, platform, think=200)) for _ in range(40)]
        while len(events.what("ready")) < 3:
            await asyncio.wait(work, timeout=0.05)
            work = [
                task if not task.done() else asyncio.ensure_future(visit(browser, platform, 200))
                for task in work
            ]
        await asyncio.gather(*work)
        assert len(events.what("start")) == 3
        await events.until("exit", 2)
        await visit(browser, platform)
        assert len(platform.ready()) == 1
        assert {event["in_flight"] for event in events.what("terminate")} == {0}


async def test_a_killed_request_is_a_network_error_and_the_instance_is_replaced(
    start, events, browser
) -> None:
    """SIGKILL in the middle of a request: no status, no second try; at once there is another instance."""
    async with start() as platform:
        working = asyncio.ensure_future(visit(browser, platform, think=5000))
        await at_work(platform)
        (victim,) = platform.ready()
        platform.kill(victim)
        with pytest.raises(aiohttp.ClientConnectionError):
            await working
        assert (await visit(browser, platform))["instance"] == "i2"
        assert not is_there(victim.pid)
    assert [event["in_flight"] for event in events.what("kill")] == [1]


async def test_a_cold_start_is_latency_and_not_a_refusal(start, events, browser) -> None:
    """A request that comes while the only instance is being started waits for it."""
    async with start() as platform:
        platform.kill(platform.ready()[0])
        await events.until("start", 2)
        assert not platform.ready()
        assert (await visit(browser, platform))["instance"] == "i2"


async def test_a_frozen_instance_answers_late(start, events, browser) -> None:
    """The front door does not know of the freeze: requests are sent there and hang until the thaw."""
    async with start() as platform:
        (instance,) = platform.ready()
        platform.freeze(instance)
        working = asyncio.ensure_future(visit(browser, platform))
        await at_work(platform)
        _, waiting = await asyncio.wait([working], timeout=0.3)
        assert waiting
        platform.thaw(instance)
        assert (await working)["instance"] == "i1"
    assert [event["what"] for event in events][2:4] == ["freeze", "thaw"]
    assert events.what("thaw")[0]["in_flight"] == 1


async def test_a_terminated_instance_finishes_its_requests(start, events, browser) -> None:
    """SIGTERM: what it has begun is answered, what comes next goes to its replacement."""
    async with start() as platform:
        working = asyncio.ensure_future(visit(browser, platform, think=1500))
        await at_work(platform)
        platform.terminate(platform.ready()[0])
        assert (await visit(browser, platform))["instance"] == "i2"
        assert (await working)["instance"] == "i1"
        await events.until("exit")
    assert events.what("terminate")[0]["in_flight"] == 1
    assert not events.what("kill")


async def test_who_does_not_end_in_time_is_killed(start, events, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminated instance that hangs has its grace, and no longer."""
    monkeypatch.setattr(platform_module, "GRACE", 0.2)
    async with start() as platform:
        (instance,) = platform.ready()
        instance.freeze()
        platform.terminate(instance)
        await events.until("exit")
        assert instance.exit_status == -signal.SIGKILL


async def test_affinity_keeps_a_browser_at_its_instance(start, browser) -> None:
    """With a dictionary in each of three instances, the cookie alone makes visits add up."""
    async with start(Strategy("memory + affinity", "memory", affinity=True), low=3, high=3) as platform:
        async with browser.post(f"{platform.url}/visit") as answer:
            named = [value.partition(";")[0] for value in answer.headers.getall("Set-Cookie")]
        assert [name.partition("=")[0] for name in named] == ["sid", "lab_affinity"]
        answers = [await visit(browser, platform, cookie="; ".join(named)) for _ in range(5)]
        assert [answer["values"]["visits"] for answer in answers] == [2, 3, 4, 5, 6]
        assert len({answer["instance"] for answer in answers}) == 1


async def test_instances_of_one_run_share_their_keys(start, browser) -> None:
    """A cookie that one instance has signed is good on every other."""
    async with start(Strategy("signed cookie", "signed"), low=2, high=2) as platform:
        instances, cookie = set(), ""
        for visits in range(1, 13):
            async with browser.post(f"{platform.url}/visit", headers={"Cookie": cookie}) as answer:
                cookie = answer.headers["Set-Cookie"].partition(";")[0]
                body = await answer.json()
            assert body["values"]["visits"] == visits
            instances.add(body["instance"])
        assert instances == {"i1", "i2"}


async def test_a_holdfast_session_outlives_the_instance_that_began_it(start, browser, tmp_path: Path) -> None:
    """Its cookie passes the front door, and the replacement of a killed instance knows the session."""
    strategy = Strategy("holdfast (sqlite)", "holdfast", store=f"sqlite:///{tmp_path}/sessions.db")
    async with start(strategy) as platform:
        async with browser.post(f"{platform.url}/visit") as answer:
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
        assert cookie.startswith("__Host-session=")
        platform.kill(platform.ready()[0])
        answered = await visit(browser, platform, cookie=cookie)
        assert answered == {"instance": "i2", "user": None, "values": {"visits": 2}}


async def test_an_instance_that_cannot_start_is_an_error_with_its_words(start, events) -> None:
    """Not an endless respawn: the run ends, and shows what the instance wrote."""
    with pytest.raises(InstanceFailed, match=r"(?s)exit status 1.*no store is known for 'nosuch'"):
        async with start(Strategy("holdfast (nosuch)", "holdfast", store="nosuch://here"), low=2, high=2):
            raise AssertionError("entered")
    assert len(events.what("start")) == 2
    assert len(events.what("exit")) == 2


async def test_an_instance_that_dies_by_itself_ends_the_churn(start) -> None:
    """A death that nobody ordered is reported, not covered up by a replacement."""
    async with start() as platform:
        os.kill(platform.pids[0], signal.SIGKILL)
        with pytest.raises(InstanceFailed, match="ended by itself"):
            await platform.churn(5)


async def test_nothing_is_left_after_an_exception(start) -> None:
    """Whatever happens inside, every process is gone, frozen ones too."""
    pids: list[int] = []

    async def run() -> None:
        async with start(low=2, high=2) as platform:
            pids.extend(platform.pids)
            platform.freeze(platform.ready()[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run()
    assert len(pids) == 2
    assert not any(is_there(pid, even_dead=True) for pid in pids)


async def test_nothing_is_left_after_a_cancelled_start(start, events) -> None:
    """Not even of a platform that was given up before its first instance served."""
    platform = start(low=2, high=2)
    entering = asyncio.ensure_future(platform.__aenter__())
    await events.until("start", 2)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert len(events.what("exit")) == len(events.what("start")) == 2
    assert not events.what("ready")
    assert platform.pids == []


SCRIPT = """
import asyncio, sys
from holdfast.lab.platform import Platform
from holdfast.lab.strategies import Strategy

async def main():
    bounds = {"min_instances": 2, "max_instances": 2}
    async with Platform(Strategy("memory", "memory"), **bounds, seed=1, emit=lambda event: None) as platform:
        platform.freeze(platform.ready()[0])
        print(*platform.pids, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
async def test_nothing_is_left_after_the_platforms_own_death(end: signal.Signals) -> None:
    """Killed, interrupted or terminated: its instances go with it, the frozen one too."""
    platform = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SCRIPT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        # A job in the background of a shell inherits that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert platform.stdout is not None
        pids = [int(pid) for pid in (await platform.stdout.readline()).split()]
        assert len(pids) == 2
        platform.send_signal(end)
        await platform.wait()
        deadline = time.monotonic() + 60
        while any(map(is_there, pids)) and time.monotonic() < deadline:  # noqa: ASYNC110 - not our children
            await asyncio.sleep(0.01)
        assert not any(map(is_there, pids))
    finally:
        if platform.returncode is None:
            platform.kill()
            await platform.wait()
