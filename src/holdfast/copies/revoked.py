"""The revoked feed: which sessions have ended so lately that a copy of them may still be about (design §8).

It is one small record in the store, which each instance re-reads when its view of it is older than a second, on
the way of a request that would be served from a copy. So an ending reaches every instance within that second, not
only when the last copy has grown too old. It holds only the endings of the time that a copy lives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import SessionGone, StoreError
from ..record import Change, Record
from ..stores.guard import Guard
from ..writes import new_tag
from .local import Moment, moment

# Not 64 hex digits, so that it is no session's key, and no handle names it.
FEED_KEY = "holdfast-revoked"

_FOREVER_SECONDS = 10 * 365 * 86400.0
_SLACK_SECONDS = 10.0  # for clocks that differ

# The feed is read by every instance all the time, so it is kept short: 64 bits of a key name a session well enough,
# and if two should ever share them, one is read from the store for a while.
_NAME_CHARACTERS = 16


class RevokedFeed:
    """What this instance knows of the feed.

    `max_view_age` is the time within which an ending arrives; `horizon` the longest that a copy lives; both in
    seconds. Every method raises what the store raises, except `refresh`.
    """

    def __init__(
        self, store: Guard, *, max_view_age: float, horizon: float, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._max_view_age = max_view_age
        self._horizon = horizon
        self._clock = clock
        self._entries: Mapping[str, bytes] = {}  # when each session ended, by its short name
        self._read_at: Moment | None = None

    def is_fresh(self, now: Moment) -> bool:
        """Whether the view is young enough to serve copies by."""
        read_at = self._read_at
        if read_at is None:
            return False
        limit = self._max_view_age
        return 0 <= now.wall - read_at.wall <= limit and now.steady - read_at.steady <= limit

    def __contains__(self, key: str) -> bool:
        return key[:_NAME_CHARACTERS] in self._entries

    async def refresh(self) -> bool:
        """Read the feed again: one command. False if it cannot be read, so that no copy may be served."""
        read_at = moment(self._clock)
        try:
            record = await self._store.load(FEED_KEY)
        except StoreError:
            return False
        self._entries = record.values if record is not None else {}
        self._read_at = read_at
        return True

    async def tell(self, key: str) -> None:
        """Add a session that has ended: one command. Every instance hears of it with its next refresh."""
        now = self._clock()
        entry = {key[:_NAME_CHARACTERS]: b"%d" % now}
        self._entries = {**self._entries, **entry}
        limit = now - self._horizon - _SLACK_SECONDS
        stale = frozenset(name for name, at in self._entries.items() if int(at) < limit)
        for _ in range(3):
            change = Change(new_tag(), now, set=entry, unset=stale, expires_at=now + _FOREVER_SECONDS)
            try:
                self._entries = (await self._store.commit(FEED_KEY, change)).values
            except SessionGone:
                # There is none yet, or the store has lost it.
                fresh = Record(1, new_tag(), entry, None, now, now + _FOREVER_SECONDS)
                if not await self._store.create(FEED_KEY, fresh):
                    continue
            return
        raise StoreError("the feed of ended sessions cannot be written")
