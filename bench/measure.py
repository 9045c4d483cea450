"""Times that can be compared: subjects take turns, and each figure is a median over the rounds.

A machine slows down and speeds up while it is measured. Subjects that run one after the other in each
round meet the same weather, so differences and ratios are taken within a round, never between rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

Call = Callable[[], Awaitable[object]]
Rounds = Mapping[str, Sequence[float]]


async def take_turns(subjects: Mapping[str, Call], *, rounds: int, slot: float) -> Rounds:
    """Call each subject for about `slot` seconds in each round; the mean seconds of a call, by round."""
    calls = {name: max(1, round(slot / await warm_up(call, slot))) for name, call in subjects.items()}
    means: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, call in subjects.items():
            means[name].append(await mean(call, calls[name]))
    return means


async def warm_up(call: Call, seconds: float) -> float:
    """Call for some seconds, so that connections and caches are there; the mean seconds of a call."""
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or done < 3:
        await call()
        done += 1
    return elapsed / done


async def mean(call: Call, times: int) -> float:
    """The mean seconds of one call out of `times`."""
    start = time.perf_counter()
    for _ in range(times):
        await call()
    return (time.perf_counter() - start) / times


def added(rounds: Rounds, subject: str, to: str) -> float:
    """The seconds that `subject` takes longer than `to`: the median of the rounds' differences."""
    return statistics.median(one - other for one, other in zip(rounds[subject], rounds[to], strict=True))


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
