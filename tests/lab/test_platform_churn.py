"""The churn: the same for every strategy, and hard enough."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import pytest

from holdfast.lab.churn import LONGEST_FREEZE, SHORTEST_FREEZE, inject, schedule
from holdfast.lab.platform import Platform
from holdfast.lab.strategies import Strategy


def test_a_schedule_depends_on_its_seed_alone() -> None:
    """The same seed gives every strategy the same faults; another one gives others."""
    assert schedule(20, 7) == schedule(20, 7)
    assert schedule(20, 7) != schedule(20, 8)


@pytest.mark.parametrize("seed", range(20))
def test_a_schedule_of_twenty_seconds_holds_what_the_lab_promises(seed: int) -> None:
    """At least 12 kills, freezes of 0.2 to 1 second, and terminations, all within the time and in order."""
    faults = schedule(20, seed)
    assert len(faults.kills) >= 12
    assert len(faults.freezes) >= 8
    assert len(faults.terminations) >= 3
    assert all(SHORTEST_FREEZE <= fault.lasts <= LONGEST_FREEZE for fault in faults.freezes)
    for kind in faults:
        assert [fault.at for fault in kind] == sorted(fault.at for fault in kind)
        assert all(0 <= fault.at < 20 and 0 <= fault.pick < 1 for fault in kind)


class Target:
    """What a fault may hit, on paper."""

    def __init__(self, in_flight: int) -> None:
        self.in_flight = in_flight
        self.frozen = False


class Paper:
    """A platform on paper that writes down what is done to it."""

    def __init__(self, *targets: Target) -> None:
        self.targets = list(targets)
        self.done: list[tuple[str, Target]] = []

    def ready(self) -> list[Target]:
        return self.targets

    def kill(self, target: Target) -> None:
        self.targets.remove(target)
        self.done.append(("kill", target))

    def freeze(self, target: Target) -> None:
        target.frozen = True
        self.done.append(("freeze", target))

    def thaw(self, target: Target) -> None:
        target.frozen = False
        self.done.append(("thaw", target))

    def terminate(self, target: Target) -> None:
        self.targets.remove(target)
        self.done.append(("terminate", target))


async def test_only_instances_at_work_are_killed() -> None:
    """A kill looks for a request in flight, and waits for one if there is none."""
    idle, busy = Target(0), Target(2)
    paper = Paper(idle, busy)
    faults = schedule(2.5, 1)._replace(freezes=[], terminations=[])
    faults = faults._replace(kills=[fault._replace(at=0.0) for fault in faults.kills])
    assert len(faults.kills) == 2
    injecting = asyncio.ensure_future(inject(paper, faults, 0.2))  # type: ignore[arg-type]  # on paper
    await asyncio.sleep(0.05)
    assert paper.done == [("kill", busy)]
    idle.in_flight = 1
    await injecting
    assert paper.done == [("kill", busy), ("kill", idle)]


async def test_nothing_stays_frozen() -> None:
    """Neither when the churn is over nor when it is cancelled."""
    paper = Paper(Target(0))
    faults = schedule(2, 1)._replace(kills=[], terminations=[])
    frozen = faults._replace(freezes=[fault._replace(at=0.0, lasts=60.0) for fault in faults.freezes])
    await inject(paper, frozen, 0.05)  # type: ignore[arg-type]  # on paper
    assert [what for what, _ in paper.done] == ["freeze", "thaw"]


async def test_churn_on_real_processes_then_calm() -> None:
    """Kills hit work in flight and are network errors; once it is over, nothing happens any more."""
    events: list[dict[str, Any]] = []
    outcomes: Counter[str] = Counter()
    over = False

    async def user(url: str) -> None:
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as browser:
            while not over:
                try:
                    async with browser.post(f"{url}/visit?think=60") as answer:
                        outcomes[str(answer.status)] += 1
                except aiohttp.ClientConnectionError:
                    outcomes["network"] += 1

    strategy = Strategy("memory", "memory")
    async with Platform(strategy, min_instances=2, max_instances=4, seed=3, emit=events.append) as platform:
        users = [asyncio.ensure_future(user(platform.url)) for _ in range(16)]
        await platform.churn(4.0)
        before = len(events)
        await asyncio.sleep(0.3)
        later = [event["what"] for event in events[before:]]
        over = True
        await asyncio.gather(*users)
        pids = platform.pids
        assert len(pids) >= 2

    kills = [event for event in events if event["what"] == "kill"]
    assert 1 <= len(kills) <= len(schedule(4.0, 3).kills) == 3
    assert all(event["in_flight"] > 0 for event in kills)
    assert set(outcomes) == {"200", "network"}
    assert outcomes["200"] > outcomes["network"] > 0
    assert {"kill", "freeze", "terminate"}.isdisjoint(later)
    count = Counter(event["what"] for event in events)
    assert count["start"] == count["exit"]
