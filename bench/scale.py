"""Whether a load and a commit cost more the more sessions there are: a thousand, a hundred thousand, a million.

The three sizes stand side by side, in servers or files of their own, and take turns, each with random sessions that
were drawn beforehand. What differs is the ratio of the largest to the smallest, taken within a round. Commits are to
sessions that were not loaded just before, which is what costs a store most; all engines but Redis write each to disk.

Servers have one core and the client another, where there are two: else chance decides for each server whether its core
has to be woken for each question, which takes longer than the answer.

A turn of commits in SQLite or PostgreSQL is long enough for what they do only now and then: SQLite moves its log
into the file every thousand pages, which is more work where these are a thousand different ones.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from .filling import FILLERS, Full, key
from .measure import Call, Rounds, markdown, on_core, ratio, take_turns
from .stores import close, driver, ready_changes

SIZES = (1_000, 100_000, 1_000_000)
MOST = 1.2
LOAD_SLOT, COMMIT_SLOT = 0.04, 0.2  # seconds
DRAWN = 200_000
COLOURS = ("sync", "async")


def report(rounds: int = 20, sizes: Sequence[int] = SIZES) -> str:
    """Two Markdown tables: the times at each size with the ratio of the last to the first, and what they take."""
    rows: list[list[str]] = []
    taken: list[list[str]] = []
    for engine, filler in FILLERS.items():
        with ExitStack() as stack:
            begun = time.perf_counter()
            places = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in sizes]
            with on_core(-1):
                full = [
                    stack.enter_context(filler(place, size))
                    for place, size in zip(places, sizes, strict=True)
                ]
            seconds = time.perf_counter() - begun
            with on_core(0):
                rows += asyncio.run(measure(engine, full, rounds))
            sizes_taken = [f"{each.size / 1e6:,.1f}" for each in full]
            taken.append([f"{engine}, MB {full[0].where}", *sizes_taken, f"{seconds:.0f}"])
    counts = [f"{size:,}" for size in sizes]
    header = ["Store", "colour", "operation", *(f"{count}: µs" for count in counts), "last ÷ first"]
    times = markdown([*header, f"at most {MOST:g}"], rows)
    return f"{times}\n\n{markdown(['Sessions', *counts, 'filled in s'], taken)}"


async def measure(engine: str, full: Sequence[Full], rounds: int) -> list[list[str]]:
    """Let the sizes of one engine take turns, for both operations and colours; their rows."""
    rows = []
    for colour, (operation, prepare) in itertools.product(COLOURS, OPERATIONS.items()):
        calls = {f"{each.count}": prepare(each, colour) for each in full}
        slot = LOAD_SLOT if operation == "load" else COMMIT_SLOT
        times = await take_turns(calls, rounds=rounds, slot=slot)
        rows.append(row(engine, colour, operation, times))
    for each in full:
        await close(each.store)
    return rows


def row(engine: str, colour: str, operation: str, times: Rounds) -> list[str]:
    """One row of the table."""
    first, *_, last = times
    grown = ratio(times, last, first)
    micros = [f"{statistics.median(means) * 1e6:.0f}" for means in times.values()]
    return [engine, colour, operation, *micros, f"{grown:.2f}", "met" if grown <= MOST else "missed"]


def loads(full: Full, colour: str) -> Call:
    """Load one random session after another."""
    store, drawn, drive = full.store, keys(full), driver(full.store, colour)

    async def load() -> None:
        record = await drive(store.load(next(drawn)))
        assert record is not None

    return load


def commits(full: Full, colour: str) -> Call:
    """Change one key of one random session after another."""
    store, drawn, drive = full.store, keys(full), driver(full.store, colour)
    changes = itertools.cycle(ready_changes())

    async def commit() -> None:
        await drive(store.commit(next(drawn), next(changes)))

    return commit


OPERATIONS: dict[str, Callable[[Full, str], Call]] = {"load": loads, "commit": commits}


def keys(full: Full) -> Iterator[str]:
    """Random keys of sessions that are there."""
    source = random.Random(4)
    return itertools.cycle([key(source.randrange(full.count)) for _ in range(DRAWN)])
