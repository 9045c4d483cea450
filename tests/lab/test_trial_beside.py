"""A trial without churn, in which something else is disturbed, and what instances say of their store."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from holdfast.lab.checker import Verdict
from holdfast.lab.history import History
from holdfast.lab.strategies import Strategy
from holdfast.lab.trial import summary, trial

MEMORY = Strategy("memory", "memory")


async def test_without_churn_nobody_comes_or_goes(tmp_path: Path) -> None:
    """What runs beside it is given the history, and may add to it."""

    async def beside(history: History) -> None:
        history.emit({"kind": "server", "what": "kill"})

    outcome = await trial(
        MEMORY,
        seconds=2.0,
        users=12,
        min_instances=2,
        max_instances=2,
        seed=1,
        churn=False,
        beside=beside,
    )
    (told,) = (event for event in outcome.events if event["kind"] == "server")
    assert told["t"] > 0.0
    last = max(event["t1"] for event in outcome.events if event["kind"] == "request")
    fates = [event["what"] for event in outcome.events if event["kind"] == "instance" and event["t"] < last]
    assert sorted(fates) == ["ready", "ready", "start", "start"]
    assert outcome.row["instances_killed"] == 0
    assert "losses_noticed" not in outcome.row


async def test_what_fails_beside_it_fails_the_trial() -> None:
    """At once, as it is."""

    async def beside(history: History) -> None:
        raise LookupError("no such server")

    started = time.monotonic()
    with pytest.raises(LookupError, match="no such server"):
        await trial(
            MEMORY,
            seconds=60.0,
            users=2,
            min_instances=1,
            max_instances=1,
            seed=1,
            churn=False,
            beside=beside,
        )
    assert time.monotonic() - started < 50.0


def test_the_row_counts_the_losses_that_were_noticed() -> None:
    """By all instances together, and only where they were asked to notice."""
    events = [
        {"kind": "instance", "what": "exit", "warnings": {"regression": count, "store unavailable": 7}}
        for count in (2, 3)
    ]
    verdict = Verdict(dict.fromkeys(("sessions", "uncertain"), 0), [])
    assert summary(Strategy("h", "holdfast", detect_loss=True), events, verdict)["losses_noticed"] == 5
