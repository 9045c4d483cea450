"""The revoked feed: which sessions have ended so lately that a copy of them may still be about (design §8).

It is one small record in the store, which each instance re-reads when its view of it is older than a second, on
the way of a request that would be served from a copy. So an ending reaches every instance within that second, not
only when the last copy has grown too old. It holds only the endings of the time that a copy lives.

Where the store takes few changes of one record, the feed is 16 of them, one for each first digit of a session's key.
A request asks about one session, so that an instance re-reads the one record that this session's ending would be in:
with little traffic it reads no more than a feed of one record would cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..errors import SessionGone, StoreError
from ..record import Change, Record
from ..stores.guard import Guard
from ..writes import new_tag
from .local import Moment, moment

# Not 64 hex digits, so that it is no session's key, and no handle names it. Where the feed is split, a digit follows.
FEED_KEY = "holdfast-revoked"

_FOREVER_SECONDS = 10 * 365 * 86400.0
_SLACK_SECONDS = 10.0  # for clocks that differ

# The feed is read by every instance all the time, so it is kept short: 64 bits of a key name a session well enough,
# and if two should ever share them, one is read from the store for a while.
_NAME_CHARACTERS = 16


class View(NamedTuple):
    """One record of the feed as this instance has last seen it."""

    entries: Mapping[str, bytes]  # when each session ended, by its short name
    read_at: Moment | None  # no later than when it was so


_NOTHING = View({}, None)


class RevokedFeed:
    """What this instance knows of the feed.

    `max_view_age` is the time within which an ending arrives; `horizon` the longest that a copy lives; both in
    seconds. Every method raises what the store raises, except `refresh`.
    """

    def __init__(
        self, store: Guard, *, max_view_age: float, horizon: float, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._max_view_age = max_view_age  # seconds
        self._horizon = horizon
        self._clock = clock
        # Decided by the store alone: instances that split it differently would not hear of each other's endings.
        self._digits = 1 if store.writes_per_second is not None else 0
        # By the first digits of a key. A view is one object, replaced at once, so that threads see no half of it.
        self._views: dict[str, View] = {}

    def clears(self, key: str, now: Moment) -> bool:
        """Whether a copy of the session may be served by what is known: the view is fresh, and it is not in it."""
        # On the way of every request, so all in one place.
        entries, read_at = self._views.get(key[: self._digits] if self._digits else "", _NOTHING)
        if read_at is None or (entries and key[:_NAME_CHARACTERS] in entries):
            return False
        limit = self._max_view_age
        return 0 <= now.wall - read_at.wall <= limit and now.steady - read_at.steady <= limit

    def __contains__(self, key: str) -> bool:
        return key[:_NAME_CHARACTERS] in self._view(key).entries

    async def refresh(self, key: str) -> bool:
        """Read again where this session's ending would be: one command.

        False if it cannot be read, so that no copy may be served.
        """
        read_at = moment(self._clock)
        try:
            record = await self._store.load(self._place(key))
        except StoreError:
            return False
        self._views[key[: self._digits]] = View(record.values if record is not None else {}, read_at)
        return True

    async def tell(self, key: str) -> None:
        """Add a session that has ended: one command. Every instance hears of it with its next refresh."""
        now, place = self._clock(), self._place(key)
        entry = {key[:_NAME_CHARACTERS]: b"%d" % now}
        entries = self._seen(key, {**self._view(key).entries, **entry})
        limit = now - self._horizon - _SLACK_SECONDS
        stale = frozenset(name for name, at in entries.items() if int(at) < limit)
        for _ in range(3):
            change = Change(new_tag(), now, set=entry, unset=stale, expires_at=now + _FOREVER_SECONDS)
            try:
                self._seen(key, (await self._store.commit(place, change)).values)
            except SessionGone:
                # There is none yet, or the store has lost it.
                fresh = Record(1, new_tag(), entry, None, now, now + _FOREVER_SECONDS)
                if not await self._store.create(place, fresh):
                    continue
            return
        raise StoreError("the feed of ended sessions cannot be written")

    def _view(self, key: str) -> View:
        return self._views.get(key[: self._digits], _NOTHING)

    def _seen(self, key: str, entries: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Know these entries, as of no later moment than before: what came in between may have been missed."""
        self._views[key[: self._digits]] = self._view(key)._replace(entries=entries)
        return entries

    def _place(self, key: str) -> str:
        """The name of the record that holds this session's ending."""
        return f"{FEED_KEY}-{key[: self._digits]}" if self._digits else FEED_KEY
