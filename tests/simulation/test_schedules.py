"""Thousands of schedules of the real code, each drawn from its seed; none may break a promise."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from .explore import explore, run, tell
from .plan import draw

QUICK = 1_000
LONG = 120_000
CHUNK = 500


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Regressions and bypassed caches are daily life here; thousands of log lines help nobody."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_no_schedule_breaks_a_promise() -> None:
    """Read-your-writes, monotonic reads and writes, no lost update, no revival, bounded revocation and age."""
    failures = explore(range(QUICK))
    assert not failures, f"{len(failures)} of {QUICK} schedules; the first: {tell(failures[0].seed)}"


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_no_schedule_of_very_many_breaks_a_promise(capsys: pytest.CaptureFixture[str]) -> None:
    """The same for as many as a proof asks for, on all processors; what was run is printed."""
    began = time.perf_counter()
    seeds = range(QUICK, QUICK + LONG)
    chunks = [seeds[start : start + CHUNK] for start in range(0, LONG, CHUNK)]
    with ProcessPoolExecutor(initializer=logging.disable, initargs=(logging.CRITICAL,)) as processes:
        failures = [failure for found in processes.map(explore, chunks) for failure in found]
    with capsys.disabled():
        print(f"\n{LONG} schedules in {time.perf_counter() - began:.0f} s, {len(failures)} with a violation")
    assert not failures, f"{[failure.seed for failure in failures]}; the first: {tell(failures[0].seed)}"


def test_a_seed_always_gives_the_same_schedule() -> None:
    """Otherwise no failure could be looked at again."""
    for seed in range(40):
        first, second = run(draw(seed))[0], run(draw(seed))[0]
        assert (first.trace, first.written) == (second.trace, second.written)


def test_replay() -> None:
    """The seed in HOLDFAST_SIMULATION_SEED (or 0), with all that happened in it."""
    seed = int(os.environ.get("HOLDFAST_SIMULATION_SEED", "0"))
    violations = run(draw(seed))[1]
    story = tell(seed)
    print(story)
    assert not violations, story


def test_the_schedules_try_what_they_are_to_try() -> None:
    """Every home answers, every kind of refusal is met, and most requests succeed."""
    homes: set[str] = set()
    statuses: list[int | None] = []
    for seed in range(150):
        requests = run(draw(seed))[0].requests
        homes.update(request.visit.home for request in requests)
        statuses += [request.status for request in requests]
    assert homes == {"none", "local", "snapshot", "cache", "weak", "store"}
    assert set(statuses) == {None, 200, 409, 503}
    assert statuses.count(200) > 0.9 * len(statuses)
