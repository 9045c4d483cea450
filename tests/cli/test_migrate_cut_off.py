"""`holdfast migrate` while a store goes away for good: the run is cut off there, and what is left is left as it was."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from holdfast import _colour
from holdfast._colour import run
from holdfast.cli._checkpoint import Checkpoint
from holdfast.cli._migration import Migration
from holdfast.cli._patience import Patience
from holdfast.errors import StoreUnavailable
from holdfast.record import Record
from holdfast.stores.memory import MemoryStore

Driver = Callable[[Coroutine[Any, Any, None]], None]


class Leaving(MemoryStore):
    """Takes so many sessions; it is away then, or (with `stays`) only for what is put into it."""

    def __init__(self, takes: int, *, stays: bool = False) -> None:
        super().__init__()
        self.refused = 0
        self._takes = takes
        self._stays = stays

    async def create(self, key: str, record: Record) -> bool:
        if not self._takes:
            self.refused += 1
            raise TimeoutError("no answer")
        self._takes -= 1
        return await super().create(key, record)

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        if not self._takes and not self._stays:
            raise TimeoutError("no answer")
        return await super().load(key)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts take no time."""

    async def pause(seconds: float) -> None:
        if not _colour.by_hand():
            await asyncio.sleep(0)

    monkeypatch.setattr(_colour, "pause", pause)


def filled(number: int) -> MemoryStore:
    store, now = MemoryStore(), time.time()
    for index in range(number):
        run(store.create(f"s{index:03}", Record(1, os.urandom(8), {"n": b"\x00"}, None, now, now + 3600)))
    return store


@pytest.mark.parametrize("drive", [run, asyncio.run])
def test_a_store_that_is_away_for_long_cuts_the_run_off(drive: Driver, tmp_path: Path) -> None:
    """What follows is not called failed and passed by: the place is kept, and the next run does it."""
    old, new, told = filled(100), Leaving(25), list[str]()
    file = Checkpoint("memory:a", "memory:b", tmp_path)

    def migration(target: MemoryStore) -> Migration:
        return Migration(old, target, page=10, tell=lambda handle, what: told.append(what))

    first = migration(new)
    with pytest.raises(StoreUnavailable, match=r"TO \(Leaving\) is not available"):
        drive(first.move(file, lambda number: None))
    place = file.read()
    assert place is not None
    assert place.passed == first.passed == 20
    assert told == []
    back = MemoryStore()
    again = migration(back)
    drive(again.move(file, lambda number: None, place))
    assert not again.counts.keys() - {"moved", "already moved"}
    assert told == []
    assert file.read() is None


@pytest.mark.parametrize("drive", [run, asyncio.run])
def test_a_session_that_fails_alone_does_not_cut_the_run_off(drive: Driver, tmp_path: Path) -> None:
    """While both stores answer, it is told, and the others are moved."""
    told = list[str]()
    migration = Migration(
        filled(30), Leaving(29, stays=True), page=10, tell=lambda handle, what: told.append(what)
    )
    drive(migration.move(Checkpoint("memory:a", "memory:b", tmp_path), lambda number: None))
    assert migration.counts == {"moved": 29, "failed": 1}
    assert len(told) == 1
    assert "could not be moved: TO (Leaving) is not available" in told[0]


@pytest.mark.parametrize("drive", [run, asyncio.run])
def test_verifying_is_cut_off_too(drive: Driver, tmp_path: Path) -> None:
    """Sessions that nobody could look at are not called wrong."""
    old, new, told = filled(30), Leaving(31), list[str]()

    def migration() -> Migration:
        return Migration(old, new, page=10, tell=lambda handle, what: told.append(what))

    drive(migration().move(Checkpoint("memory:a", "memory:b", tmp_path), lambda number: None))
    new._takes = 0
    with pytest.raises(StoreUnavailable, match=r"TO \(Leaving\) is not available"):
        drive(migration().verify(lambda number: None))
    assert told == []


def test_whoever_stops_the_run_does_not_wait_for_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends it soon, though a store would have been waited for; what was under way is not called failed."""
    waits, told, begun = threading.Event(), list[str](), threading.Event()
    end = Patience.end

    def end_and_tell(self: Patience) -> None:
        end(self)
        waits.set()

    monkeypatch.setattr(Patience, "end", end_and_tell)

    async def pause(seconds: float) -> None:
        begun.set()
        assert waits.wait(30)

    monkeypatch.setattr(_colour, "pause", pause)

    class Away(Leaving):
        async def create(self, key: str, record: Record) -> bool:
            if key == "s000":
                assert begun.wait(30)
                raise KeyboardInterrupt
            return await super().create(key, record)

    new = Away(0, stays=True)
    migration = Migration(filled(40), new, page=40, tell=lambda handle, what: told.append(what))
    with pytest.raises(KeyboardInterrupt):
        run(migration.move(Checkpoint("memory:a", "memory:b", tmp_path), lambda number: None))
    assert new.refused <= 39  # each of them once
    assert told == []
