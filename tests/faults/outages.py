"""A server dies in the middle of a loaded run of the lab, and comes back: what the tests of it have in common.

The instances are left alone, so that whatever goes well again does so without any of them being restarted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.lab.history import Event, History
from holdfast.lab.strategies import Strategy
from holdfast.lab.trial import Trial, trial
from servers.process import Server

INSTANCES = 2
USERS = 24
# An answer may have been asked for before the server was back, and its browser may hear of it a moment later.
SETTLING_SECONDS = 1.0
PATIENCE_SECONDS = 40.0
ENOUGH = 10  # requests that show that something works, or does not

Beside = Callable[[History], Coroutine[Any, Any, None]]


class Outage(NamedTuple):
    """When a server was killed, and when it, or what took its place, answered again: seconds into the run."""

    killed: float
    back: float


class Step(NamedTuple):
    """Something that is done to a server so many seconds after the step before, and once the run is ready for it.

    A "kill" waits for a loaded run, and whatever is `felt` for failing requests, however slow the machine is. Both
    "kill" and "back" are kept in the history.
    """

    after: float
    what: str
    act: Callable[[], object]
    felt: bool = False


def in_turn(*steps: Step) -> Beside:
    """Take these steps, and leave the shoppers some time after the last of them."""

    async def beside(history: History) -> None:
        killed = 0.0
        for step in steps:
            await asyncio.sleep(step.after)
            if step.what == "kill":
                await _until(lambda: len(_acknowledged(history.events)) >= 2 * USERS)
                killed = history.now()
                history.emit({"kind": "server", "what": step.what})
            elif step.felt:
                await _until(lambda since=killed: _failed_since(history.events, since) >= ENOUGH)
            await asyncio.to_thread(step.act)
            if step.what == "back":
                history.emit({"kind": "server", "what": step.what})
        await asyncio.sleep(SETTLING_SECONDS)

    return beside


def dies(server: Server, times: int, calm: float, *, away: float = 1.0, felt: bool = True) -> Beside:
    """Kill the server so many times, `calm` seconds apart, and start it again on its old port and files.

    It is away for `away` seconds at least, and where its absence is `felt` until requests have failed.
    """
    steps = (Step(calm, "kill", server.kill), Step(away, "back", server.start, felt))
    return in_turn(*steps * times)


async def _until(happened: Callable[[], bool]) -> None:
    """Wait for it, but not for ever: whoever judges the run says what is missing."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not happened():  # noqa: ASYNC110 - it is other processes that bring it about
                await asyncio.sleep(0.02)


async def under_load(strategy: Strategy, beside: Beside, seconds: float, history: Path) -> Trial:
    """A trial in which nothing is disturbed but what `beside` disturbs. Its events are kept in `history`."""
    return await trial(
        strategy,
        seconds=seconds,
        users=USERS,
        min_instances=INSTANCES,
        max_instances=INSTANCES,
        seed=4,
        churn=False,
        beside=beside,
        history_path=history,
    )


def outages(outcome: Trial) -> list[Outage]:
    """When servers were away."""
    told = [event for event in outcome.events if event["kind"] == "server"]
    kills = [event["t"] for event in told if event["what"] == "kill"]
    backs = [event["t"] for event in told if event["what"] == "back"]
    return [Outage(*moments) for moments in zip(kills, backs, strict=True)]


def failures(events: list[Event]) -> list[Event]:
    """The requests that were not answered, or with a 5xx."""
    requests = [event for event in events if event["kind"] == "request"]
    return [
        event
        for event in requests
        if event["outcome"] == "network" or (event["outcome"] == "refused" and event["status"] >= 500)
    ]


def _acknowledged(events: list[Event]) -> list[Event]:
    return [event for event in events if event["kind"] == "request" and event["outcome"] == "ok"]


def _failed_since(events: list[Event], moment: float) -> int:
    return sum(event["t1"] > moment for event in failures(events))


def assert_it_was_felt(outcome: Trial) -> None:
    """Requests failed while the server was away: each kill did hit a loaded run."""
    for killed, back in outages(outcome):
        failed = [
            event for event in failures(outcome.events) if killed < event["t1"] < back + SETTLING_SECONDS
        ]
        assert len(failed) >= ENOUGH


def assert_it_passed(outcome: Trial) -> None:
    """Requests failed only from a kill until soon after the return, and no instance was restarted."""
    stray = [
        event
        for event in failures(outcome.events)
        if not any(
            killed < event["t1"] and event["t0"] < back + SETTLING_SECONDS
            for killed, back in outages(outcome)
        )
    ]
    assert stray == [], (outages(outcome), stray[:5])
    last = outages(outcome)[-1].back
    assert sum(event["t0"] > last for event in _acknowledged(outcome.events)) >= ENOUGH
    assert outcome.row["instances_started"] == INSTANCES
    assert outcome.row["instances_killed"] == 0
