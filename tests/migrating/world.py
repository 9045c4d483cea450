"""A small world of two stores and some instances that do things to one session, stepped by hand.

Every call to a store suspends once, before it takes effect, so that a schedule is a list of whose call is next. An
instance may die at any call, and may sleep in any call for longer than a store remembers.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any, NamedTuple

from holdfast.errors import Conflict, HoldfastError, SessionGone
from holdfast.record import Change, Record
from holdfast.stores._migrating_moves import Moves
from holdfast.stores.memory import MemoryStore
from holdfast.stores.migrating import Migrating, Stage

KEY, SUCCESSOR = "a" * 64, "b" * 64
BEGIN = 1_000_000.0
LIFE = 7200.0


class _Turn:
    """Awaiting it gives the turn away."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Stepped:
    """A store in memory whose every call waits for its turn."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    async def create(self, key: str, record: Record) -> bool:
        await _Turn()
        return await self.store.create(key, record)

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        await _Turn()
        return await self.store.load(key)

    async def commit(self, key: str, change: Change) -> Record:
        await _Turn()
        return await self.store.commit(key, change)

    async def end(self, key: str, tombstone: Record) -> None:
        await _Turn()
        await self.store.end(key, tombstone)


class World:
    """Two stores, and what was acknowledged and seen. `faults` are given to every `Migrating`."""

    def __init__(self, faults: Callable[[Migrating], None] | None = None, *, forgetful: bool = False) -> None:
        self.old, self.new = MemoryStore(), MemoryStore()
        self.now = BEGIN
        self.acknowledged: set[str] = set()
        self.increments = 0
        self.ended = False
        self.violations: list[str] = []
        self._faults = faults
        self._forgetful = forgetful
        self._tags = itertools.count(1)
        first = Record(1, self.tag(), {"n": b"0"}, "ann", BEGIN, BEGIN + LIFE)
        drive(self.old.create(KEY, first))

    def tag(self) -> bytes:
        return next(self._tags).to_bytes(8, "big")

    def instance(self, stage: Stage, *, stepped: bool = True) -> Migrating:
        """One process of the application, with a memory of its own."""
        old, new = (Stepped(self.old), Stepped(self.new)) if stepped else (self.old, self.new)
        made = Migrating(old, new, stage=stage)
        made._moves._clock = lambda: self.now
        if self._faults is not None:
            self._faults(made)
        return made

    # What instances do

    async def write(self, stage: Stage, name: str) -> None:
        """Set a value, and read it back on an instance of the other stage."""
        result = await self.instance(stage).commit(KEY, Change(self.tag(), self.now, set={name: b"1"}))
        self.acknowledged.add(name)
        other = self.instance("move" if stage == "prepare" else "prepare")
        seen = await other.load(KEY)
        if seen is not None and seen.is_live(self.now):
            self._expect(seen.version >= result.version, f"version {result.version}, then {seen.version}")
            self._expect(name in seen.values, f"{name} is not there right after it was written")

    async def renew(self, stage: Stage, name: str) -> None:
        """Set a value, and shorten the life of the session."""
        change = Change(self.tag(), self.now, set={name: b"1"}, expires_at=self.now + 60.0)
        await self.instance(stage).commit(KEY, change)
        self.acknowledged.add(name)

    async def count(self, stage: Stage) -> None:
        """Count up by one, based on what was read."""
        store = self.instance(stage)
        record = await store.load(KEY)
        while record is not None and record.is_live(self.now):
            more = {"n": b"%d" % (int(record.values.get("n", b"0")) + 1)}
            try:
                await store.commit(KEY, Change(self.tag(), self.now, set=more, base=record.version))
            except Conflict as conflict:
                record = conflict.current
            else:
                self.increments += 1
                return

    async def read(self, *stages: Stage) -> None:
        """Read again and again: versions only rise, and what has ended does not come back."""
        version, is_over = 0, False
        for stage in stages:
            record = await self.instance(stage).load(KEY)
            is_live = record is not None and record.is_live(self.now)
            self._expect(not (is_live and is_over), "what has ended was shown again")
            if record is not None and is_live:
                self._expect(record.version >= version, f"version {version}, then {record.version}")
                version = record.version
            is_over = not is_live

    async def end(self, stage: Stage) -> None:
        """Sign out."""
        store = self.instance(stage)
        record = await store.load(KEY)
        if record is not None and record.is_live(self.now):
            await store.end(KEY, self._tombstone(record))
            self.ended = True

    async def rotate(self, stage: Stage) -> None:
        """Go on under another identity: see `writes.rotate`."""
        store = self.instance(stage)
        record = await store.load(KEY)
        if record is None or not record.is_live(self.now):
            return
        await store.create(SUCCESSOR, record._replace(version=record.version + 1, tag=self.tag()))
        while True:
            gone = frozenset(record.values)
            seal = Change(self.tag(), self.now, unset=gone, expires_at=-self.now, base=record.version)
            try:
                sealed = await store.commit(KEY, seal)
            except Conflict as conflict:
                record = conflict.current
            else:
                break
        self.ended = True
        await store.end(KEY, self._tombstone(sealed))

    async def seal_only(self) -> None:
        """Go on under another identity, and die before the tombstone is there."""
        store = self.instance("move")
        record = await store.load(KEY)
        if record is not None and record.is_live(self.now):
            gone = frozenset(record.values)
            await store.commit(
                KEY, Change(self.tag(), self.now, unset=gone, expires_at=-self.now, base=record.version)
            )
            self.ended = True

    async def bring_only(self) -> None:
        """Seal the session and bring it, without a pause, and die before that is noted."""
        await _Turn()
        moves = self.instance("move", stepped=False)._moves
        record = await moves.old.load(KEY)
        if record is not None and record.is_live(self.now):
            await moves.bring(KEY, await moves.seal(KEY, Change(self.tag(), self.now), record.version))

    async def move(self) -> None:
        """Move the session as it is."""
        moves: Moves = self.instance("move")._moves
        await moves.move(KEY, await moves.old.load(KEY))

    async def forget(self) -> None:
        """Time goes by, and the new store lets go of what has been over for a minute."""
        await _Turn()
        self.now += 121.0
        record = await self.new.load(KEY)
        if record is not None and not record.ended and record.expires_at < self.now - 60.0:
            await self.new.sweep(self.now - 60.0)

    # The judgement

    def judge(self) -> list[str]:
        """What is wrong after everybody has gone, as instances of both stages see it that come later."""
        for stage in ("move", "prepare", "move"):
            store = self.instance(stage, stepped=False)
            record = drive(store.load(KEY))
            is_live = record is not None and record.is_live(self.now)
            if self.ended:
                self._expect(not is_live, f"the session has ended, and {stage} shows it")
            elif not self._forgetful and (
                record is None or not (is_live or record.ended or record.expires_at < 0)
            ):
                self._expect(False, f"the session is lost for {stage}")
            elif record is not None and is_live:
                missing = self.acknowledged - record.values.keys()
                self._expect(not missing, f"{stage} does not show {missing}")
                self._expect(
                    int(record.values.get("n", b"0")) >= self.increments,
                    f"{stage} does not show an increment",
                )
                self._expect(not any("\0" in name for name in record.values), "the mark is shown")
        return self.violations

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.violations.append(otherwise)

    def _tombstone(self, record: Record) -> Record:
        until = max(self.now + 3600, record.expires_at)
        return Record(record.version + 1, self.tag(), {}, record.owner, self.now, until, ended=True)


Actor = Callable[[World], Coroutine[Any, Any, None]]


class Scenario(NamedTuple):
    """Who does things at the same time."""

    name: str
    actors: tuple[Actor, ...]
    forgetful: bool = False


def drive(operation: Coroutine[Any, Any, Any]) -> Any:
    """Run it to its end, on stores that do not wait."""
    try:
        operation.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def _play(
    scenario: Scenario, faults: Callable[[Migrating], None] | None, choose: Callable[[list[int]], int]
) -> World:
    """One run. `choose` says whose turn it is, given who can go on; the negative of (number + 1) kills that one."""
    world = World(faults, forgetful=scenario.forgetful)
    running: dict[int, Any] = {number: actor(world) for number, actor in enumerate(scenario.actors)}
    for actor in running.values():
        assert actor.send(None) is None  # every actor begins with a call, and waits for its turn
    while running:
        number = choose(sorted(running))
        if number < 0:
            running.pop(-number - 1).close()
            continue
        try:
            running[number].send(None)
        except StopIteration:
            del running[number]
        except (SessionGone, Conflict):
            del running[number]
        except HoldfastError as error:
            world.violations.append(repr(error))
            del running[number]
    return world


def every_schedule(
    scenario: Scenario, faults: Callable[[Migrating], None] | None = None, *, victim: int | None = None
) -> Iterator[tuple[list[int], list[str]]]:
    """All orders of the actors' steps; `victim` may also die, before any of its steps. Yields order and violations."""
    prefix: list[int] = []
    while True:
        taken: list[int] = []
        open_: list[list[int]] = []

        def choose(
            runnable: list[int],
            prefix: list[int] = prefix,
            taken: list[int] = taken,
            open_: list[list[int]] = open_,
        ) -> int:
            options = [*runnable, *([-victim - 1] if victim in runnable and victim is not None else [])]
            place = len(taken)
            choice = prefix[place] if place < len(prefix) else options[0]
            taken.append(choice)
            open_.append(options[options.index(choice) + 1 :])
            return choice

        world = _play(scenario, faults, choose)
        yield taken, world.judge()
        while open_ and not open_[-1]:
            open_.pop()
        if not open_:
            return
        prefix = [*taken[: len(open_) - 1], open_[-1][0]]


def random_schedules(
    scenario: Scenario, faults: Callable[[Migrating], None] | None = None, *, runs: int, seed: int
) -> Iterator[tuple[list[int], list[str]]]:
    """So many orders by chance, in which now and then somebody dies."""
    for run in range(runs):
        dice = random.Random(seed * 1_000_003 + run)
        deadliness = 0.0 if scenario.forgetful else 0.02  # who dies where, these scenarios say themselves
        haste = dice.choice((0.3, 0.8))  # how likely it is that whoever is at work goes on
        taken: list[int] = []

        def choose(
            runnable: list[int],
            dice: random.Random = dice,
            odds: tuple[float, float] = (haste, deadliness),
            taken: list[int] = taken,
        ) -> int:
            number = (
                taken[-1]
                if taken and taken[-1] in runnable and dice.random() < odds[0]
                else dice.choice(runnable)
            )
            taken.append(-number - 1 if dice.random() < odds[1] else number)
            return taken[-1]

        yield taken, _play(scenario, faults, choose).judge()
