"""A trial, from the first instance to the verdict."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from longer_trials import longer_trials

from holdfast.lab import trial as trial_module
from holdfast.lab.checker import Verdict, check
from holdfast.lab.history import load
from holdfast.lab.platform import Platform
from holdfast.lab.strategies import Strategy
from holdfast.lab.trial import percentile, summary, trial

COUNTS = ("sessions", "sessions_lost", "updates_lost", "stale_reads", "revived", "crossed", "false_acks")
KEYS = (
    "name",
    "holdfast",
    "requests",
    "errors",
    "instances_started",
    "instances_killed",
    *COUNTS,
    "p50_ms",
    "p99_ms",
)


def request(outcome: str, status: int | None, ms: float) -> dict[str, Any]:
    return {"kind": "request", "outcome": outcome, "status": status, "ms": ms}


def test_the_row_of_a_report() -> None:
    """Everything is counted from the events; latency is that of what was acknowledged."""
    events = [
        request("ok", 200, 10.04),
        request("ok", 200, 20.0),
        request("network", None, 9999.0),
        request("refused", 503, 1.0),
        request("refused", 409, 2.0),
        *(
            {"kind": "instance", "what": what}
            for what in ("start", "ready", "start", "kill", "exit", "terminate")
        ),
    ]
    counts = {name: number for number, name in enumerate((*COUNTS, "uncertain"))}
    row = summary(Strategy("h", "holdfast"), events, Verdict(counts, []))
    assert tuple(row)[: len(KEYS)] == KEYS
    assert row == {
        "name": "h",
        "holdfast": True,
        "requests": 5,
        "errors": 2,
        "instances_started": 2,
        "instances_killed": 1,
        **counts,
        "p50_ms": 10.0,
        "p99_ms": 20.0,
        "refused": 1,
    }


def test_percentiles() -> None:
    """By nearest rank; of nothing there is none."""
    assert percentile([], 0.5) is None
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([float(number) for number in range(1, 101)], 0.5) == 50.0
    assert percentile([float(number) for number in range(1, 101)], 0.99) == 99.0


async def test_a_trial(tmp_path: Path) -> None:
    """Memory in each instance loses sessions; the history in the file gives the same verdict again."""
    told: list[float] = []
    path = tmp_path / "history.jsonl"
    outcome = await trial(
        Strategy("memory", "memory"),
        seconds=3.0,
        users=12,
        min_instances=2,
        max_instances=3,
        seed=3,
        history_path=path,
        progress=told.append,
    )
    assert outcome.row["sessions_lost"] > 0
    assert (
        outcome.row["sessions_lost"] == Counter(found.kind for found in outcome.violations)["sessions_lost"]
    )
    assert outcome.row["requests"] > 20
    assert outcome.row["instances_started"] >= 2
    assert outcome.row["instances_killed"] >= 1
    assert json.loads(json.dumps(outcome.row)) == outcome.row
    assert load(path) == outcome.events
    assert check(load(path)).violations == outcome.violations
    assert told == sorted(told)
    assert told[0] < 0.2
    assert told[-1] == 1.0
    assert outcome.seconds > 3.0


@pytest.mark.proof
async def test_signed_cookies_lose_updates_and_come_back(tmp_path: Path) -> None:
    """Two tabs overwrite each other, and an old cookie is as good as ever."""
    strategy = Strategy("signed cookie", "signed")
    async for outcome in longer_trials(strategy, 6.0, users=24, min_instances=2, max_instances=3):
        assert outcome.row["crossed"] == 0
        if outcome.row["updates_lost"] > 0 and outcome.row["revived"] > 0:
            break


async def test_nothing_is_left_behind_when_a_trial_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong is raised as it is, and every process is gone."""
    pids: list[int] = []

    class Watched(Platform):
        async def __aenter__(self) -> Platform:
            entered = await super().__aenter__()
            pids.extend(self.pids)
            return entered

    class Stop(Exception):
        pass

    def fail(share: float) -> None:
        raise Stop

    monkeypatch.setattr(trial_module, "Platform", Watched)
    with pytest.raises(Stop):
        await trial(
            Strategy("memory", "memory"),
            seconds=60.0,
            users=2,
            min_instances=2,
            max_instances=2,
            seed=3,
            progress=fail,
        )
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
