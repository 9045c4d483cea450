"""The values of a token's session that stay on the server: private ones, and those that do not fit.

They are a record of their own in the store that `Token(spill=…)` names, under the session's handle. It ends with the
session; a token that says that values are held, where nothing is, opens no session any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .. import writes
from ..errors import SessionGone
from ..record import Change, Record, merge
from ..stores.guard import Guard


class Held:
    """Keeps the values that do not travel. Raises what the store raises; times are seconds since the epoch."""

    def __init__(self, store: Guard) -> None:
        self.store = store

    async def load(self, handle: str) -> Record | None:
        """The record of what is held for a session, or its tombstone; None if there is nothing."""
        return await self.store.load(handle)

    async def keep(
        self,
        handle: str,
        before: Record | None,
        values: Mapping[str, bytes],
        seen: Collection[str],
        record: Record,
        now: float,
    ) -> Record | None:
        """Hold `values` for the session of `record`; what is held then, None if nothing has to be.

        `before` is what was held when the request came, if it had to know, and `seen` are the names of the values
        that it was shown: others are another tab's, and stay. Two requests that change different values both
        succeed. Raises `SessionGone` if the session has ended, `SessionTooLarge` if the store cannot take it.
        """
        if before is None:
            if not values:
                return None
            held = Record(
                1, writes.new_tag(), dict(values), record.owner, record.created_at, record.expires_at
            )
            writes.check_size(self.store, held.values)
            if await self.store.create(handle, held):
                return held
            # Another tab was faster, or something was held before that has gone back into the token since.
            before = await self.store.load(handle)
            if before is None:
                raise SessionGone("the session has ended")
        changed = {name: data for name, data in values.items() if before.values.get(name) != data}
        unset = frozenset(seen).intersection(before.values).difference(values)
        if not changed and not unset and before.expires_at >= record.expires_at:
            return before
        expires_at = max(before.expires_at, record.expires_at)
        change = Change(writes.new_tag(), now, changed, unset, expires_at=expires_at, owner=record.owner)
        writes.check_size(self.store, merge(before.values, change))
        return await self.store.commit(handle, change)

    async def end(self, handle: str, before: Record, now: float, *, moves: bool) -> None:
        """Nothing is held for the session any more, and no late request brings it back."""
        tag = writes.ROTATED if moves else None
        await self.store.end(handle, writes.tombstone(before, now, tag))
