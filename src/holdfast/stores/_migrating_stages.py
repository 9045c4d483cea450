"""What may be done to a session while its authority is still, or was until now, the old store: one class a stage.

The protocol, and why it is safe, stands in `migrating`.
"""

from __future__ import annotations

from .. import deadline
from ..errors import Conflict, SessionGone, StoreThrottled
from ..record import Change, Record, apply, judge
from ._migrating_marks import is_marked, is_moving, unmarked
from ._migrating_moves import ROUNDS, Moves, Seen

# Of so many sessions it is remembered what the old store has shown of them. Nothing relies on it.
_REMEMBERED = 4096


class Following:
    """What both stages do with a session that was handed over: go on in the new store."""

    def __init__(self, moves: Moves) -> None:
        self._moves = moves
        self._old = moves.old
        self._new = moves.new
        self._settled: set[str] = set()
        self._versions: dict[str, int] = {}  # of records that were the old store's

    async def _load_there(self, key: str, seen: Seen) -> Record | None:
        """The record of a session that the old store does not have (any more)."""
        if seen.record is not None and is_moving(seen.record):
            await self._moves.finish(key, seen)
        record = await self._new.load(key)
        return None if record is None or is_marked(record) else record

    async def _commit_there(self, key: str, change: Change) -> Record | None:
        """The result of the change in the new store; None if the session is not there, or not to be changed there."""
        if change.expires_at is not None:
            await self._settle(key)
        try:
            result = await self._new.commit(key, change)
        except SessionGone:
            return None
        except Conflict as conflict:
            if is_marked(conflict.current):
                return None
            raise
        # A record with a mark has been moved to the old store before: nobody reads it any more.
        return None if is_marked(result) else result

    async def _settle(self, key: str) -> None:
        """See to it that nothing can be brought from the old store once the new one has let go of the session."""
        if key not in self._settled and await self._moves.is_settled(key):
            if len(self._settled) >= _REMEMBERED:
                self._settled.clear()
            self._settled.add(key)

    async def _commit_here(self, key: str, change: Change, version: int) -> Record | None:
        """The result of the change in the old store, which had the session at this version; None if things changed."""
        try:
            result = await self._old.commit(key, change._replace(base=version))
        except SessionGone:
            self._versions.pop(key, None)
            return None
        except Conflict as conflict:
            self._versions.pop(key, None)
            if not is_marked(conflict.current):
                self._remember(key, conflict.current)
                if change.base is not None and change.base != conflict.current.version:
                    raise
            return None
        if is_marked(result):
            # The change was applied already, by an instance that has moved the session with it.
            await self._moves.finish(key, await self._moves.look(key))
            return unmarked(result)
        self._remember(key, result)
        return result

    def _remember(self, key: str, record: Record) -> None:
        if len(self._versions) >= _REMEMBERED:
            self._versions.clear()
        self._versions[key] = record.version


class Prepare(Following):
    """The old store is the authority, until an instance that moves has taken a session from it."""

    async def create(self, key: str, record: Record) -> bool:
        if await self._new.load(key) is not None:
            return False
        return await self._old.create(key, record)

    async def load(self, key: str) -> Record | None:
        seen = await self._moves.look(key)
        if seen.record is None or is_marked(seen.record):
            return await self._load_there(key, seen)
        self._remember(key, seen.record)
        return seen.record

    async def load_weak(self, key: str) -> Record | None:
        record = await self._old.load(key, weak=True)
        if record is None or is_marked(record):
            record = await self._new.load(key, weak=True)
        return None if record is None or is_marked(record) else record

    async def commit(self, key: str, change: Change) -> Record:
        for _ in deadline.rounds(ROUNDS):
            version = self._versions.get(key)
            if version is None or (change.base is not None and change.base != version):
                seen = await self._moves.look(key)
                if seen.record is None or is_marked(seen.record):
                    if seen.record is not None and is_moving(seen.record):
                        await self._moves.finish(key, seen)
                    result = await self._commit_there(key, change)
                    if result is not None:
                        return result
                    raise SessionGone("the session has ended or expired")
                if (applied := judge(seen.record, change)) is not None:
                    return applied
                version = seen.record.version
            result = await self._commit_here(key, change, version)
            if result is not None:
                return result
        raise StoreThrottled("other changes to this session were always faster; nothing was written")


class Move(Following):
    """The new store is the authority of what it has, and takes a session from the old one with its first change."""

    async def create(self, key: str, record: Record) -> bool:
        if await self._old.load(key) is not None:
            return False
        return await self._new.create(key, record)

    async def load(self, key: str) -> Record | None:
        record = await self._new.load(key)
        if record is not None and not is_marked(record):
            return record
        seen = await self._moves.look(key)
        if seen.record is None or not is_marked(seen.record):
            return seen.record
        return await self._load_there(key, seen)

    async def load_weak(self, key: str) -> Record | None:
        record = await self._new.load(key, weak=True)
        if record is None or is_marked(record):
            record = await self._old.load(key, weak=True)
        return None if record is None or is_marked(record) else record

    async def commit(self, key: str, change: Change) -> Record:
        was_there = False
        for _ in deadline.rounds(ROUNDS):
            result = await self._commit_there(key, change)
            if result is not None:
                return result
            seen = await self._moves.look(key)
            if seen.record is None or (was_there and is_marked(seen.record)):
                raise SessionGone("the session has ended or expired")
            if is_marked(seen.record):
                # Handed over meanwhile, or not brought yet; otherwise the new store has refused for good.
                was_there = True
                if is_moving(seen.record):
                    await self._moves.finish(key, seen)
                continue
            result = await self._change_here(key, change, seen)
            if result is not None:
                return result
        raise StoreThrottled("other changes to this session were always faster; nothing was written")

    async def _change_here(self, key: str, change: Change, seen: Seen) -> Record | None:
        """Change a session that the old store has, and move it by that. None if it was handed over meanwhile."""
        assert seen.record is not None  # noqa: S101 - for the type checker
        if (applied := judge(seen.record, change)) is not None:
            return applied
        there = await self._new.load(key)
        # What was moved from there before cannot go back until that store has forgotten it.
        stays = is_marked(there) if there is not None else not self._moves.fits(apply(seen.record, change))
        if stays:
            return await self._commit_here(key, change, seen.record.version)
        if there is not None:
            if not there.is_live(change.now):
                raise SessionGone("the session has ended or expired")
            return None
        try:
            sealed = await self._moves.seal(key, change, seen.record.version)
        except SessionGone:
            return None
        except Conflict as conflict:
            current = conflict.current
            if change.base is None or change.base == current.version or is_marked(current):
                return None
            raise
        if not is_marked(sealed):
            return sealed
        await self._moves.finish(key, Seen(sealed, seen.since))
        return unmarked(sealed)
