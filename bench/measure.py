"""Times that can be compared: subjects take turns, and each figure is a median over the rounds.

A machine slows down and speeds up while it is measured. Subjects that run one after the other in each
round meet the same weather, so differences and ratios are taken within a round, never between rounds.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

Call = Callable[[], Awaitable[object]]
Clock = Callable[[], float]
Rounds = Mapping[str, Sequence[float]]


async def take_turns(subjects: Mapping[str, Call], *, rounds: int, slot: float) -> Rounds:
    """Call each subject for about `slot` seconds in each round; the mean seconds of a call, by round."""
    return (await take_turns_by(subjects, (time.perf_counter,), rounds=rounds, slot=slot))[0]


async def take_turns_by(
    subjects: Mapping[str, Call], clocks: Sequence[Clock], *, rounds: int, slot: float
) -> list[Rounds]:
    """The same by several clocks at once: by `time.process_time` too, say, what the other end does is left out."""
    calls = {name: max(1, round(slot / await warm_up(call, slot))) for name, call in subjects.items()}
    means: list[dict[str, list[float]]] = [{name: [] for name in subjects} for _ in clocks]
    for _ in range(rounds):
        for name, call in subjects.items():
            for clock, taken in zip(means, await mean(call, calls[name], clocks), strict=True):
                clock[name].append(taken)
    return list(means)


async def warm_up(call: Call, seconds: float) -> float:
    """Call for some seconds, so that connections and caches are there; the mean seconds of a call."""
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or done < 3:
        await call()
        done += 1
    return elapsed / done


async def mean(call: Call, times: int, clocks: Sequence[Clock]) -> list[float]:
    """The mean seconds of one call out of `times`, by each clock."""
    starts = [clock() for clock in clocks]
    for _ in range(times):
        await call()
    return [(clock() - start) / times for clock, start in zip(clocks, starts, strict=True)]


@contextmanager
def on_core(number: int) -> Iterator[None]:
    """Keep this process, and those that it starts meanwhile, to one of its cores.

    With the servers on one and the client on another, no subject is luckier than the other: else chance decides, for
    each connection's process on the server, whether a core has to be woken for each question.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def added(rounds: Rounds, subject: str, to: str) -> float:
    """The seconds that `subject` takes longer than `to`: the median of the rounds' differences."""
    return statistics.median(one - other for one, other in zip(rounds[subject], rounds[to], strict=True))


def ratio(rounds: Rounds, subject: str, to: str) -> float:
    """How many times as long as `to` the subject takes: the median of the rounds' ratios."""
    return statistics.median(one / other for one, other in zip(rounds[subject], rounds[to], strict=True))


def added_ratio(rounds: Rounds, subject: str, to: str, unit: str) -> float:
    """What `added` says, as a multiple of the seconds that `unit` takes in the same round."""
    triples = zip(rounds[subject], rounds[to], rounds[unit], strict=True)
    return statistics.median((one - other) / whole for one, other, whole in triples)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up; all columns but the first are aligned to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return (
            "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |"
        )

    rule = "|" + "|".join("-" * (width + 1) + "-:"[column > 0] for column, width in enumerate(widths)) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])
