"""Sessions that move from one store to another while the application runs, with nobody logged out.

The protocol. Every session has one authority at any time: the old store, until its record there is *sealed*, and the
new one from then on. A record of the old store is

- live and unmarked: the old store is the authority;
- *moving*: one commit, on condition of the version that was read, has set a mark beside the values. That is the seal.
  The record is still complete, and whoever meets it brings it: creates it in the new store as it was sealed, with the
  same version and tag, which takes effect once, however many try;
- *moved*: a second commit has dropped the values and has left the mark, with the version and a digest of what arrived;
- ended or expired, marked or not.

Nothing is deleted. A crash between any two steps leaves a state that the next reader goes on from. The first change of
a session through `stage="move"` is itself the seal, so that moving adds no version of its own and a base, a conflict
and the repeat of a change mean what they always do.

What never happens, and why:

- *A lost update.* Before the seal, changes go to the old store; those of `stage="prepare"` carry the version that they
  were made for, so that none of them lands on a sealed record. After it, they go to the new store.
- *A revived session.* Only a sealed record is ever brought. It is *moved* before anything could make the new store
  forget the session sooner than the old one: a change that sets an expiry, or an ending, finishes the move first. A
  session that is still the old store's is first stopped there, on condition of its version; one that was handed over
  is ended in the new store first. So an ending takes effect at one moment, in one store, for every stage.
  One case is left, of three failures at once: a process dies in the middle of a rotation, so that the new store forgets
  that session after a minute; another has slept all the while between reading the sealed record and creating it; and
  dies in its turn before it takes that back.
- *A step back.* The new store begins with the sealed version and tag.

A session that the new store itself has handed over before (on a way back) is held back: it stays where it is, until the
new store has forgotten its mark.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal

from ..errors import ConfigError
from ..record import Change, Record
from ..settings import one_of
from . import Owned, Store, Sweeps, from_url
from ._migrating_feed import BothFeeds, is_of_feed
from ._migrating_marks import ROOM_BYTES, is_marked, is_moving, unmarked
from ._migrating_moves import Moves
from ._migrating_stages import Move, Prepare
from .guard import Guard

Stage = Literal["prepare", "move"]
_BOTH_COLOURS = frozenset({"sync", "async"})


class Migrating:
    """A store over two: sessions are in `old` until they are used, or moved by `holdfast migrate`, and then in `new`.

    `old` and `new` are URLs or ready stores. `stage`:

    - `"prepare"`: for the time in which some instances know `old` only. New sessions are made in `old`, and none is
      moved; those that another instance has moved are followed.
    - `"move"`: once every instance at least prepares. New sessions are made in `new`, and a session moves with its
      first change. Reading moves nothing.

    A call is up to six calls to the two stores, and fails if one of those that it needs does. Raises `ConfigError`;
    calls raise what the two stores raise.
    """

    def __init__(self, old: Store | str, new: Store | str, *, stage: Stage = "move") -> None:
        one_of("stage", stage, "prepare", "move")
        if old is new or (isinstance(old, str) and old == new):
            raise ConfigError("old and new are the same store: there is nothing to move")
        self.old: Store = from_url(old) if isinstance(old, str) else old
        self.new: Store = from_url(new) if isinstance(new, str) else new
        both = (self.old, self.new)
        for store in both:
            _see_that_it_keeps(store)
        self.colours: frozenset[str] = frozenset.intersection(
            *(getattr(store, "colours", _BOTH_COLOURS) for store in both)
        )
        if not self.colours:
            raise ConfigError("the two stores have no colour in common: sync or async, give both")
        sizes = [size for store in both if (size := getattr(store, "max_bytes", None)) is not None]
        self.max_bytes = min(sizes) - ROOM_BYTES if sizes else None
        self.unavailable = sum((tuple(getattr(store, "unavailable", ())) for store in both), ())
        self.throttled = sum((tuple(getattr(store, "throttled", ())) for store in both), ())
        # What decides how the feed is split: the same for every instance of this stage, and for those that know only
        # the store which it reads.
        authority, other = both if stage == "prepare" else both[::-1]
        self.writes_per_second: float | None = getattr(authority, "writes_per_second", None)
        self._feed = BothFeeds(authority, other)
        self._moves = Moves(self.old, self.new)
        if isinstance(self.old, Sweeps) and isinstance(self.new, Sweeps):
            # Offered only where it does what it says: some stores let go of expired records at a time of their own.
            self.sweep = _sweep_both(self.old, self.new)
        self._stage: Prepare | Move = Prepare(self._moves) if stage == "prepare" else Move(self._moves)

    async def create(self, key: str, record: Record) -> bool:
        if is_of_feed(key):
            return await self._feed.create(key, record)
        return await self._stage.create(key, record)

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        if is_of_feed(key):
            return await self._feed.load(key, weak=weak)
        return await (self._stage.load_weak(key) if weak else self._stage.load(key))

    async def commit(self, key: str, change: Change) -> Record:
        if is_of_feed(key):
            return await self._feed.commit(key, change)
        return await self._stage.commit(key, change)

    async def end(self, key: str, tombstone: Record) -> None:
        await self._moves.stop(key, tombstone)
        await self.new.end(key, tombstone)
        await self.old.end(key, tombstone)

    async def of(self, owner: str) -> dict[str, Record]:
        if not isinstance(self.old, Owned) or not isinstance(self.new, Owned):
            raise ConfigError("both stores have to be able to list the sessions of an owner")
        # The old one first: what moves between the two lists is then in both, and not in neither.
        here = await self.old.of(owner)
        there = await self.new.of(owner)
        found = {key: record for key, record in there.items() if not is_marked(record)}
        for key, record in here.items():
            if key in found:
                continue
            if not is_marked(record):
                found[key] = record
            elif is_moving(record) and await self.new.load(key) is None:
                found[key] = unmarked(record)
        return found

    async def aclose(self) -> None:
        """Let go of the connections of both."""
        for store in (self.old, self.new):
            if (close := getattr(store, "aclose", None)) is not None:
                await close()


def _see_that_it_keeps(store: Store) -> None:
    """Raises `ConfigError`, naming the store, for what is none, or one whose forgetting was not accepted."""
    name = Guard(store).name
    if getattr(store, "forgets", False):
        raise ConfigError(
            f"{name} forgets sessions when it runs full or restarts: move between others, or say in its URL that you "
            "accept that (?forgets=accepted)"
        )


def _sweep_both(old: Sweeps, new: Sweeps) -> Callable[[float], Coroutine[Any, Any, int]]:
    async def sweep(now: float) -> int:
        return await old.sweep(now) + await new.sweep(now)

    return sweep
