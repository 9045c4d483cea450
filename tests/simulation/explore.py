"""Runs schedules, and makes of a failing one the shortest story that still breaks the same promise.

    HOLDFAST_SIMULATION_SEED=4881 pytest tests/simulation -k replay

runs one schedule again and prints what happened in it; the same seed always gives the same schedule.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import NamedTuple

from .judge import Violation, judge
from .plan import Plan, draw
from .world import World


class Failure(NamedTuple):
    """A schedule that broke a promise."""

    seed: int
    violation: Violation


def explore(seeds: Iterable[int]) -> list[Failure]:
    """Run the schedules of these seeds; the first violation of each that has one."""
    failures = []
    for seed in seeds:
        violations = run(draw(seed))[1]
        if violations:
            failures.append(Failure(seed, violations[0]))
    return failures


def run(plan: Plan) -> tuple[World, list[Violation]]:
    """Run one plan and judge it."""
    world = World(plan)
    world.run()
    return world, judge(world)


def shrink(plan: Plan, promise: str) -> Plan:
    """The plan with every step left out without which the promise is still broken."""
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for track, steps in enumerate(plan.tracks):
            for number in range(len(steps)):
                fewer = (*steps[:number], *steps[number + 1 :])
                smaller = plan._replace(tracks=(*plan.tracks[:track], fewer, *plan.tracks[track + 1 :]))
                if any(violation.promise == promise for violation in run(smaller)[1]):
                    plan, is_smaller = smaller, True
                    break
            if is_smaller:
                break
    gc.collect()
    return plan


def tell(seed: int) -> str:
    """The story of a seed, shortened if it breaks a promise."""
    plan = draw(seed)
    world, violations = run(plan)
    if violations:
        plan = shrink(plan, violations[0].promise)
        world, violations = run(plan)
    lines = [
        str(plan),
        *world.trace,
        *(f"{at:8.3f}  event: {event.kind} {event.detail}" for at, event in world.events),
    ]
    return "\n".join([*lines, *(f"VIOLATED {violation}" for violation in violations)])
