"""The values of a token's session that stay on the server: private ones, and those that do not fit.

They are a record of their own in the store that `Token(spill=…)` names, under the session's handle. It ends with the
session; a token that says that values are held, where nothing is, opens no session any more.

Where two tabs that overwrite each other's changes are to be noticed, the record is the session's mark as well: each
change of the session commits to it, whatever it holds, and the token says which version that has made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from .. import writes
from ..errors import Conflict, SessionGone, StoreError
from ..record import Change, Record, merge
from ..stores.guard import Guard

# What tags begin with that name a change of nothing that travels. As others do by chance once in 2^32.
_STAYS = b"idle"


def has_stayed(record: Record) -> bool:
    """Whether what was done to a record last was about nothing that travels: a later deadline, or what is private."""
    return record.tag.startswith(_STAYS)


class Held:
    """Keeps the values that do not travel. Raises what the store raises; times are seconds since the epoch.

    `on_loss` is called with the handle of a session whose record the store has lost while the session lived on.
    """

    def __init__(self, store: Guard, on_loss: Callable[[str], object] = lambda handle: None) -> None:
        self.store = store
        self._on_loss = on_loss

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
        *,
        marks: bool = False,
        travels: bool = True,
    ) -> Record | None:
        """Hold `values` for the session of `record`; what is held then, None if nothing has to be.

        `before` is what was held when the request came, as far as it knows, and `seen` are the names of the values
        that it was shown: others are another tab's, and stay. Two requests that change different values both
        succeed. With `marks`, there is a record in any case, and it has to be `before` still: raises `Conflict` if
        it is not; the tag tells whether any of what has changed `travels`. Raises `SessionGone` if the session has
        ended, `SessionTooLarge` if the store cannot take it.
        """
        if before is None:
            if not values and not marks:
                return None
            held = Record(
                1, writes.new_tag(), dict(values), record.owner, record.created_at, record.expires_at
            )
            writes.check_size(self.store, held.values)
            if await self.store.create(handle, held):
                return held
            # Another tab was faster. What it has left here, this request has not seen: that travelled in its token.
            before, seen = await self.store.load(handle), ()
            if before is None or writes.ended_at(before) is not None:
                raise SessionGone("the session has ended")
            if marks:
                raise Conflict(before)
        changed = {name: data for name, data in values.items() if before.values.get(name) != data}
        unset = frozenset(seen).intersection(before.values).difference(values)
        if not marks and not changed and not unset and before.expires_at >= record.expires_at:
            return before
        change = Change(
            writes.new_tag() if travels else _STAYS + writes.new_tag()[len(_STAYS) :],
            now,
            changed,
            unset,
            expires_at=max(before.expires_at, record.expires_at),
            owner=record.owner,
            base=before.version if marks else None,
        )
        writes.check_size(self.store, merge(before.values, change))
        try:
            return await self.store.commit(handle, change)
        except SessionGone:
            return await self._keep_anew(handle, before, change, record)

    async def _keep_anew(self, handle: str, before: Record, change: Change, record: Record) -> Record:
        """Where the record has run out, or was lost, the session goes on; not where it was ended."""
        found = await self.store.load(handle)
        if found is None:
            self._on_loss(handle)
            values, expires_at = merge(before.values, change), max(before.expires_at, record.expires_at)
            anew = Record(before.version + 1, change.tag, values, record.owner, record.created_at, expires_at)
            if await self.store.create(handle, anew):
                return anew
        elif writes.ended_at(found) is not None:
            raise SessionGone("the session has ended")
        else:
            # As of a moment when it was there still, it can be changed, if nobody has ended it since.
            change = change._replace(now=min(change.now, found.expires_at - 1))
        return await self.store.commit(handle, change)

    async def seal(self, handle: str, before: Record, now: float) -> None:
        """Let no request change what is held any more: the session goes on under another identity.

        Raises `Conflict` if it is not `before` any more, `SessionGone` if the session has ended.
        """
        try:
            await self.store.commit(handle, writes.seal(before, now))
        except SessionGone:
            found = await self.store.load(handle)
            if found is None:
                return
            if writes.ended_at(found) is not None:
                raise
            if found.version != before.version:
                raise Conflict(found) from None

    async def end(self, handle: str, before: Record, now: float, *, moves: bool) -> None:
        """Nothing is held for the session any more, and no late request brings it back."""
        tag = writes.ROTATED if moves else None
        await self.store.end(handle, writes.tombstone(before, now, tag))

    async def give_up(self, handle: str, before: Record, now: float) -> None:
        """End what nobody has heard of, as far as the store can be reached."""
        with suppress(StoreError):
            await self.end(handle, before, now, moves=False)
