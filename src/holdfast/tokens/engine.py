"""The rules for sessions whose only home is the client: the counterpart of `holdfast.engine`, for `token=`.

Opening a token takes no I/O. Only what an application has turned on asks a store: revocation, once in a while, and
the values that stay on the server. A session is as new as the token that the client has sent: nobody else knows.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from .. import writes
from ..commits import Regression
from ..cookies import key_of
from ..engine import JUST_ENDED_SECONDS
from ..errors import BadToken, ConfigError, SessionGone, StoreError
from ..events import Events
from ..ladder import Freshness
from ..reading import Reading
from ..record import Record
from ..session import Session
from ..timeouts import Timeouts
from . import Token
from .answers import Ending
from .backing import Backing
from .carriers import Carrier
from .commits import Sender, TokenCommits
from .revocation import Revocations
from .sealing import Sealing

# What is held was there, and is not any more: nobody knows since when.
_LONG_AGO = Ending(0.0)


class TokenEngine:
    """Loads and commits sessions that travel with their clients. Times are in seconds."""

    def __init__(
        self,
        token: Token,
        *,
        sealing: Sealing,
        carrier: Carrier,
        backing: Backing,
        detects: bool = False,
        regression: Regression = "accept",
        timeouts: Timeouts,
        clock: Callable[[], float],
        events: Events,
        read_only: bool = False,
    ) -> None:
        self._private = token.private
        self._read_only = read_only
        self._sealing = sealing
        self._carrier = carrier
        self.vary = carrier.vary  # the header that requests carry their session in
        self._backing = backing
        self._timeouts = timeouts
        self._clock = clock
        self._events = events
        self._commits = TokenCommits(
            token,
            sealing=sealing,
            carrier=carrier,
            backing=backing,
            detects=detects,
            regression=regression,
            timeouts=timeouts,
            clock=clock,
            events=events,
            read_only=read_only,
        )
        self.commit, self.is_settled = self._commits.commit, self._commits.is_settled
        self.require_sync = backing.require_sync
        self.aclose = backing.aclose
        self.sweep = backing.sweep

    # Loading

    def read(self, carried: Any) -> Sender | None:
        """Whom the request comes from, if its token is ours and good; whatever else is nothing, and harms nobody."""
        try:
            sent = self._carrier.read(carried)
            if sent is None:
                return None
            now = self._clock()
            said = self._sealing.open(sent.token, now)
        except BadToken as error:
            if error.reason not in ("expired", "malformed"):
                self._events.tell("token refused", detail=error.reason)
            return None
        # How long a session from a Bearer lives is the Bearer's to say: its access tokens have an end of their own.
        if not self._read_only and not self._timeouts.is_live(said.record, now):
            return None
        # Access tokens name a stored session by its handle; the others are known by a secret of their own.
        handle = said.identity.hex() if self._read_only else key_of(said.identity)
        return Sender(said.identity, handle, said)

    async def load(self, session: Session, freshness: Freshness | None = None) -> None:
        """See `Sessions.load`."""
        if (rest := self.begin_load(session, freshness)) is not None:
            await rest

    def begin_load(
        self, session: Session, freshness: Freshness | None = None
    ) -> Coroutine[Any, Any, None] | None:
        """Load the session from its token. What is to be awaited, where a store has to be asked."""
        session._read()
        sender: Sender | None = session._known
        anew = freshness == "strong"
        if sender is None or (session._loaded and not (anew and self._is_as_sent(session))):
            return None
        ending, is_due = None, False
        if (revocations := self._backing.revocations) is not None:
            record = sender.said.record
            ending, is_due = revocations.at_hand(sender.handle, self._noted(record), record.created_at)
            is_due = is_due or anew
        if ending is not None:
            self._refuse(session, sender, ending)
        elif is_due or sender.said.away:
            return self._load_with_stores(session, sender, anew=anew)
        else:
            self._take(session, sender, None)
        return None

    def _is_as_sent(self, session: Session) -> bool:
        """Whether it can be loaded again. Raises `ConfigError` if it was changed since it was loaded."""
        if session._record is None or session._is_fresh:
            return False  # it is over, or this very request has made a newer token
        if session._is_changed():
            raise ConfigError("ask for a strong read before the session is changed")
        return True

    async def _load_with_stores(self, session: Session, sender: Sender, *, anew: bool) -> None:
        try:
            ending, held = await self._backing.carry(self._ask(sender, anew=anew))
        except StoreError as error:
            self._events.tell("store unavailable", sender.handle, detail=str(error))
            session._reading = Reading("none", (("store", str(error)),))
            session._failure, session._loaded = error, False
            return
        if ending is not None:
            self._refuse(session, sender, ending)
        else:
            self._take(session, sender, held)

    async def _ask(self, sender: Sender, *, anew: bool) -> tuple[Ending | None, Record | None]:
        record, revocations, held = sender.said.record, self._backing.revocations, self._backing.held
        if revocations is not None:
            owner, began = self._noted(record), record.created_at
            ending = await revocations.ask(sender.handle, owner, began, anew=anew)
            if ending is not None:
                return ending, None
        if not sender.said.away:
            return None, None
        kept = await held.load(sender.handle) if held is not None else None
        if kept is None:
            return _LONG_AGO, None
        # It may have run out; the session lives as long as its token says.
        ended_at = writes.ended_at(kept)
        return (None, kept) if ended_at is None else (Ending(ended_at, writes.goes_on(kept)), None)

    def _noted(self, record: Record) -> str | None:
        """Whose sign-out everywhere a note may be about. A Bearer ends a user's sessions one by one."""
        return None if self._read_only else record.owner

    def _take(self, session: Session, sender: Sender, held: Record | None) -> None:
        session._failure = None
        session._reading = Reading("token")
        record, mark, away = sender.said.record, sender.said.mark, sender.said.away
        if held is not None:
            # Of what is private the server knows best. Of the rest, it shows what this token has left with it, or
            # everything if that is newer than the token.
            is_newer = bool(mark) and held.version > (mark or 0)
            kept = {
                name: data
                for name, data in held.values.items()
                if is_newer or name in away or name in self._private
            }
            record = record._replace(values={**record.values, **kept})
        elif mark is not None:
            # There is a record, which holds nothing that does not travel as well; its version is known.
            beside = {name: data for name, data in record.values.items() if name in sender.said.held}
            held = record._replace(version=mark, values=beside)
        session._held = held
        session._attach(sender.handle, record)

    def _refuse(self, session: Session, sender: Sender, ending: Ending) -> None:
        """The session is over. As with sessions in a store, a late request must not begin another one."""
        session._failure = None
        session._reading = Reading("token")
        session._attach(None, None)
        if self._clock() < ending.at + JUST_ENDED_SECONDS:
            session._refusal = SessionGone("this session has just ended, or goes on under another identity")
            session._is_over = not ending.goes_on
            self._events.tell("old identity used", sender.handle, sender.said.record.owner)

    # For administrators

    async def of(self, owner: str) -> dict[str, Record]:
        """Nobody knows which tokens are out there."""
        raise ConfigError(
            "sessions that travel with their clients cannot be listed: that takes Sessions(store), where snapshot= "
            "lets them travel too; end_all(owner) works without a list, given Token(revocation=…)"
        )

    async def end(self, handle: str) -> bool:
        """Let no token of the session count any more; it cannot be known whether there was one."""
        self._refuse_for_bearer("end")
        await self._backing.carry(self._end(self._backing.told(), handle))
        self._events.tell("session revoked", handle)
        return True

    async def _end(self, revocations: Revocations, handle: str) -> None:
        await revocations.end(handle)
        if (held := self._backing.held) is not None:
            # What is held for it goes at once, and not only once it expires.
            kept = await held.load(handle)
            if kept is not None and not kept.ended:
                await held.end(handle, kept, self._clock(), moves=False)

    async def end_all(self, owner: str) -> None:
        """Let no token of the user's count whose session began until now."""
        self._refuse_for_bearer("end_all")
        await self._backing.carry(self._backing.told().end_all(owner))
        self._events.tell("session revoked", owner=owner, detail="all that have begun until now")

    def _refuse_for_bearer(self, name: str) -> None:
        if self._read_only:
            # Here only access tokens would end, and the refresh token would bring the session back.
            raise ConfigError(f"sessions of a Bearer are ended there: bearer.{name}()")
