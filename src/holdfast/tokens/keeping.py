"""What the stores behind a session that travels hear of a change, in which order, and what they have to say to it.

With `detects`, each change commits to the session's record on the server, on condition that it is the one that the
token knows: if it is not, another request was acknowledged meanwhile whose values the browser's next token will not
have. That is told, and then the change goes on upon what is stored, so that nothing that is held is lost.
"""

from __future__ import annotations

from contextlib import suppress

from .. import deadline, writes
from ..commits import Regression
from ..errors import Conflict, SessionGone, SessionRegression, StoreError
from ..events import Events
from ..record import Record
from ..timeouts import Timeouts
from .backing import Backing
from .drafts import Draft
from .held import Held, has_stayed


class Keeping:
    """The stores' part of a commit. `before` is always what is held as far as the request knows."""

    def __init__(
        self, backing: Backing, *, detects: bool, regression: Regression, timeouts: Timeouts, events: Events
    ) -> None:
        self._held = backing.held
        self._revocations = backing.revocations
        self._detects = detects
        self._regression = regression
        self._timeouts = timeouts
        self._events = events

    def mark(self, before: Record | None) -> int | None:
        """What a token has to say of the record on the server, as the commit that follows will have left it."""
        if self._held is None:
            return None
        if self._detects:
            return 1 if before is None else before.version + 1
        return None if before is None else 0

    def unknown(self, record: Record) -> Record | None:
        """What is held where the token of `record` knows of nothing: the session began in an outage, or before marks.

        There may be a record since, or none. Whoever ends the session leaves one that says so in either case.
        """
        return record._replace(version=0, values={}) if self._detects else None

    async def begin(self, handle: str, draft: Draft, now: float) -> Record | None:
        """Hold what a new session leaves on the server; what is held then."""
        if self._held is None:
            return None
        try:
            return await self._hold(self._held, handle, None, draft, now)
        except StoreError as error:
            if draft.placed.held:
                raise
            # Nobody else can change a session that nobody has: an outage keeps no visitor out.
            self._events.tell("store unavailable", handle, detail=str(error))
            draft.without_mark()
            return None

    async def change(
        self, handle: str, draft: Draft, before: Record | None, said: int | None, now: float, *, renews: bool
    ) -> Record | None:
        """Hold what a change leaves on the server; what is held then. `said` is the mark that the request has sent.

        Raises `Conflict` for what only `renews` the session, where another request has just done so.
        """
        if self._held is None:
            return None
        await self._compare(handle, before, said, now, renews=renews)
        for attempt in deadline.rounds(writes.ROUNDS):
            try:
                travels = draft.travels and not renews
                return await self._hold(self._held, handle, before, draft, now, travels=travels)
            except Conflict as conflict:
                await self._overtake(handle, before, conflict.current, now, renews=renews)
                before = conflict.current
                draft.upon(before.values, self.mark(before))
            await writes.give_way(attempt)
        raise writes.overtaken(attempt)

    async def move(
        self, old: str, before: Record | None, said: int | None, handle: str, draft: Draft, now: float
    ) -> Record | None:
        """Let the session go on as `handle`, and no token of the `old` one open anything; what is held then.

        Once that is noted, nobody can go back: the browser gets its token, whatever else a store has to say.
        """
        held, revocations = self._held, self._revocations
        kept = None
        if held is not None:
            await self._compare(old, before, said, now)
            kept = await self._hold(held, handle, None, draft, now)
        try:
            if revocations is not None:
                await revocations.move(old)
            if held is None or before is None:
                return kept
            try:
                return await self._seal(held, old, before, handle, kept, draft, now)
            except StoreError as error:
                if revocations is None:
                    raise
                self._events.tell("store unavailable", handle, detail=str(error))
                return kept
        except SessionGone:
            if held is not None and kept is not None:
                await held.give_up(handle, kept, now)
            raise

    async def end(self, handle: str, before: Record | None, now: float) -> None:
        """Do what can be done so that a token that is out there opens nothing any more."""
        if self._revocations is not None:
            await self._revocations.end(handle)
        if self._held is None or before is None:
            return
        try:
            await self._bury(self._held, handle, before, now, moves=False)
        except StoreError as error:
            if self._revocations is None:
                raise
            self._events.tell("store unavailable", handle, detail=str(error))

    async def _bury(self, held: Held, handle: str, before: Record, now: float, *, moves: bool) -> None:
        # The tombstone outlives every token of the session, and another tab may hold a later one than this request's.
        last = max(before.expires_at, self._timeouts.expiry(before.created_at, now))
        await held.end(handle, before._replace(expires_at=last), now, moves=moves)

    async def _hold(
        self,
        held: Held,
        handle: str,
        before: Record | None,
        draft: Draft,
        now: float,
        *,
        travels: bool = True,
    ) -> Record | None:
        values, seen, marks = draft.placed.held, draft.seen, self._detects
        return await held.keep(handle, before, values, seen, draft.record, now, marks=marks, travels=travels)

    async def _seal(
        self, held: Held, old: str, before: Record, handle: str, kept: Record | None, draft: Draft, now: float
    ) -> Record | None:
        """Seal the old record; what another request has committed to it meanwhile comes along."""
        for attempt in deadline.rounds(writes.ROUNDS):
            try:
                await held.seal(old, before, now)
            except Conflict as conflict:
                await self._overtake(old, before, conflict.current, now)
                before = conflict.current
                draft.upon(before.values, self.mark(kept))
                kept = await self._hold(held, handle, kept, draft, now)
                await writes.give_way(attempt)
            else:
                break
        else:
            raise writes.overtaken(attempt)
        # The seal is as good as a tombstone for everybody who could be late.
        with suppress(StoreError):
            await self._bury(held, old, before, now, moves=True)
        return kept

    async def _compare(
        self, handle: str, before: Record | None, said: int | None, now: float, *, renews: bool = False
    ) -> None:
        """Say so if what was read from the server is not what the token was made with."""
        if said and before is not None and before.version != said:
            await self._overtake(handle, before._replace(version=said), before, now, renews=renews)

    async def _overtake(
        self, handle: str, before: Record | None, current: Record, now: float, *, renews: bool = False
    ) -> None:
        """The token does not know what is stored."""
        if before is None or not before.version:
            return  # nor did it claim to
        if not self._detects:
            self._events.tell("conflict retried", handle, current.owner)
            return
        if renews and self._timeouts.renewed(current, now) is None:
            # Whoever was faster has put off the deadline too, in a token that is on its way to the browser.
            raise Conflict(current)
        if current.version == before.version + 1 and has_stayed(current):
            return  # of what travels, the token knows everything
        why = "another tab's changes that travelled were overwritten"
        if current.version < before.version:
            why = "the store has gone back"
        detail = f"the token says version {before.version}, stored is version {current.version}: {why}"
        self._events.tell("regression", handle, current.owner, detail)
        if self._regression == "end":
            await self.end(handle, current, now)
            raise SessionRegression("changes of this session were overwritten by another tab's, or lost")
