"""Servers are killed with SIGKILL in the middle of a loaded run of the lab, and come back.

What promises durability loses nothing that was acknowledged, and keeps the other promises too. What does not is
measured: what is lost is noticed. Either way requests fail only while the server is away, and no instance is restarted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cases import CASES, LONG, SHORT, Plan
from outages import assert_it_passed, assert_it_was_felt, under_load


def runs(*, keeps: bool) -> Iterator[Any]:
    """Every server that promises as much: killed once, and as a proof several times."""
    for name, case in CASES.items():
        if case.keeps == keeps:
            if case.quick:
                yield pytest.param(name, SHORT, id=f"{name}-once")
            yield pytest.param(name, LONG, id=f"{name}-often", marks=pytest.mark.proof)


@pytest.mark.parametrize(("name", "plan"), list(runs(keeps=True)))
async def test_nothing_is_lost(name: str, plan: Plan, tmp_path: Path) -> None:
    """Every promise is kept, and nothing is taken for a loss."""
    case = CASES[name]
    with case.start(tmp_path, plan) as (strategy, beside):
        outcome = await under_load(strategy, beside, plan.seconds, tmp_path / "history.jsonl")
    assert outcome.violations == []
    assert outcome.row["losses_noticed"] == 0
    if case.serves:
        assert outcome.row["errors"] == 0
    else:
        assert_it_was_felt(outcome)
    assert_it_passed(outcome)


@pytest.mark.parametrize(("name", "plan"), list(runs(keeps=False)))
async def test_what_is_lost_is_noticed(name: str, plan: Plan, tmp_path: Path) -> None:
    """The engine says that it may lose some of what it has acknowledged; Holdfast says when it has."""
    with CASES[name].start(tmp_path, plan) as (strategy, beside):
        outcome = await under_load(strategy, beside, plan.seconds, tmp_path / "history.jsonl")
    assert_it_was_felt(outcome)
    assert_it_passed(outcome)
    lost = outcome.row["sessions_lost"] + outcome.row["updates_lost"]
    assert lost or not CASES[name].loses
    assert outcome.row["losses_noticed"] or not lost
    assert outcome.row["crossed"] == 0


@pytest.mark.proof
async def test_an_acknowledgement_before_the_commit_is_found(tmp_path: Path) -> None:
    """The run that finds nothing finds something where changes are acknowledged a moment before they are kept."""
    with CASES["Redis, log on disk"].start(tmp_path, SHORT) as (strategy, beside):
        faulty = strategy._replace(fault="early")
        outcome = await under_load(faulty, beside, SHORT.seconds, tmp_path / "history.jsonl")
    assert {violation.kind for violation in outcome.violations} & {
        "updates_lost",
        "false_acks",
        "sessions_lost",
    }
    assert outcome.row["losses_noticed"] > 0
