"""Stores with a mistake in them, each one that real session code has made. The checker must catch every one.

- `upsert`: a commit creates what is not there (any more), so that a slow request brings an ended session back
  with the little that it wrote;
- `unchecked`: a commit does not ask whether the session has ended, and brings all of it back;
- `blob`: a commit saves everything that the request had loaded, over whatever others have written meanwhile;
- `early`: a commit answers before it has happened, and never happens if the process dies in between, or if it
  fails.

They stand in front of a real store, so that a trial under a fault is like any other. Another takes a rule out of the
instance itself:

- `credulous`: a copy is served whatever the browser has seen or written a moment ago.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

from .. import _colour
from ..errors import Conflict, SessionGone
from ..record import Change, Record, apply, judge, merge
from ..stores import Store

T = TypeVar("T")

WRITE_BEHIND = 0.2  # seconds by which `early` commits too late
_LIFE = 3600.0  # seconds that a session lives which a fault has brought back

# What the running request has loaded last. It is seen again at the request's commit because a faulty store
# calls itself async, so that all of its calls are awaited in the request's own task.
_newest: ContextVar[tuple[str, Record] | None] = ContextVar("holdfast_lab_newest", default=None)


def seed(store: Store, fault: str) -> Store:
    """The store to use in an instance with this fault, one of `FAULTS` or of `RULES`; its rules are broken for good."""
    if fault in RULES:
        RULES[fault]()
        return store
    return wrap(store, fault)


def wrap(store: Store, fault: str) -> Store:
    """`store` with a fault, one of `FAULTS`. For async callers only."""
    if fault not in FAULTS:
        raise ValueError(f"the fault {fault!r} is unknown; known are {', '.join(FAULTS)}")
    return FAULTS[fault](store)


class Faultless:
    """A store in front of another that adds nothing: what the faults are made from."""

    colours = frozenset({"async"})

    def __init__(self, store: Store) -> None:
        self._store = store
        self._blocks = "async" not in getattr(store, "colours", {"async"})
        for name in ("unavailable", "throttled", "max_bytes"):
            if hasattr(store, name):
                setattr(self, name, getattr(store, name))

    async def create(self, key: str, record: Record) -> bool:
        return await self._call(self._store.create(key, record))

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        record = await self._call(self._store.load(key, weak=weak))
        _newest.set(None if record is None else (key, record))
        return record

    async def commit(self, key: str, change: Change) -> Record:
        return await self._call(self._store.commit(key, change))

    async def end(self, key: str, tombstone: Record) -> None:
        await self._call(self._store.end(key, tombstone))

    async def aclose(self) -> None:
        if (close := getattr(self._store, "aclose", None)) is not None:
            await close()

    async def _call(self, call: Coroutine[Any, Any, T]) -> T:
        return await (_colour.off_loop(call) if self._blocks else call)

    def _loaded(self, key: str) -> Record | None:
        """What the running request has loaded under this key."""
        newest = _newest.get()
        return newest[1] if newest is not None and newest[0] == key else None


class Reviving(Faultless):
    """Takes commits to sessions that are gone. They come back, as `revive` makes them, beside their own key.

    `revive` is given what the request had loaded and its change; None if there is nothing to bring back.
    """

    def __init__(self, store: Store, revive: Callable[[Record | None, Change], Record | None]) -> None:
        super().__init__(store)
        self._revive = revive

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        record = await super().load(key, weak=weak)
        if record is None or record.ended:
            record = await super().load(_beside(key)) or record
            _newest.set(None if record is None else (key, record))
        return record

    async def commit(self, key: str, change: Change) -> Record:
        for place in (key, _beside(key)):
            try:
                return await super().commit(place, change)
            except SessionGone:
                continue
        revived = self._revive(self._loaded(key), change)
        if revived is None or not await self.create(_beside(key), revived):
            raise SessionGone("not even a fault can bring this session back")
        return revived


def _beside(key: str) -> str:
    return key + "~"


def upsert(store: Store) -> Store:
    """Creates what is not there, from the change alone."""

    def revive(loaded: Record | None, change: Change) -> Record:
        return Record(1, change.tag, merge({}, change), change.owner, change.now, change.now + _LIFE)

    return Reviving(store, revive)


def unchecked(store: Store) -> Store:
    """Applies a change to what was loaded, whether it has ended meanwhile or not."""

    def revive(loaded: Record | None, change: Change) -> Record | None:
        return None if loaded is None or loaded.ended else apply(loaded, change)

    return Reviving(store, revive)


class Blob(Faultless):
    """Saves all values as the request had loaded them, with its own changes, whatever is stored by now."""

    async def commit(self, key: str, change: Change) -> Record:
        loaded = self._loaded(key)
        stored = await self._call(self._store.load(key))
        if loaded is None or stored is None:
            return await super().commit(key, change)
        values = merge(loaded.values, change)
        blob = change._replace(set=values, unset=frozenset(stored.values).difference(values), base=None)
        return await super().commit(key, blob)


class Early(Faultless):
    """Says that a change is kept, and keeps it a moment later."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._behind: set[asyncio.Task[None]] = set()

    async def commit(self, key: str, change: Change) -> Record:
        stored = await self._call(self._store.load(key))
        if judge(stored, change) is not None or stored is None:
            return await super().commit(key, change)
        task = asyncio.create_task(self._commit_later(key, change))
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
        return apply(stored, change)

    async def _commit_later(self, key: str, change: Change) -> None:
        await asyncio.sleep(WRITE_BEHIND)
        try:
            await super().commit(key, change)
        except (SessionGone, Conflict):
            return  # it was acknowledged all the same: that is the fault


FAULTS: dict[str, Callable[[Store], Store]] = {
    "upsert": upsert,
    "unchecked": unchecked,
    "blob": Blob,
    "early": Early,
}


def _believe_copies() -> None:
    from ..homes import Homes
    from ..ladder import Question

    always: dict[tuple[type, str], object] = {
        (Question, "admits"): True,
        (Question, "why_strong"): None,
        (Homes, "pin_seconds"): 0.0,
    }
    for (owner, name), answer in always.items():
        setattr(owner, name, lambda *_, answer=answer: answer)


RULES: dict[str, Callable[[], None]] = {"credulous": _believe_copies}
