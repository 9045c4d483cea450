"""The simulation is itself tested: each rule that is taken out of the mechanism must turn it red."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from .explore import run
from .mutants import MUTATIONS
from .plan import MISHAPS, Plan, Step, draw

# So many schedules at most, from seed 0 on.
BOUND = 4_000


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def plan(number: int, *tracks: tuple[Step, ...], local: bool = False) -> Plan:
    """Two instances, copies that live for two seconds."""
    return Plan(
        seed=number,
        instances=2,
        skews=(0.0, 0.0),
        local=local,
        cache=not local,
        weak=False,
        copy_age=2.0,
        idle=1800.0,
        max_lag=0.3,
        failing=0.0,
        loses=False,
        tracks=tracks,
    )


def late_refill(moment: float) -> Plan:
    """A reader is frozen at that moment, perhaps between its read of the store and its refill of the cache.
    Meanwhile another instance commits; another device comes when copies from before are too old."""
    return plan(
        int(moment * 1000),
        (Step(0, "read", 0, 5.0),),
        (Step(1, "put", 0, 5.0 + moment, 1, strong=True),),
        (Step(8, "read", 0, 0.2, 1), Step(8, "read", 0, 9.0, 1)),
        (Step(MISHAPS, "flush cache", 0, 4.9), Step(MISHAPS, "freeze", 0, 5.0 + moment, seconds=0.24)),
    )


def late_write(moment: float) -> Plan:
    """A writer is frozen at that moment, perhaps between its commit and its write to the cache. Meanwhile another
    instance commits something newer."""
    return plan(
        int(moment * 1000),
        (Step(0, "read", 0, 4.0), Step(0, "put", 0, 5.0 + moment, strong=True)),
        (Step(1, "put", 0, 5.0, 1, strong=True),),
        (Step(8, "read", 0, 0.2, 1), Step(8, "read", 0, 9.0, 1)),
        (Step(MISHAPS, "freeze", 0, 5.0 + moment, 1, seconds=0.24),),
    )


def lost_floor(moment: float) -> Plan:
    """The browser loses its floor and its pin, and comes to an instance that has a copy from before its write."""
    return plan(
        int(moment * 1000),
        (Step(0, "read", 0, 5.0, 1), Step(0, "put", 0, 5.3), Step(0, "read", 0, 6.0 + moment, 1)),
        (Step(MISHAPS, "lose floor and pin", 0, 5.9),),
        local=True,
    )


MOMENTS = [milliseconds / 1000 for milliseconds in range(1, 60)]

# What chance rarely brings about, and each of these does now and then.
DIRECTED = {
    "refill without claim": [late_refill(moment) for moment in MOMENTS],
    "cache set without version guard": [late_write(moment) for moment in MOMENTS],
    "absent floor as zero": [lost_floor(moment) for moment in MOMENTS],
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutant_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a bounded number of schedules, and by another promise than the one about loss."""
    MUTATIONS[name](monkeypatch)
    for schedule in DIRECTED.get(name) or map(draw, range(BOUND)):
        if any(violation.promise != "loss is noticed" for violation in run(schedule)[1]):
            return
    pytest.fail(f"{name}: not caught")


@pytest.mark.parametrize("name", DIRECTED)
def test_what_catches_a_mutant_is_kept_by_the_real_code(name: str) -> None:
    """The same schedules, nothing taken out."""
    for schedule in DIRECTED[name]:
        world, violations = run(schedule)
        assert not violations, "\n".join([str(schedule), *world.trace, *map(str, violations)])
