"""All homes of an application's sessions as one: reads climb the ladder, writes go to the store and then to copies.

Whatever changes a record passes through here, so that no copy is forgotten: the store first, then this instance's
copy, the shared cache, and for an ending the revoked feed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from . import _colour, writes
from .copies.cache import SharedCache, holder_of
from .copies.local import LocalCopies, Moment, moment
from .copies.revoked import RevokedFeed
from .errors import ConfigError
from .events import Events
from .ladder import Ladder, Question
from .record import Change, Record
from .stores import Store
from .stores.guard import Guard
from .work import Work

if TYPE_CHECKING:
    from .tokens.snapshots import Snapshots

T = TypeVar("T")

# An ending reaches every instance within so many seconds (or half the age of copies, where that is less).
REVOCATION_SECONDS = 1.0

# A weak read is as old as its replica is behind. Endings are remembered for so long where there are weak reads.
_REPLICA_LAG_SECONDS = 60.0

# What a pin lives longer than copies may be old: the time between a commit and the arrival of its response.
_PIN_MARGIN_SECONDS = 1.0


class Kept(NamedTuple):
    """A record that the store has accepted; `confirmed`: the shared cache holds nothing older.

    `regressed`: between the read and the write of a change the store has lost something.
    """

    record: Record
    confirmed: bool
    regressed: bool = False


class Homes:
    """The store, and the copies that are turned on. Raises `ConfigError` for what could not work."""

    def __init__(
        self,
        store: Store,
        *,
        cache: Store | str | None,
        local_bytes: int | None,
        copy_age: float,
        weak: bool,
        clock: Callable[[], float],
        events: Events,
        revoke_within: float = REVOCATION_SECONDS,
        snapshots: Snapshots | None = None,
    ) -> None:
        if getattr(store, "forgets", False):
            raise ConfigError(
                f"{type(store).__name__} forgets sessions when it runs full or restarts: use it as cache= in front "
                "of a store, or say in its URL that you accept that (?forgets=accepted)"
            )
        self.store = Guard(store)
        self.local = LocalCopies(local_bytes) if local_bytes else None
        self.cache = (
            SharedCache(holder_of(cache), clock=clock, on_event=events.tell) if cache is not None else None
        )
        self.snapshots = snapshots
        self.have_copies = self.local is not None or self.cache is not None or weak or snapshots is not None
        # How old a copy may be that no one brings up to date.
        self._oldest = max(copy_age, snapshots.longest_life if snapshots is not None else 0.0)
        self._clock = clock
        self._events = events
        # How old anything may be that a browser is shown: what a feed has to remember, and a long pin to outlive.
        self._longest_life = self._oldest + (self.cache.longest_life if self.cache else 0.0)
        self.feed = (
            RevokedFeed(
                self.store,
                max_view_age=min(revoke_within, copy_age / 2),
                horizon=max(self._longest_life, _REPLICA_LAG_SECONDS if weak else 0.0),
                clock=clock,
            )
            if self.have_copies
            else None
        )
        self._ladder = Ladder(
            self.store,
            local=self.local,
            cache=self.cache,
            weak=weak,
            feed=self.feed,
            copy_age=copy_age,
            clock=clock,
            snapshots=snapshots,
        )
        self.at_hand, self.carried, self.ask = self._ladder.at_hand, self._ladder.carried, self._ladder.ask
        self._colours = self.store.colours & (self.cache.colours if self.cache else self.store.colours)
        if not self._colours:
            raise ConfigError(
                f"{self.store.name} and the cache have no colour in common: sync or async, give both"
            )

    async def carry(self, operation: Coroutine[Any, Any, T]) -> T:
        """Run an operation of any number of calls in the colour of whoever waits for it.

        Where a client would block the caller's event loop, all of it goes to one worker thread.
        """
        if "async" in self._colours or _colour.by_hand():
            return await operation
        return await _colour.off_loop(operation)

    def require_sync(self) -> None:
        """Raise `ConfigError` if only async callers can use the homes."""
        if "sync" not in self._colours:
            raise ConfigError(f"{self.store.name} has only an async client: sync callers need a blocking one")

    def pin_seconds(self, confirmed: bool) -> float:
        """How long reads have to be strong after a response that shows something new.

        Long enough for every copy that is older to have passed its age; if the shared cache may still hold one,
        for as long as that entry, and a copy of it, may live.
        """
        return (self._oldest if confirmed else self._longest_life) + _PIN_MARGIN_SECONDS

    def last_resort(self, question: Question, max_age: float) -> Record | None:
        """This instance's copy of whatever age, for while the store is away.

        Not one that is older than what the browser has seen, nor one of a session that is known to have ended.
        """
        if self.local is None or self.feed is None or question.key in self.feed:
            return None
        record = self.local.get(question.key, max_age, self._now())
        return record if record is not None and question.admits(record) else None

    async def create(self, key: str, record: Record) -> Kept:
        """Store a new session."""
        read_at = self._now()
        await writes.create(self.store, key, record)
        return self._keep_new(key, record, read_at)

    async def change(
        self, key: str, record: Record, work: Work, now: float, expires_at: float | None
    ) -> Kept:
        """Commit what a request did."""
        read_at = self._now()
        forks: list[bool] = []
        changed = await writes.change(
            self.store,
            key,
            record,
            work,
            now,
            expires_at,
            on_conflict=lambda current: self.tell_change(key, record, current),
            on_fork=lambda: forks.append(True),
        )
        regressed = changed.version <= record.version or bool(forks)
        if regressed:
            # The store has gone back behind what this request had read, and other copies are ahead of it.
            await self.give_up(key)
        return (await self._spread(key, changed, read_at))._replace(regressed=regressed)

    async def renew(self, key: str, record: Record, change: Change) -> Kept:
        """Commit a new deadline."""
        read_at = self._now()
        renewed = await self.store.commit(key, change)
        regressed = renewed.version <= record.version
        if regressed:
            await self.give_up(key)
        return (await self._spread(key, renewed, read_at))._replace(regressed=regressed)

    async def rotate(
        self, old_key: str, record: Record, new_key: str, successor: Record, work: Work, now: float
    ) -> Kept:
        """Move a session to another identity."""
        read_at = self._now()
        await self._announce(old_key)
        moved = await writes.rotate(
            self.store,
            old_key,
            record,
            new_key,
            successor,
            work,
            now,
            on_conflict=lambda current: self.tell_change(new_key, record, current),
            on_fork=lambda: self._events.tell(
                "regression", new_key, record.owner, "two states of one version"
            ),
        )
        await self._forget(old_key, writes.tombstone(record, now, writes.ROTATED), now)
        return self._keep_new(new_key, moved, read_at)

    async def end(self, key: str, record: Record, now: float) -> None:
        """End a session everywhere."""
        tombstone = writes.tombstone(record, now)
        await self._announce(key)
        await self.store.end(key, tombstone)
        await self._forget(key, tombstone, now)

    async def give_up(self, key: str) -> None:
        """Drop the copies of a session that the store has lost changes of: they show what is no more."""
        if self.local is not None:
            self.local.drop(key)
        if self.cache is not None:
            await self.cache.void(key)

    def tell_change(self, key: str, read: Record, current: Record) -> None:
        """Tell the events if the store holds something else than what was read: another writer was faster, or else
        the store has gone back."""
        if current.version < read.version:
            detail = f"read version {read.version}, stored: version {current.version}"
            self._events.tell("regression", key, read.owner, detail)
        elif (current.version, current.tag) != (read.version, read.tag):
            self._events.tell("conflict retried", key, read.owner)

    async def aclose(self) -> None:
        """Let go of this event loop's connections."""
        await self.store.aclose()
        if self.cache is not None:
            await self.cache.aclose()

    def _keep_new(self, key: str, record: Record, read_at: Moment) -> Kept:
        """Nobody can hold an older copy of what nobody knew: the shared cache need not hear of it."""
        if self.local is not None:
            self.local.put(key, record, read_at)
        return Kept(record, True)

    async def _spread(self, key: str, record: Record, read_at: Moment) -> Kept:
        if self.local is not None:
            self.local.put(key, record, read_at)
        confirmed = self.cache is None or await self.cache.put(key, record, read_at.wall)
        return Kept(record, confirmed)

    async def _forget(self, key: str, tombstone: Record, now: float) -> None:
        if self.local is not None:
            self.local.drop(key)
        if self.cache is not None:
            await self.cache.put(key, tombstone, now)

    async def _announce(self, key: str) -> None:
        """Tell the feed, before the session ends: from now on no copy is served, and the store has the word.

        The other way round, a failure between the two would leave copies of an ended session about.
        """
        if self.feed is not None:
            await self.feed.tell(key)

    def _now(self) -> Moment:
        return moment(self._clock)
