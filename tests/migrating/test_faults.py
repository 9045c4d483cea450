"""The schedules are themselves tried: a protocol with a step left out, or in another order, does not pass them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.record import Change, Record
from holdfast.stores._migrating_marks import MARK, is_marked
from holdfast.stores._migrating_moves import Outcome, Seen
from holdfast.stores.migrating import Migrating

from .scenarios import CROWDS, FORGETTING, PAIRS
from .world import Scenario, random_schedules

Fault = Callable[[Migrating], None]


def no_seal(store: Migrating) -> None:
    """The record is copied, and marked afterwards."""
    moves = store._moves

    async def seal(key: str, change: Change, version: int) -> Record:
        record = await moves.old.commit(key, change._replace(base=version))
        return record._replace(values={**record.values, MARK: b"\xa6moving"})

    moves.seal = seal  # type: ignore[method-assign]  # a fault is seeded


def brought_before_the_seal(store: Migrating) -> None:
    """The record is in the new store before the old one has given it away."""
    moves = store._moves

    async def move(key: str, record: Record | None) -> Outcome:
        if record is not None and not is_marked(record) and record.is_live(moves._clock()):
            await moves.bring(key, record)
            sealed = await moves.seal(key, Change(b"sealing.", moves._clock()), record.version)
            await moves.mark(key, sealed)
        return "moved"

    moves.move = move  # type: ignore[method-assign]  # a fault is seeded


def prepare_without_a_base(store: Migrating) -> None:
    """Changes to the old store land on whatever is there."""
    stage = store._stage

    async def commit_here(key: str, change: Change, version: int) -> Record | None:
        result = await stage._old.commit(key, change)
        return result._replace(values={name: data for name, data in result.values.items() if name != MARK})

    stage._commit_here = commit_here  # type: ignore[method-assign]  # a fault is seeded


def marks_are_not_followed(store: Migrating) -> None:
    """An instance that prepares takes a record that was handed over for the newest."""

    async def load_there(key: str, seen: Seen) -> Record | None:
        return seen.record

    store._stage._load_there = load_there  # type: ignore[method-assign]  # a fault is seeded


def an_ending_does_not_stop_first(store: Migrating) -> None:
    """The old store is overwritten, and then the new one: a record may be handed over in between."""
    moves = store._moves

    async def end(key: str, tombstone: Record) -> None:
        await moves.new.end(key, tombstone)
        await moves.old.end(key, tombstone)

    store.end = end  # type: ignore[method-assign]  # a fault is seeded


def moves_stay_unfinished(store: Migrating) -> None:
    """The new store may forget a session that the old one would still hand over."""

    async def settle(key: str) -> None:
        pass

    store._stage._settle = settle  # type: ignore[method-assign]  # a fault is seeded


def brought_after_it_was_moved(store: Migrating) -> None:
    """Whatever bears a mark is brought, also when that was done long ago."""
    stage, moves = store._stage, store._moves

    async def load_there(key: str, seen: Seen) -> Record | None:
        if seen.record is not None and is_marked(seen.record):
            await moves.bring(key, seen.record)
        return await moves.new.load(key)

    stage._load_there = load_there  # type: ignore[method-assign]  # a fault is seeded


def versions_begin_anew(store: Migrating) -> None:
    """The new store counts from one."""
    moves = store._moves

    async def bring(key: str, sealed: Record) -> bool:
        values = {name: data for name, data in sealed.values.items() if name != MARK}
        return await moves.new.create(key, sealed._replace(version=1, values=values))

    moves.bring = bring  # type: ignore[method-assign]  # a fault is seeded


def late_bringers_are_believed(store: Migrating) -> None:
    """Whoever brings a record after the new store has forgotten it does not take it back."""
    store._moves._is_stale = lambda seen: False  # type: ignore[method-assign]  # a fault is seeded


FAULTS: list[Fault] = [
    no_seal,
    brought_before_the_seal,
    prepare_without_a_base,
    marks_are_not_followed,
    an_ending_does_not_stop_first,
    moves_stay_unfinished,
    brought_after_it_was_moved,
    versions_begin_anew,
    late_bringers_are_believed,
]

EVERYTHING = [*FORGETTING, *PAIRS, *CROWDS]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_turns_some_schedule_red(fault: Fault) -> None:
    """Left as it is, the same schedules are green: what is found is the fault."""
    for seed in range(6):
        for scenario in EVERYTHING:
            runs = 1500 if scenario.forgetful else 40
            if any(violations for _, violations in random_schedules(scenario, fault, runs=runs, seed=seed)):
                return
    pytest.fail("nobody has noticed")


@pytest.mark.parametrize("scenario", FORGETTING, ids=lambda scenario: scenario.name)
def test_nothing_comes_back_that_the_new_store_has_forgotten(scenario: Scenario) -> None:
    """A mover that died, or slept, brings nothing back that has ended since, however long ago."""
    for order, violations in random_schedules(scenario, runs=2500, seed=2):
        assert not violations, order
