"""The sessions of a `Bearer` in their store: one record for each family of refresh tokens.

Advancing a family takes two commands, a read and a change that is based on it, so that of two requests with one token
one advances it and the other finds that it was advanced. Whatever fails in between leaves a token that works.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

from .. import writes
from ..cookies import key_of
from ..errors import BadToken, Conflict, SessionGone, SessionTooLarge, StoreThrottled
from ..events import Events, Kind
from ..record import Change, Record, apply, merge
from ..stores.guard import Guard
from ..timeouts import Timeouts
from ..work import Work
from .pairs import Pair, Pairs
from .refresh import STATE, State, advanced, judge, told
from .revocation import Revocations

_FAMILY_BYTES = 32
_HANDLE = re.compile(r"[0-9a-f]{64}")
# How often a family that others change meanwhile is looked at again.
_ROUNDS = 8


class Families:
    """The rules for families, as a `Bearer` was told them. Times are in seconds; the store's failures come through."""

    def __init__(
        self,
        store: Guard,
        pairs: Pairs,
        *,
        timeouts: Timeouts,
        grace: float,
        revocations: Revocations | None,
        clock: Callable[[], float],
        events: Events,
    ) -> None:
        self._store = store
        self._pairs = pairs
        self._timeouts = timeouts
        self._grace = grace
        self._revocations = revocations
        self._clock = clock
        self._events = events

    async def begin(self, owner: str, values: Mapping[str, bytes]) -> Pair:
        """A new family, and its first pair."""
        now, family = self._clock(), os.urandom(_FAMILY_BYTES)
        record = Record(
            version=1,
            tag=writes.new_tag(),
            values={**values, STATE: State(1, now).packed()},
            owner=owner,
            created_at=now,
            expires_at=self._timeouts.expiry(now, now),
        )
        pair = self._pairs.make(family, record, 1, now)  # what cannot be sealed is not stored
        await writes.create(self._store, key_of(family), record)
        self._events.tell("session created", key_of(family), owner)
        return pair

    async def advance(self, family: bytes, generation: int) -> Pair:
        """The pair that a refresh token is exchanged for. Raises `BadToken`: "ended" or "reused"."""
        key, now = key_of(family), self._clock()
        for _ in range(_ROUNDS):
            record = await self._store.load(key)
            if record is None or not self._is_live(record, now):
                raise BadToken("ended")
            state = State.of(record.values[STATE])
            verdict = judge(state, generation, now, self._grace)
            if verdict == "repeat":
                return self._renew(family, record, state.generation, now)[0]
            if verdict == "reuse":
                await self.end(key, "refresh token reused", told(state, generation, now))
                raise BadToken("reused")
            if verdict == "lost":
                await self.end(key, "regression", told(state, generation, now))
                raise BadToken("ended")
            state = advanced(state, now)
            change = Change(
                tag=writes.new_tag(),
                now=now,
                set={STATE: state.packed()},
                expires_at=self._timeouts.expiry(record.created_at, now),
                owner=record.owner,
                base=record.version,
            )
            # Made before the commit, which can only make this of the record: what cannot be sealed costs no token.
            pair, left_out = self._renew(family, apply(record, change), state.generation, now)
            try:
                await self._store.commit(key, change)
            except Conflict:
                continue  # another tab was faster, or the session was changed
            except SessionGone:
                raise BadToken("ended") from None
            self._events.tell("session renewed", key, record.owner, f"generation {state.generation}")
            if left_out:
                names = ", ".join(f"{name[:40]!r}" for name in left_out[:3])
                detail = f"{len(left_out)} cannot stand in the access token any more: {names}"
                self._events.tell("value left out", key, record.owner, detail)
            return pair
        raise StoreThrottled(
            f"{_ROUNDS} other changes to this session were faster: the refresh token is still good"
        )

    def _renew(self, family: bytes, record: Record, generation: int, now: float) -> tuple[Pair, list[str]]:
        """See `Pairs.renew`. A session that has no token under today's settings is as one that has ended."""
        try:
            return self._pairs.renew(family, record, generation, now)
        except SessionTooLarge:
            detail = "not even an access token without values is as short as max_bytes= wants it"
            self._events.tell("value left out", key_of(family), record.owner, detail)
            raise BadToken("ended") from None

    async def load(self, handle: str) -> Record:
        """The record of a family. Raises `SessionGone` if it has ended, or is none."""
        record = await self._store.load(handle) if _HANDLE.fullmatch(handle) else None
        if record is None or not self._is_live(record, self._clock()):
            raise SessionGone("the session has ended or expired")
        return record

    async def change(self, handle: str, work: Work) -> None:
        """Change a session's values. Raises `SessionGone`, and what cannot be sealed raises before it is stored."""
        record, now = await self.load(handle), self._clock()

        def check(before: Record) -> None:
            after = before._replace(values=merge(before.values, Change(b"", now, work.set, work.unset)))
            self._pairs.check(handle, before, work.set, after, now)

        check(record)
        # Two changes that fit each by itself may not fit together: whatever was stored meanwhile is looked at again.
        await writes.change(self._store, handle, record, work, now, None, check, is_based=True)

    async def end(self, handle: str, kind: Kind, detail: str = "") -> bool:
        """End a family; whether there was one."""
        record = await self._store.load(handle) if _HANDLE.fullmatch(handle) else None
        if record is None or not _is_family(record):
            return False
        if self._revocations is not None:
            # First, so that no access token outlives a session that was told to be over.
            await self._revocations.end(handle)
        await self._store.end(handle, writes.tombstone(record, self._clock()))
        self._events.tell(kind, handle, record.owner, detail)
        return True

    async def of(self, owner: str) -> dict[str, Record]:
        """The live families of an owner, by their handles."""
        now = self._clock()
        return {
            handle: record
            for handle, record in (await self._store.of(owner)).items()
            if record.owner == owner and self._is_live(record, now)
        }

    def _is_live(self, record: Record, now: float) -> bool:
        return _is_family(record) and self._timeouts.is_live(record, now)


def _is_family(record: Record) -> bool:
    """Whether it is not over, nor a session of another kind that lives in the same store."""
    return not record.ended and STATE in record.values
