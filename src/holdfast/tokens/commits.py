"""Committing a session that travels with its client: a new token, and what the stores behind it have to hear.

The order is what the promises rest on: first the token is made, so that what does not fit is refused before anything
has happened; then the stores accept what concerns them; and only then there are headers for a response.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import NamedTuple

from .. import writes
from ..commits import Regression
from ..committing import Committing
from ..cookies import key_of
from ..errors import ConfigError, HoldfastError, ResponseStarted, SessionGone, StoreError
from ..events import Events, Kind
from ..record import Record
from ..session import Session
from ..timeouts import Timeouts
from ..work import Work
from . import Token
from .backing import Backing
from .carriers import Carrier
from .chunks import Beside
from .drafts import Draft
from .keeping import Keeping
from .placing import Placed, place
from .sealing import Carried, Sealing

_IDENTITY_BYTES = 16

# Nginx and many a load balancer take 8 KB for one line of a request's headers; here there is time to do something.
_HEADER_WARNING_BYTES = 7168


class Sender(NamedTuple):
    """Whom a request comes from, and what its token says."""

    identity: bytes
    handle: str
    said: Carried

    def __repr__(self) -> str:
        """Without the identity, which opens the session."""
        return f"Sender(handle={self.handle!r}, said={self.said!r})"


class TokenCommits(Committing):
    """The write side of a token engine."""

    def __init__(
        self,
        token: Token,
        *,
        sealing: Sealing,
        carrier: Carrier,
        backing: Backing,
        detects: bool,
        regression: Regression,
        timeouts: Timeouts,
        clock: Callable[[], float],
        events: Events,
        read_only: bool,
    ) -> None:
        super().__init__(backing.carry, timeouts, clock, events)
        self._private = token.private
        self._public = token.public if token.is_readable else None
        # What others read of a token must not come and go with its size.
        self._may_spill = token.spill is not None and not token.is_readable
        self._most = min(token.max_bytes, carrier.most)
        self._sealing = sealing
        self._carrier = carrier
        self._backing = backing
        self._keeping = Keeping(
            backing, detects=detects, regression=regression, timeouts=timeouts, events=events
        )
        self._read_only = read_only

    def is_settled(self, session: Session) -> bool:
        """See `Committing.is_settled`."""
        return session._is_untouched() and not self._is_due(session, self._clock())

    def _admit(self, session: Session, *, creates: bool, rotates: bool) -> None:
        if self._read_only:
            raise ConfigError(
                "a session from an access token can only be read: its Bearer begins, changes and ends it"
            )
        super()._admit(session, creates=creates, rotates=rotates)
        if session._started:
            raise ResponseStarted(
                "a session that travels with the client cannot change once the response has begun: its cookie can "
                "no longer be sent"
            )

    async def _renew(self, session: Session, work: Work, now: float) -> None:
        """Make a new token if reading alone calls for one. What only read is not disturbed if that fails."""
        if self._read_only or session._refusal is not None or session._started:
            return
        if not self._is_due(session, now):
            return
        try:
            await self._carry(self._keep(session, work, now, renews=True))
        except StoreError as error:
            self._events.tell("store unavailable", session._key, detail=str(error))
        except (HoldfastError, TypeError):
            # Another tab was faster; or what was accepted once is refused since the settings have changed.
            return

    def _is_due(self, session: Session, now: float) -> bool:
        """Whether it is time for a later deadline, or the token's key is to be retired."""
        sender: Sender | None = session._known
        record = session._record
        if sender is None or record is None or session._is_fresh:
            return False
        return sender.said.stale_key or self._timeouts.renewed(record, now) is not None

    async def _keep(self, session: Session, work: Work, now: float, *, renews: bool = False) -> None:
        """Do what the request asks for, or only what `renews` the session."""
        record = session._record
        await self._check_is_not_over(session)
        if record is None and not (work.set or session._owner):
            await self._log_out(session, now)
            return
        identity = session._identity if record is not None and not session._rotating else None
        is_fresh = identity is None
        identity = identity or os.urandom(_IDENTITY_BYTES)
        handle, old = key_of(identity), session._key
        before = session._held if record is not None else None
        draft = Draft(
            await self._successor(session, record, now),
            {} if record is None else record.values,
            work,
            private=self._private,
            place=self._placing(session, identity, now),
            held=() if is_fresh or before is None else before.values,
            mark=self._keeping.mark(None if is_fresh else before),
        )
        await self._log_out(session, now)
        said = self._said(session)
        if not is_fresh:
            session._held = await self._keeping.change(handle, draft, before, said, now, renews=renews)
        elif record is None or old is None:
            session._held = await self._keeping.begin(handle, draft, now)
        else:
            known = before or self._keeping.unknown(record)
            session._held = await self._keeping.move(old, known, said, handle, draft, now)
            self._events.tell("session renewed", handle, session._owner, f"was {old}")
        session._rebase(handle, draft.record)
        self._plant(session, identity, draft.placed.token, draft.record, now)
        kind: Kind = "session created" if record is None else "token sealed"
        self._events.tell(kind, handle, draft.record.owner)

    def _placing(
        self, session: Session, identity: bytes, now: float
    ) -> Callable[[Record, Collection[str], int | None], Placed]:
        """How the session's token is made, given the record, what the server has of it, and the mark that it bears."""
        sender: Sender | None = session._known
        stays: frozenset[str] = frozenset()
        if self._public is not None and sender is not None and session._record is not None:
            # What was private when it was put in does not become readable by being forgotten in the settings.
            stays = frozenset(name for name in sender.said.held if name not in self._public)

        def made(record: Record, beside: Collection[str], mark: int | None) -> Placed:
            return place(
                record,
                private=self._private,
                stays=stays,
                beside=beside,
                may_spill=self._may_spill,
                most=self._most,
                seal=lambda travelling, held: self._sealing.seal(identity, travelling, held, now, mark=mark),
                size=self._carrier.sent_size,
            )

        return made

    def _said(self, session: Session) -> int | None:
        """What the request's token says of the record on the server, while nothing is newer than that token."""
        sender: Sender | None = session._known
        is_newest = sender is not None and session._key == sender.handle and not session._is_fresh
        return sender.said.mark if is_newest and sender is not None else None

    async def _check_is_not_over(self, session: Session) -> None:
        """Raise `SessionGone` if the session has ended since it was loaded: a slow request does not bring it back.

        A sign-in asks for the session alone: its user may just have been signed out everywhere, to begin anew here.
        """
        sender: Sender | None = session._known
        record, revocations = session._record, self._backing.revocations
        if revocations is None or sender is None or record is None or session._key != sender.handle:
            return
        owner = None if session._signing_in else record.owner
        if await revocations.ask(sender.handle, owner, record.created_at) is not None:
            raise SessionGone("the session has ended")

    async def _log_out(self, session: Session, now: float) -> None:
        if not session._logged_out:
            return
        if session._leaving is not None:
            handle, last = session._leaving
            await self._keeping.end(handle, session._held or self._keeping.unknown(last), now)
            self._events.tell("session ended", handle, last.owner)
            session._leaving, session._held = None, None
        # A token of this very request's has not been sent yet, and never will be.
        session._planted, session._is_fresh = [], False
        if session._known is not None and not session._is_over:
            session._cleared = self._carrier.clear(self._beside(session).parts)
        session._logged_out = False

    async def _successor(self, session: Session, record: Record | None, now: float) -> Record:
        """What the session is after this request, but for its values."""
        owner, revocations = session._owner, self._backing.revocations
        if record is not None and not session._signing_in:
            created_at = record.created_at
        elif owner is not None and revocations is not None:
            created_at = await revocations.begins(owner, now)
        else:
            created_at = now
        return Record(
            version=1 if record is None else record.version + 1,
            tag=writes.new_tag(),
            values={},
            owner=owner,
            created_at=created_at,
            expires_at=self._timeouts.expiry(created_at, now),
        )

    def _plant(self, session: Session, identity: bytes, token: bytes, record: Record, now: float) -> None:
        """Turn the token into headers, and say so if requests will grow too large for what is in between."""
        beside = self._beside(session)
        size = self._carrier.sent_size(token) + beside.bytes
        if size > _HEADER_WARNING_BYTES:
            detail = f"the client will send a header of about {size} bytes, and proxies may take no more than 8,192"
            self._events.tell("header nearly too large", session._key, record.owner, detail)
        session._identity, session._is_fresh = identity, True
        session._planted = self._carrier.write(token, max_age=record.expires_at - now, had=beside.parts)

    def _beside(self, session: Session) -> Beside:
        return self._carrier.beside(session._carried) if session._carried else Beside()
