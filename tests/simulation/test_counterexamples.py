"""Schedules that once broke a promise, each as short as it can be: they stay what they were found as."""

from __future__ import annotations

import pytest

from .explore import run
from .plan import MISHAPS, Plan, Step


def plan(*tracks: tuple[Step, ...], local: bool = False, cache: bool = True) -> Plan:
    """Two instances, copies that live for two seconds, and nothing that was not asked for."""
    return Plan(
        seed=1,
        instances=2,
        skews=(0.0, 0.0),
        local=local,
        cache=cache,
        weak=False,
        copy_age=2.0,
        idle=1800.0,
        max_lag=0.3,
        failing=0.0,
        loses=False,
        tracks=tracks,
    )


def mishap(kind: str, since: float, instance: int = 0, seconds: float = 0.0) -> tuple[Step, ...]:
    """A track with one mishap."""
    return (Step(MISHAPS, kind, 0.0, since, instance, seconds=seconds),)


SCHEDULES = {
    # A write whose copy in the cache is not confirmed gets a long pin. The late response of an earlier read has a
    # short one: it must not take its place.
    "a short pin does not shorten a long one": plan(
        (Step(0, "put", 0, 1.2, 1), Step(0, "read", 0, 6.0)),
        (Step(1, "read", 0, 1.0, down=1.0),),
        (Step(8, "put", 0, 0.2),),
        mishap("cut cache", 1.1, 1, seconds=1.0),
    ),
    # Another tab is shown what this instance has committed and not brought to the cache. It has to be pinned for
    # as long as the cache may hold something older.
    "a local copy that the cache does not know of": plan(
        (
            Step(0, "put", 0, 5.2, 1, lost=True),
            Step(0, "read", 0, 5.6, 1),
            Step(0, "read", 0, 10.5),
        ),
        (Step(1, "read", 0, 5.0, down=1.0),),
        (Step(8, "put", 0, 4.0),),
        mishap("cut cache", 5.1, 1, seconds=1.0),
        local=True,
    ),
    # The store's answer to the tombstone was lost: 503. The second attempt finds the session over, is
    # acknowledged, and the cache must not show it any more.
    "a logout that was tried twice": plan(
        (
            Step(0, "logout", 0, 4.0, strong=True),
            Step(0, "logout", 0, 4.5, strong=True),
            Step(0, "read", 0, 6.0),
        ),
        (Step(8, "read", 0, 3.5), Step(8, "read", 0, 8.0), Step(8, "read", 0, 9.0)),
        mishap("lose answer", 3.95, 1),
    ),
    # The seal of a rotation was made and its answer lost. The administrator then ends the session: no copy of it
    # may be served after that, though the store has nothing left to end.
    "a revocation after half a rotation": plan(
        (Step(0, "rotate", 0, 4.0, strong=True), Step(0, "read", 0, 10.0), Step(0, "read", 0, 11.0)),
        mishap("lose answer", 3.95, 2),
        mishap("revoke", 6.0),
    ),
    # The store loses a change while a request that has seen it writes: the write lands on the older record, and
    # its floor must not hide that something is missing.
    "a write upon what was rolled back": plan(
        (Step(0, "put", 0, 0.2), Step(0, "share", 0, 0.4, think=0.5), Step(0, "read", 0, 1.5)),
        mishap("checkpoint", 0.1),
        mishap("roll back", 0.7),
    )._replace(loses=True),
    # The same, where all that is written is a new deadline.
    "a renewal upon what was rolled back": plan(
        (Step(0, "put", 0, 1.0), Step(0, "read", 0, 2.0, think=0.5), Step(0, "read", 0, 3.0)),
        mishap("checkpoint", 0.5),
        mishap("roll back", 2.2),
    )._replace(loses=True, idle=6.0),
    # A login sets out from a copy of what the store has lost, and meets the older record in its place.
    "a login from a copy of what was rolled back": plan(
        (Step(0, "put", 0, 0.2), Step(0, "read", 0, 4.0), Step(0, "login", 0, 6.0), Step(0, "read", 0, 6.5)),
        mishap("checkpoint", 0.1),
        mishap("roll back", 5.0),
    )._replace(loses=True),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_schedule_that_once_broke_a_promise(schedule: Plan) -> None:
    """It keeps them all now."""
    world, violations = run(schedule)
    assert not violations, "\n".join([str(schedule), *world.trace, *map(str, violations)])
