"""What happens to the instances of a run: kills, freezes and terminations, drawn from a seed beforehand.

The schedule depends on nothing but the seed and the length, so that every strategy goes through the same.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from .process import Instance

# Seconds between two faults of a kind, on average. Sixteen kills in twenty seconds.
KILL_EVERY = 1.25
FREEZE_EVERY = 2.0
TERMINATE_EVERY = 5.0
SHORTEST_FREEZE, LONGEST_FREEZE = 0.2, 1.0
LOOK_AGAIN = 0.005


class Fault(NamedTuple):
    """`what` ("kill", "freeze", "terminate") happens `at` seconds after the start. `pick`, from 0 to below 1,
    chooses among the instances that qualify then; `lasts` is how long a freeze takes."""

    at: float
    what: str
    pick: float
    lasts: float = 0.0


class Schedule(NamedTuple):
    """The faults of a run, each kind in order of time."""

    kills: list[Fault]
    freezes: list[Fault]
    terminations: list[Fault]


def schedule(seconds: float, seed: object) -> Schedule:
    """The faults for a run of that many seconds."""
    source = random.Random(f"{seed}/churn")
    kills = [Fault(at, "kill", source.random()) for at in _times(seconds, KILL_EVERY, source)]
    freezes = [
        Fault(at, "freeze", source.random(), source.uniform(SHORTEST_FREEZE, LONGEST_FREEZE))
        for at in _times(seconds, FREEZE_EVERY, source)
    ]
    terminations = [
        Fault(at, "terminate", source.random()) for at in _times(seconds, TERMINATE_EVERY, source)
    ]
    return Schedule(kills, freezes, terminations)


def _times(seconds: float, every: float, source: random.Random) -> Iterator[float]:
    """One moment in each slot, so that faults are neither regular nor bunched."""
    for slot in range(int(seconds / every)):
        yield (slot + source.uniform(0.1, 0.9)) * every


class Victims(Protocol):
    """What the churn needs of a platform."""

    def ready(self) -> Sequence[Instance]:
        """The instances that serve and have not been told to go, oldest first."""
        ...

    def kill(self, instance: Instance) -> None: ...
    def freeze(self, instance: Instance) -> None: ...
    def thaw(self, instance: Instance) -> None: ...
    def terminate(self, instance: Instance) -> None: ...


async def inject(victims: Victims, faults: Schedule, seconds: float) -> None:
    """Let the faults happen, each at its time or as soon after it as an instance qualifies; `seconds` in all.

    A kill is for an instance with a request in flight, frozen or not; the others are for any that runs.
    Whatever is frozen at the end, or when this is cancelled, is thawed.
    """
    start = asyncio.get_running_loop().time()

    async def happen(kind: Sequence[Fault]) -> None:
        for fault in kind:
            await asyncio.sleep(start + fault.at - asyncio.get_running_loop().time())
            while not (candidates := _candidates(victims, fault)):  # noqa: ASYNC110 - it changes all the time
                await asyncio.sleep(LOOK_AGAIN)
            await _strike(victims, candidates[int(fault.pick * len(candidates))], fault)

    lanes = [asyncio.ensure_future(happen(kind)) for kind in faults]
    try:
        await asyncio.sleep(seconds)
        for lane in lanes:
            if lane.done():
                lane.result()
    finally:
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)


def _candidates(victims: Victims, fault: Fault) -> list[Instance]:
    if fault.what == "kill":
        return [instance for instance in victims.ready() if instance.in_flight > 0]
    return [instance for instance in victims.ready() if not instance.frozen]


async def _strike(victims: Victims, instance: Instance, fault: Fault) -> None:
    if fault.what == "kill":
        victims.kill(instance)
    elif fault.what == "terminate":
        victims.terminate(instance)
    else:
        victims.freeze(instance)
        try:
            await asyncio.sleep(fault.lasts)
        finally:
            victims.thaw(instance)
