"""The simulation is itself tested: each rule that is taken out of the mechanism must turn it red."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from .explore import run
from .mutants import MUTATIONS, SNAPSHOT_MUTATIONS
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


def carried(number: int, *tracks: tuple[Step, ...], **settings: Any) -> Plan:
    """Two instances, and a browser that carries snapshots for four seconds; its first pin lives for six."""
    snapshot: dict[str, Any] = {"copy_age": 1.0, "snapshot": 4.0, "cache": False, **settings}
    return plan(number, *tracks)._replace(**snapshot)


def late_floor(moment: float) -> Plan:
    """Two tabs are shown what another device has written; the answer to the one takes very long. The other goes on to
    read and write, and is then taken back to the floor of the late one."""
    return carried(
        int(moment * 1000),
        (
            Step(0, "read", 0, 6.6),
            Step(0, "read", 0, 9.0),
            Step(0, "put", 0, 9.2),
            Step(0, "read", 0, 12.6 + moment),
        ),
        (Step(1, "read", 0, 6.5, down=4.0),),
        (Step(8, "put", 0, 0.5),),
    )


def slow_handler(moment: float) -> Plan:
    """A handler thinks for long about what it has read, while another device writes. What the browser was given is
    sent again when it has thrown it away."""
    return carried(
        int(moment * 1000),
        (
            Step(0, "read", 0, 8.0, think=2.0),
            Step(0, "read", 0, 11.1),
            Step(0, "replay", 0, 13.8 + moment, 1),
        ),
        (Step(8, "put", 0, 8.5),),
        skews=(0.5, -0.5),
    )


def ended_elsewhere(moment: float) -> Plan:
    """An administrator ends the session whose copy the browser has just been given."""
    return carried(
        int(moment * 1000),
        (Step(0, "read", 0, 8.0), Step(0, "read", 0, 9.8 + moment)),
        (Step(MISHAPS, "revoke", 0, 8.5, 1),),
    )


def counted_elsewhere(moment: float) -> Plan:
    """Another device counts on, after the browser was given a copy and before it counts too."""
    return carried(
        int(moment * 1000),
        (Step(0, "count", 0, 0.5), Step(0, "read", 0, 8.0), Step(0, "count", 0, 9.0 + moment)),
        (Step(8, "count", 0, 8.5),),
    )


def carried_login(moment: float) -> Plan:
    """A login, and a count, upon a copy that has left something on the server, when another device has counted on."""
    return carried(
        int(moment * 1000),
        (
            Step(0, "share", 0, 0.5),
            Step(0, "count", 0, 0.6),
            Step(0, "read", 0, 8.0),
            Step(0, "count and login", 0, 9.0 + moment),
        ),
        (Step(8, "count", 0, 8.5),),
        private=True,
    )


MOMENTS = [milliseconds / 1000 for milliseconds in range(1, 60)]

# What chance rarely brings about, and each of these does now and then.
DIRECTED = {
    "refill without claim": [late_refill(moment) for moment in MOMENTS],
    "cache set without version guard": [late_write(moment) for moment in MOMENTS],
    "absent floor as zero": [lost_floor(moment) for moment in MOMENTS],
    "no longer pin for snapshots": [late_floor(moment) for moment in MOMENTS[::6]],
    "age from the response": [slow_handler(moment) for moment in MOMENTS[::6]],
    "no age check": [slow_handler(moment) for moment in MOMENTS[::6]],
    "no feed for snapshots": [ended_elsewhere(moment) for moment in MOMENTS[::6]],
    "the snapshot as the base of a write": [counted_elsewhere(moment) for moment in MOMENTS[::6]],
    "a login forgets what was counted elsewhere": [carried_login(moment) for moment in MOMENTS[::6]],
}


@pytest.mark.parametrize("name", [*MUTATIONS, *SNAPSHOT_MUTATIONS])
def test_a_mutant_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a bounded number of schedules, and by another promise than the one about loss."""
    (MUTATIONS | SNAPSHOT_MUTATIONS)[name](monkeypatch)
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
