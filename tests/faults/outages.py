"""A server dies in the middle of a loaded run of the lab, and comes back: what the tests of it have in common.

The instances are left alone, so that whatever goes well again does so without any of them being restarted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
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

Beside = Callable[[History], Coroutine[Any, Any, None]]


class Outage(NamedTuple):
    """When a server was killed, and when it, or what took its place, answered again: seconds into the run."""

    killed: float
    back: float


class Step(NamedTuple):
    """Something that is done to a server at a moment of the run; "kill" and "back" are kept in the history."""

    at: float
    what: str
    act: Callable[[], object]


def in_turn(*steps: Step) -> Beside:
    """Take these steps, each at its moment or as soon after it as the one before is done."""

    async def beside(history: History) -> None:
        for step in steps:
            await asyncio.sleep(step.at - history.now())
            if step.what == "kill":
                history.emit({"kind": "server", "what": step.what})
            await asyncio.to_thread(step.act)
            if step.what == "back":
                history.emit({"kind": "server", "what": step.what})

    return beside


def dies(server: Server, *moments: float, away: float = 1.0) -> Beside:
    """Kill the server at these moments, and start it again `away` seconds later, on its old port and files."""
    steps = [(Step(at, "kill", server.kill), Step(at + away, "back", server.start)) for at in moments]
    return in_turn(*(step for pair in steps for step in pair))


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


def failures(outcome: Trial) -> list[Event]:
    """The requests that were not answered, or with a 5xx."""
    requests = [event for event in outcome.events if event["kind"] == "request"]
    return [
        event
        for event in requests
        if event["outcome"] == "network" or (event["outcome"] == "refused" and event["status"] >= 500)
    ]


def assert_it_was_felt(outcome: Trial) -> None:
    """Requests failed while the server was away: the kill did hit a loaded run."""
    assert outcome.row["requests"] > 150
    for outage in outages(outcome):
        assert any(
            outage.killed < event["t1"] < outage.back + SETTLING_SECONDS for event in failures(outcome)
        )


def assert_it_passed(outcome: Trial, within: float = SETTLING_SECONDS) -> None:
    """Requests failed only from the kill until `within` seconds after the return, and no instance was restarted."""
    stray = [
        event
        for event in failures(outcome)
        if not any(
            outage.killed < event["t1"] and event["t0"] < outage.back + within for outage in outages(outcome)
        )
    ]
    assert stray == [], (outages(outcome), stray[:5])
    last = outages(outcome)[-1].back + within
    after = [event for event in outcome.events if event["kind"] == "request" and event["t0"] > last]
    assert sum(event["outcome"] == "ok" for event in after) > USERS
    assert outcome.row["instances_started"] == INSTANCES
    assert outcome.row["instances_killed"] == 0


def figures(outcome: Trial) -> dict[str, Any]:
    """What came of a run, for the report of the fault runs."""
    row, failed = outcome.row, failures(outcome)
    lost = ("sessions_lost", "updates_lost", "stale_reads", "revived", "false_acks")
    return {
        "requests": row["requests"],
        "sessions": row["sessions"],
        "errors": len(failed),
        "away": [round(outage.back - outage.killed, 2) for outage in outages(outcome)],
        "last error after": [
            round(
                max((event["t1"] for event in failed if event["t1"] < outage.back + 5), default=outage.back)
                - outage.back,
                2,
            )
            for outage in outages(outcome)
        ],
        **{name: row[name] for name in lost},
        "losses_noticed": row.get("losses_noticed"),
    }
