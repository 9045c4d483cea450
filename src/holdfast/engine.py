"""The rules about the session of one request: whom it comes from, how it is loaded, what it may be used for.

How it is committed is in `commits`; what concerns all homes of its record is in `homes`.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Literal

from . import writes
from .commits import Commits, Rules
from .cookies import key_of
from .copies.local import moment
from .errors import BadToken, ConfigError, SessionGone, SessionRegression, StoreError
from .ladder import Answer, Freshness, Question
from .reading import Reading
from .record import Record
from .session import Known, Session

# For so long after a session ended or changed its identity, a request with the old one may be a late one
# whose browser holds a newer cookie already: it must not be given another.
JUST_ENDED_SECONDS = 30.0

# How long a Cookie header may be that is recognised as a whole, and how long all of them together.
_KNOWN_BYTES, _ALL_KNOWN_BYTES = 8192, 2 * 2**20

_LOCAL = Reading("local")

Outage = Literal["refuse", "read_only", "anonymous"]


class Engine:
    """The rules of one application, as `Sessions` was told them. Times are in seconds."""

    def __init__(self, rules: Rules, *, outage: Outage, freshness: Freshness) -> None:
        self._homes, self._transport, self._floors = rules.homes, rules.transport, rules.floors
        self._timeouts, self._clock, self._events = rules.timeouts, rules.clock, rules.events
        self._regression = rules.regression
        self._outage = outage
        self._freshness = freshness
        self._known: dict[bytes, Known] = {}
        self._known_bytes = 0
        self._known_in = rules.transport.state()
        self._commits = Commits(rules)
        self.commit, self.is_settled = self._commits.commit, self._commits.is_settled

    def read(self, carried: Any) -> Known | None:
        """Whom the request comes from, if what it carries is ours; whatever else is nothing, and harms nobody.

        A browser sends the same `Cookie` header again and again: one that was found good is recognised as a
        whole. (That is no shortcut for a forger: to be found, a header has to be equal to one that was verified.)
        """
        if type(carried) is bytes:
            if self._known_in != (state := self._transport.state()):
                # Another one: a thread that is about to remember what was good before puts it into the old one.
                self._known, self._known_in, self._known_bytes = {}, state, 0
            elif (known := self._known.get(carried)) is not None:
                return known
        remembered = self._known
        try:
            sent = self._transport.read(carried)
        except BadToken:
            return None
        if sent.identity is None:
            return None
        floor = self._floors.read(sent.floor, sent.identity) if self._floors else None
        question = Question(
            key_of(sent.identity), floor, sent.pinned, self._freshness, sent.snapshot, sent.identity
        )
        known = Known(sent.identity, question)
        if type(carried) is bytes and len(carried) <= _KNOWN_BYTES:
            self._known_bytes += len(carried)
            if self._known_bytes > _ALL_KNOWN_BYTES:
                remembered.clear()
                self._known_bytes = len(carried)
            remembered[carried] = known
        return known

    # Loading

    async def load(self, session: Session, freshness: Freshness | None = None) -> None:
        """See `Sessions.load`."""
        if (rest := self.begin_load(session, freshness)) is not None:
            await rest

    def begin_load(
        self, session: Session, freshness: Freshness | None = None
    ) -> Coroutine[Any, Any, None] | None:
        """Load the session from what is at hand. The rest of the work, to be awaited, where that is not enough."""
        session._read()
        known = session._known
        if known is None:
            return None
        if session._loaded:
            if freshness != "strong" or session._reading is None or session._reading.home == "store":
                return None
            if session._is_changed():
                raise ConfigError("ask for a strong read before the session is changed")
            session._news = None
        question, now = known.question, moment(self._clock)
        if freshness is not None and freshness != question.freshness:
            question = question._replace(freshness=freshness)
        at_hand = self._homes.at_hand(question, now)
        if at_hand is not None and self._timeouts.is_live(at_hand[0], now.wall):
            record, is_news = at_hand
            session._attach(question.key, record)
            session._reading = _LOCAL
            if is_news:
                session._news = (record, True)
            return None
        if question.snapshot is not None:
            carried = self._homes.carried(question, now)
            if carried is not None:
                self._take(session, question, carried, now.wall)
                return None
        return self._load(session, question, now.wall)

    async def _load(self, session: Session, question: Question, asked_at: float) -> None:
        try:
            answer = await self._homes.carry(self._ask(question))
        except StoreError as error:
            self._go_without(session, question, error)
        else:
            self._take(session, question, answer, asked_at)

    def _take(self, session: Session, question: Question, answer: Answer, now: float) -> None:
        """Give the session what was found, judged by when it was asked for.

        An instance that was frozen with the answer in its hand must not take a session for expired that others
        have used since: the visitor would be given another one. A change is judged anew by the store.
        """
        record = answer.record
        session._reading = Reading(answer.home, answer.skipped)
        if record is not None and self._timeouts.is_live(record, now):
            session._attach(question.key, record, answer.withheld)
            if self._floors is not None and (answer.regressed or question.is_news(record)):
                session._news = (record, answer.confirmed)
            elif answer.home == "store" and self._homes.snapshots is not None and not question.pinned:
                session._copy = (record, now)
            return
        session._attach(None, None)
        if answer.regressed:
            session._cleared = self._transport.clear(
                identity=False, floor=True, snapshot=self._homes.snapshots is not None
            )
            if self._regression == "end":
                session._refusal = SessionRegression("the store has lost changes of this session")
            return
        ended_at = writes.ended_at(record) if record is not None else None
        if record is not None and ended_at is not None and now < ended_at + JUST_ENDED_SECONDS:
            session._refusal = SessionGone("this session has just ended, or goes on under another identity")
            session._is_over = not writes.goes_on(record)
            self._events.tell("old identity used", question.key, record.owner)

    def _go_without(self, session: Session, question: Question, error: StoreError) -> None:
        """The store is away: what the session may still be used for.

        If it was to be read anew, strongly, what a copy had said before is not good enough either.
        """
        self._events.tell("store unavailable", question.key, detail=str(error))
        session._reading = Reading("none", (("store", str(error)),))
        session._failure = error
        if self._outage == "anonymous":
            session._refusal = error
            session._attach(None, None)
        elif self._outage == "read_only":
            record = self._homes.last_resort(question, self._timeouts.absolute)
            if record is not None and self._timeouts.is_live(record, self._clock()):
                session._refusal = error
                session._attach(question.key, record)
                session._reading = Reading("local", (("store", str(error)),))

    async def _ask(self, question: Question) -> Answer:
        """Read; and if the store is behind what the browser has seen, say so and do what the policy says."""
        answer = await self._homes.ask(question)
        if not answer.regressed:
            return answer
        record, floor = answer.record, question.floor
        known = floor.version if floor is not None else 0
        found = f"version {record.version}" if record is not None else "nothing"
        self._events.tell("regression", question.key, detail=f"seen {known}, stored: {found}")
        await self._homes.give_up(question.key)
        if record is None or self._regression == "accept":
            return answer
        await self._homes.end(question.key, record, self._clock())
        return answer._replace(record=None)

    # For administrators

    async def of(self, owner: str) -> dict[str, Record]:
        """The owner's records by key, some of which may be over."""
        return await self._homes.carry(self._homes.store.of(owner))

    async def end(self, handle: str) -> bool:
        """See `Sessions.end`."""
        return await self._homes.carry(self._revoke(handle))

    async def sweep(self, now: float) -> int:
        """See `Sweeps.sweep`."""
        return await self._homes.carry(self._homes.store.sweep(now))

    def require_sync(self) -> None:
        """Raise `ConfigError` if only async callers can use the homes."""
        self._homes.require_sync()

    async def aclose(self) -> None:
        """Let go of this event loop's connections."""
        await self._homes.aclose()

    async def _revoke(self, key: str) -> bool:
        now = self._clock()
        record = await self._homes.store.load(key)
        if record is None or not record.is_live(now):
            return False
        await self._homes.end(key, record, now)
        self._events.tell("session revoked", key, record.owner)
        return True
