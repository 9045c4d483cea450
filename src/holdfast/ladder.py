"""Which home may answer a read (design §8).

A copy answers only if it is provably new enough for the browser that asks: young enough, not revoked, and at or
above the browser's floor. Everything that is in doubt (no floor, a pin, an unreadable feed) reads the store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from . import _colour
from .copies.cache import SharedCache
from .copies.local import LocalCopies, Moment, moment
from .copies.revoked import RevokedFeed
from .floor import Floor
from .record import Record
from .stores.guard import Guard

if TYPE_CHECKING:
    from .tokens.snapshots import Snapshots

Freshness = Literal["any", "session", "strong"]
FRESHNESS = ("any", "session", "strong")

# How long a strong read that is older than what the browser has seen is tried again: a store in the middle of a
# failover may show an old state for a moment.
_REGRESSION_PAUSES = (0.02, 0.08, 0.2)


class Question(NamedTuple):
    """What a request asks for: a session, at least as new as the floor."""

    key: str
    floor: Floor | None
    pinned: bool
    freshness: Freshness
    snapshot: bytes | None = None  # the token of it, unread
    identity: bytes = b""

    def admits(self, record: Record) -> bool:
        """Whether a copy is new enough for whoever asks."""
        return self.freshness == "any" or (self.floor is not None and self.floor.admits(record))

    def has_seen(self, record: Record) -> bool:
        """Whether this is the very record that the browser has seen last, as most of the time: it is no news then, and
        admitted."""
        floor = self.floor
        return floor is not None and floor.tag == record.tag and floor.version == record.version

    def is_news(self, record: Record) -> bool:
        """Whether the browser has not seen this yet, so that a response will raise its floor."""
        return self.floor is None or self.floor.is_below(record)

    def why_strong(self, now: float) -> str | None:
        """Why only the store may answer, or None if a copy may."""
        if self.freshness == "strong":
            return "the route reads strongly"
        if self.pinned or (self.floor is not None and now < self.floor.strong_until):
            return "pinned: the browser has written or seen something new a moment ago"
        if self.floor is None and self.freshness != "any":
            return "no valid floor: nothing is known of what the browser has seen"
        return None


class Answer(NamedTuple):
    """The record, the home that it comes from, and why each other home that was asked did not answer.

    `regressed`: the store itself is behind what the browser has seen. `confirmed`: the shared cache, if there is
    one, holds nothing older than the record. `withheld` names the values that a snapshot has left on the server.
    """

    record: Record | None
    home: Literal["local", "snapshot", "cache", "weak", "store"]
    skipped: tuple[tuple[str, str], ...] = ()
    regressed: bool = False
    confirmed: bool = True
    withheld: frozenset[str] = frozenset()


class Ladder:
    """The homes of one application's sessions, cheapest first. Copies that are off are None or False."""

    def __init__(
        self,
        store: Guard,
        *,
        local: LocalCopies | None,
        cache: SharedCache | None,
        weak: bool,
        feed: RevokedFeed | None,
        copy_age: float,
        clock: Callable[[], float],
        snapshots: Snapshots | None = None,
    ) -> None:
        self._store = store
        self._snapshots = snapshots
        self._local = local
        self._cache = cache
        self._weak = weak
        self._feed = feed
        self._copy_age = copy_age
        self._clock = clock

    def at_hand(self, question: Question, now: Moment) -> tuple[Record, bool] | None:
        """What this instance's memory answers, if it may, and whether that is news. No I/O: no waiting in any colour.

        Where it has expired it is no answer, but has to be confirmed: that is left to whoever knows the timeouts.
        """
        local, feed = self._local, self._feed
        if local is None or feed is None:
            return None
        if question.why_strong(now.wall) or not feed.clears(question.key, now):
            return None
        record = local.get(question.key, self._copy_age, now)
        if record is None:
            return None
        if question.has_seen(record):
            return record, False
        is_news = question.is_news(record)
        if not question.admits(record) or (is_news and self._cache is not None):
            return None  # the cache has to be asked before the browser may know of it
        return record, is_news

    def carried(self, question: Question, now: Moment) -> Answer | None:
        """The answer of the snapshot that the browser has sent, if it may give one: no I/O either."""
        snapshots = self._snapshots
        if snapshots is None or question.snapshot is None or question.why_strong(now.wall):
            return None
        found = snapshots.open(question.snapshot, question.identity, now.wall)
        if found is None or self._feed is None or question.key in self._feed:
            return None
        record = found.record
        if now.wall - found.as_of > snapshots.trusted and not self._feed.clears(question.key, now):
            return None  # an ending may have come since: the feed has to be asked first
        if not record.is_live(now.wall) or not question.admits(record):
            return None
        if self._cache is not None and question.is_news(record):
            return None  # the cache has to be asked before the browser may know of it
        return Answer(record, "snapshot", withheld=found.withheld)

    async def ask(self, question: Question) -> Answer:
        """Climb from the cheapest home to the store. Raises `StoreError` if the store has to answer and cannot."""
        skipped: list[tuple[str, str]] = []
        claim: bytes | None = None
        why_strong = question.why_strong(self._clock())
        if why_strong is None:
            answer, claim = await self._ask_copies(question, skipped)
            if answer is not None:
                return answer
        elif self._feed is not None:
            skipped.append(("copies", why_strong))
        return await self._ask_store(question, claim, tuple(skipped))

    async def _ask_copies(
        self, question: Question, skipped: list[tuple[str, str]]
    ) -> tuple[Answer | None, bytes | None]:
        """The answer of a copy, or else the claim to fill the cache that was taken on the way."""
        claim: bytes | None = None
        if self._snapshots is not None and question.snapshot is not None:
            found = self._snapshots.open(question.snapshot, question.identity, self._clock())
            if found is None:
                skipped.append(("snapshot", "too old, or not this session's"))
            elif (why := await self._objection(question, found.record)) is not None:
                skipped.append(("snapshot", why))
            elif self._cache is None or not question.is_news(found.record):
                return Answer(found.record, "snapshot", withheld=found.withheld), None
        if self._local is not None:
            record = self._local.get(question.key, self._copy_age, self._now())
            if record is None:
                skipped.append(("local", "no copy, or too old"))
            elif (why := await self._objection(question, record)) is None:
                confirmed = True
                if self._cache is not None and question.is_news(record):
                    as_of = self._clock() - self._copy_age
                    confirmed = await self._cache.put(question.key, record, as_of)
                return Answer(record, "local", confirmed=confirmed), None
            else:
                skipped.append(("local", why))
        if self._cache is not None:
            read_at = self._now()
            look = await self._cache.look(question.key)
            claim = look.claim
            if look.record is None:
                skipped.append(("cache", look.why or "no copy"))
            elif (why := await self._objection(question, look.record)) is None:
                if self._local is not None:
                    self._local.put(question.key, look.record, read_at)
                return Answer(look.record, "cache", tuple(skipped)), None
            else:
                skipped.append(("cache", why))
        if self._weak:
            record = await self._store.load(question.key, weak=True)
            if record is None:
                skipped.append(("weak", "not found, which a weak read cannot know"))
            elif (why := await self._objection(question, record)) is None:
                # Not kept as a copy: nobody knows how old it was already. And the cache need not have it.
                return Answer(record, "weak", tuple(skipped), confirmed=self._cache is None), claim
            else:
                skipped.append(("weak", why))
        return None, claim

    async def _objection(self, question: Question, record: Record) -> str | None:
        """Why a copy must not be served, or None."""
        if not record.is_live(self._clock()):
            return "expired or ended, which only the store can confirm"
        if not question.admits(record):
            return "older than what the browser has seen"
        key, feed = question.key, self._feed
        if feed is not None and feed.clears(key, self._now()):
            return None
        if feed is None or not await feed.refresh(key):
            return "the feed of ended sessions cannot be read"
        return "revoked" if key in feed else None

    async def _ask_store(
        self, question: Question, claim: bytes | None, skipped: tuple[tuple[str, str], ...]
    ) -> Answer:
        read_at = self._now()
        record = await self._store.load(question.key)
        floor = question.floor
        if floor is not None and self._is_behind(record, floor):
            for pause in _REGRESSION_PAUSES:
                await _colour.pause(pause)
                read_at = self._now()
                record = await self._store.load(question.key)
                if not self._is_behind(record, floor):
                    break
            else:
                return Answer(record, "store", skipped, regressed=True)
        confirmed = True
        if record is not None and record.is_live(self._clock()):
            if self._local is not None:
                self._local.put(question.key, record, read_at)
            if self._cache is not None:
                if claim is not None:
                    confirmed = await self._cache.fill(question.key, claim, record, read_at.wall)
                if claim is None or not confirmed:
                    put = question.is_news(record)
                    confirmed = not put or await self._cache.put(question.key, record, read_at.wall)
        return Answer(record, "store", skipped, confirmed=confirmed)

    def _is_behind(self, record: Record | None, floor: Floor) -> bool:
        """Whether the store has lost what a response has shown or acknowledged."""
        if record is None:
            # Gone is what sessions are after their time; before it, a tombstone would be there.
            return self._clock() < floor.expires_at
        return not record.ended and not floor.admits(record) and record.expires_at >= 0

    def _now(self) -> Moment:
        return moment(self._clock)
