"""How one session passes from the old store to the new one: seal, bring, mark. Each step may be the last of a process.

The protocol, and why it is safe, stands in `migrating`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

from .. import deadline
from ..copies.local import Moment, moment
from ..errors import Conflict, SessionGone, StoreThrottled
from ..record import Change, Record
from . import Store
from ._migrating_marks import MARK, has_ended, is_marked, is_moving, moved, moving, unmarked

# Each round, another writer was faster.
ROUNDS = 64

# A store keeps what has expired or ended for a minute at least. Whoever brings a record sooner than this after having
# read it in the old store cannot have missed that the new one had it, and has let go of it.
_FRESH_SECONDS = 30.0

# A tombstone outlives every request that could still hold the session.
_TOMBSTONE_SECONDS = 3600.0

Outcome = Literal["moved", "already moved", "ended", "held back", "taken", "too large"]


class Seen(NamedTuple):
    """What the old store has shown, and since when it may be different."""

    record: Record | None
    since: Moment


class Moves:
    """Moves from `old` to `new`. Calls raise what the two stores raise."""

    def __init__(self, old: Store, new: Store, clock: Callable[[], float] = time.time) -> None:
        self.old = old
        self.new = new
        self._clock = clock

    async def look(self, key: str) -> Seen:
        """What the old store has."""
        since = moment(self._clock)
        return Seen(await self.old.load(key), since)

    async def seal(self, key: str, change: Change, version: int) -> Record:
        """Apply the change to version `version`, and with it hand the session over to the new store.

        Raises `Conflict` and `SessionGone`, as `Store.commit` does. The result bears no mark if the same change was
        applied before by somebody who does not move.
        """
        return await self.old.commit(key, change._replace(set={**change.set, MARK: moving()}, base=version))

    def fits(self, record: Record) -> bool:
        """Whether the new store takes the record. One that it does not take must not be sealed."""
        limit: int | None = getattr(self.new, "max_bytes", None)
        size = sum(len(name.encode()) + len(data) for name, data in record.values.items())
        return limit is None or size <= limit

    async def finish(self, key: str, seen: Seen) -> None:
        """Bring a sealed record to the new store, unless it is there, and note that it is. Anybody may, repeatedly."""
        sealed = seen.record
        assert sealed is not None  # noqa: S101 - for the type checker: it was sealed
        brought = await self.bring(key, sealed)
        left = await self.mark(key, sealed)
        if left is not None and has_ended(left):
            # Somebody who knows nothing of moves has ended it in the old store: it must not live on in the new one.
            await self.new.end(key, _tombstone(left, sealed.version))
        elif brought and self._is_stale(seen) and (left is None or not is_moving(left)):
            # Others have finished this long ago, and the new store has let go of it since: it had expired.
            await self.new.end(key, _tombstone(sealed, sealed.version))

    async def bring(self, key: str, sealed: Record) -> bool:
        """Create the sealed record in the new store; whether it was not there."""
        return await self.new.create(key, unmarked(sealed))

    async def mark(self, key: str, sealed: Record) -> Record | None:
        """Note in the old store that the record has arrived, and drop its values there.

        What was there before is returned: marked by somebody else, ended, or nothing at all, in which cases it is
        left as it is.
        """
        arrived = moved(unmarked(sealed))
        stored = sealed
        for _ in deadline.rounds(ROUNDS):
            names = frozenset(stored.values) - {MARK}
            note = Change(
                os.urandom(8), _before_expiry(stored), set={MARK: arrived}, unset=names, base=stored.version
            )
            try:
                await self.old.commit(key, note)
            except Conflict as conflict:
                # Only an instance that knows nothing of moves changes a sealed record: that change is lost.
                stored = conflict.current
                if not is_moving(stored):
                    return stored
            except SessionGone:
                return await self.old.load(key)
            else:
                return stored
        return stored

    async def stop(self, key: str, tombstone: Record) -> None:
        """Let a session that is still the old store's expire there, so that nobody hands it over any more.

        On condition that it is still that: whatever has been handed over is ended in the new store first.
        """
        record = await self.old.load(key)
        while record is not None and not (is_marked(record) or has_ended(record)):
            last = Change(
                os.urandom(8), _before_expiry(record), expires_at=-tombstone.created_at, base=record.version
            )
            try:
                await self.old.commit(key, last)
            except Conflict as conflict:
                record = conflict.current
            except SessionGone:
                return
            else:
                return

    async def is_settled(self, key: str) -> bool:
        """Whether the old store will not hand the session over (any more); a move that was begun is finished."""
        seen = await self.look(key)
        if seen.record is None or has_ended(seen.record):
            return True
        if is_moving(seen.record):
            await self.finish(key, seen)
            return True
        return is_marked(seen.record)

    async def move(self, key: str, record: Record | None) -> Outcome:
        """Move a session as it is. `record` is what the old store has shown, lately or not."""
        for _ in deadline.rounds(ROUNDS):
            now = self._clock()
            if record is not None and is_moving(record):
                seen = await self.look(key)
                if seen.record is not None and is_moving(seen.record):
                    await self.finish(key, seen)
                return "moved"
            if record is not None and is_marked(record):
                return "already moved"
            if record is None or not record.is_live(now):
                return "ended"
            there = await self.new.load(key)
            if there is not None:
                current = await self.old.load(key)
                if current is None or current.version != record.version:
                    record = current  # somebody else has moved it in the meantime
                    continue
                return "held back" if is_marked(there) else "taken"
            if not self.fits(record):
                return "too large"
            since = moment(self._clock)
            try:
                sealed = await self.seal(key, Change(os.urandom(8), now), record.version)
            except Conflict as conflict:
                record = conflict.current
            except SessionGone:
                record = await self.old.load(key)
            else:
                await self.finish(key, Seen(sealed, since))
                return "moved"
        raise StoreThrottled("other changes to this session were always faster; it was not moved")

    def _is_stale(self, seen: Seen) -> bool:
        now = moment(self._clock)
        return max(now.wall - seen.since.wall, now.steady - seen.since.steady) > _FRESH_SECONDS


def _before_expiry(record: Record) -> float:
    """A time at which the record is live: what it says of where the session is does not depend on its expiry."""
    return min(time.time(), record.expires_at - 1.0)


def _tombstone(left: Record, version: int) -> Record:
    if left.ended:
        return left._replace(version=max(left.version, version + 1))
    now = time.time()
    return Record(
        version + 1,
        os.urandom(8),
        {},
        left.owner,
        now,
        max(now, left.expires_at) + _TOMBSTONE_SECONDS,
        ended=True,
    )
