"""Committing the session of one request, and telling the browser what is new to it.

The order is what the promises rest on: the store accepts the change, the copies are brought up to date, and only
then there are headers for a response.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Literal, NamedTuple

from . import writes
from .committing import Committing
from .cookies import Cookies, key_of, new_identity
from .errors import ResponseStarted, SessionGone, SessionRegression, StoreError
from .events import Events
from .floor import Floor, FloorToken
from .headers import TokenHeaders
from .homes import Homes, Kept
from .record import Change, Record
from .session import Session
from .timeouts import Timeouts
from .work import Work

Regression = Literal["accept", "end"]


class Rules(NamedTuple):
    """What both sides of an application's engine, loading and committing, go by."""

    homes: Homes
    transport: Cookies | TokenHeaders
    floors: FloorToken | None
    timeouts: Timeouts
    regression: Regression
    clock: Callable[[], float]
    events: Events


class Commits(Committing):
    """The write side of an application's engine."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules.homes.carry, rules.timeouts, rules.clock, rules.events)
        self._homes, self._transport, self._floors = rules.homes, rules.transport, rules.floors
        self._regression = rules.regression

    def is_settled(self, session: Session) -> bool:
        """See `Committing.is_settled`."""
        if not session._is_untouched() or session._is_fresh or session._news or session._copy:
            return False
        record = session._record
        return record is None or self._timeouts.renewed(record, self._clock()) is None

    def _admit(self, session: Session, *, creates: bool, rotates: bool) -> None:
        super()._admit(session, creates=creates, rotates=rotates)
        if session._started and (creates or rotates or session._logged_out):
            raise ResponseStarted(
                "a session cannot begin, end or change its identity once the response has begun: its cookie "
                "can no longer be sent"
            )

    async def _keep(self, session: Session, work: Work, now: float) -> None:
        key, record = session._key, session._record
        if session._logged_out:
            if session._leaving is not None:
                leaving, last = session._leaving
                await self._homes.end(leaving, last, now)
                self._events.tell("session ended", leaving, last.owner)
                session._leaving = None
            if session._known is not None and not session._is_over:
                session._cleared = self._transport.clear(
                    identity=True,
                    floor=self._floors is not None,
                    snapshot=self._homes.snapshots is not None,
                )
                session._news = None
            session._logged_out = False
        if key is None or record is None:
            if work.set or session._owner:
                await self._create(session, work, now)
        elif session._rotating:
            await self._rotate(session, key, record, work, now)
        elif work.set or work.unset:
            expires_at = self._timeouts.renewed(record, now)
            kept = await self._homes.change(key, record, work, now, expires_at)
            self._adopt(session, key, kept)
            if kept.regressed:
                await self._regress(session, key, record, kept.record, now)
        self._tell_browser(session)

    async def _regress(self, session: Session, key: str, read: Record, stored: Record, now: float) -> None:
        """The store went back between this request's read and its write: what was between the two is lost."""
        detail = f"read version {read.version}, after the write it is {stored.version}"
        if stored.version > read.version:
            detail = f"another state of version {read.version} was stored than was read"
        self._events.tell("regression", key, stored.owner, detail)
        if self._regression == "end":
            await self._homes.end(key, stored, now)
            raise SessionRegression("the store has lost changes of this session")

    async def _create(self, session: Session, work: Work, now: float) -> None:
        identity = new_identity()
        record = Record(
            version=1,
            tag=writes.new_tag(),
            values=work.set,
            owner=session._owner,
            created_at=now,
            expires_at=self._timeouts.expiry(now, now),
        )
        key = key_of(identity)
        self._adopt(session, key, await self._homes.create(key, record), identity)
        self._events.tell("session created", key, record.owner)

    async def _rotate(self, session: Session, key: str, record: Record, work: Work, now: float) -> None:
        if session._ledger.is_partial():
            # A snapshot has left some values on the server, and they move with the session.
            whole = await self._homes.store.load(key)
            if whole is None or not self._timeouts.is_live(whole, now):
                raise SessionGone("the session has ended or expired")
            # Meanwhile others may have written: alterations were made upon what the snapshot shows.
            work = work.on(whole.values)
            self._homes.tell_change(key, record, whole)
            record = whole
        identity = new_identity()
        created_at = now if session._signing_in else record.created_at
        successor = Record(
            version=record.version + 1,
            tag=writes.new_tag(),
            values={},
            owner=session._owner,
            created_at=created_at,
            expires_at=self._timeouts.expiry(created_at, now),
        )
        new_key = key_of(identity)
        kept = await self._homes.rotate(key, record, new_key, successor, work, now)
        self._adopt(session, new_key, kept, identity)
        self._events.tell("session renewed", new_key, session._owner, f"was {key}")

    async def _renew(self, session: Session, work: Work, now: float) -> None:
        """Write a new idle deadline if it is due. A request that only read is not disturbed by a failure."""
        key, record = session._key, session._record
        if key is not None and record is not None and session._refusal is None:
            expires_at = self._timeouts.renewed(record, now)
            if expires_at is not None:
                with suppress(StoreError, SessionGone):
                    await self._carry(self._extend(session, key, record, expires_at, now))
        self._tell_browser(session)

    async def _extend(
        self, session: Session, key: str, record: Record, expires_at: float, now: float
    ) -> None:
        change = Change(writes.new_tag(), now, expires_at=expires_at, owner=record.owner)
        kept = await self._homes.renew(key, record, change)
        self._adopt(session, key, kept)
        if kept.regressed:
            await self._regress(session, key, record, kept.record, now)

    def _adopt(self, session: Session, key: str, kept: Kept, identity: bytes | None = None) -> None:
        """Go on from what the store has accepted, and remember what the browser has to hear of it."""
        session._rebase(key, kept.record)
        if identity is not None:
            session._identity, session._is_fresh = identity, True
        if self._floors is not None:
            session._news = (kept.record, kept.confirmed)

    def _tell_browser(self, session: Session) -> None:
        """Turn what is new to the browser into headers, while they can still be sent."""
        record = session._record
        if session._started or session._identity is None or record is None:
            return
        if not session._is_fresh and session._news is None and session._copy is None:
            return
        now = self._clock()
        snapshot, life, snapshots = None, 0.0, self._homes.snapshots
        if snapshots is not None and session._copy is not None and session._copy[0] is record:
            # Not beside a pin: until that is over, no copy would answer.
            newest, as_of = session._copy
            life = snapshots.life - (now - as_of)
            snapshot = snapshots.make(newest, as_of, session._identity, now) if life > 0 else None
        floor, pin, confirmed = None, 0.0, True
        if self._floors is not None and session._news is not None:
            seen, confirmed = session._news
            pin = self._homes.pin_seconds(confirmed)
            token = Floor(seen.version, seen.tag, seen.expires_at, now + pin)
            floor = self._floors.make(token, session._identity)
        session._planted = self._transport.write(
            session._identity,
            fresh=session._is_fresh,
            floor=floor,
            max_age=record.created_at + self._timeouts.absolute - now,
            pin_seconds=pin,
            long=not confirmed,
            snapshot=snapshot,
            snapshot_seconds=life,
        )
