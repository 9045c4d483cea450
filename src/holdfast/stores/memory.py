"""Sessions in the memory of this process: for tests, for development, and for one process that may forget."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from heapq import heapify, heappop, heappush, nsmallest
from threading import Lock
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from ..errors import ConfigError
from ..record import Change, Record, apply, judge
from . import Page

# A record stays for so long after it has expired, for requests whose clock is behind.
_MARGIN_SECONDS = 60.0

# How many forgettable records one call removes at most. More than are added, so that they cannot pile up.
_FORGET_AT_ONCE = 2

# The rank of a claim, below that of any copy.
_CLAIM = -1


class MemoryStore:
    """A dictionary behind a lock. Never suspends, so it serves both colours.

    Expired records go away by themselves, a few with each call, by the times that the calls carry: the store
    has no clock. Only copies live by one: `clock` returns seconds, from any beginning. Raises nothing of its own.
    """

    colours = frozenset({"sync", "async"})
    max_bytes = 8 * 1024 * 1024

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._records: dict[str, Record] = {}
        self._keys_of: dict[str, set[str]] = {}
        self._forgettable_at: dict[str, float] = {}
        # One entry for each record, by when it was to be forgotten; put back if that was put off.
        self._queue: list[tuple[float, str]] = []
        self._places: OrderedDict[str, _Place] = OrderedDict()  # the one that was filled last comes last

    @classmethod
    def from_url(cls, url: str) -> MemoryStore:
        """The store for `memory://`. Raises `ConfigError` if the URL says anything more."""
        parts = urlsplit(url)
        if parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
            raise ConfigError(f"{url!r}: a store in memory has no place and no options, write memory://")
        return cls()

    async def create(self, key: str, record: Record) -> bool:
        with self._lock:
            if key in self._records:
                return False
            self._put(key, record._replace(values=dict(record.values)), record.created_at)
            return True

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        return self._records.get(key)

    async def commit(self, key: str, change: Change) -> Record:
        with self._lock:
            record = self._records.get(key)
            applied = judge(record, change)
            if applied is not None:
                return applied
            assert record is not None  # noqa: S101 - judge has raised otherwise; for the type checker
            changed = apply(record, change)
            self._put(key, changed, change.now)
            return changed

    async def end(self, key: str, tombstone: Record) -> None:
        with self._lock:
            self._put(key, tombstone._replace(values=dict(tombstone.values)), tombstone.created_at)

    async def of(self, owner: str) -> dict[str, Record]:
        with self._lock:
            return {key: self._records[key] for key in self._keys_of.get(owner, ())}

    async def sweep(self, now: float) -> int:
        with self._lock:
            # A rotation has sealed what expires at a time below zero: it did so then.
            first = _MARGIN_SECONDS - now
            expired = [key for key, record in self._records.items() if first < record.expires_at < now]
            for key in expired:
                self._remove(key)
            self._queue = [(at, key) for key, at in self._forgettable_at.items()]
            heapify(self._queue)
            return len(expired)

    async def scan(self, after: str | None, most: int) -> Page:
        last = None if after is None else unquote(after)
        with self._lock:
            keys = nsmallest(most, (key for key in self._records if last is None or key > last))
            records = {key: self._records[key] for key in keys}
        return Page(records, quote(keys[-1], safe="") if len(keys) == most else None)

    async def count(self) -> int:
        return len(self._records)

    async def get_copy(self, key: str) -> bytes | None:
        place = self._place(key)
        return place.data if place is not None and place.rank != _CLAIM else None

    async def claim_copy(self, key: str, claim: bytes, life: float) -> bool:
        with self._lock:
            if self._place(key) is not None:
                return False
            self._fill(key, _CLAIM, claim, life)
            return True

    async def fill_copy(self, key: str, claim: bytes, rank: int, data: bytes, life: float) -> bool:
        with self._lock:
            place = self._place(key)
            if place is None or (place.rank, place.data) != (_CLAIM, claim):
                return False
            self._fill(key, rank, data, life)
            return True

    async def put_copy(self, key: str, rank: int, data: bytes, life: float) -> bool:
        with self._lock:
            place = self._place(key)
            if place is not None and place.rank == _CLAIM:
                del self._places[key]
            elif place is not None and place.rank <= rank:
                self._fill(key, rank, data, life)
            return True

    def _place(self, key: str) -> _Place | None:
        place = self._places.get(key)
        return place if place is not None and self._clock() < place.empty_at else None

    def _fill(self, key: str, rank: int, data: bytes, life: float) -> None:
        now = self._clock()
        self._places[key] = _Place(rank, data, now + life)
        self._places.move_to_end(key)
        for _ in range(_FORGET_AT_ONCE):
            oldest = next(iter(self._places), None)
            if oldest is None or self._places[oldest].empty_at > now:
                return
            del self._places[oldest]

    def _put(self, key: str, record: Record, now: float) -> None:
        previous = self._records.get(key)
        self._forgettable_at[key] = max(record.expires_at, now) + _MARGIN_SECONDS
        if previous is None:
            heappush(self._queue, (self._forgettable_at[key], key))
        elif previous.owner != record.owner or record.ended:
            self._unlist(key, previous.owner)
        if record.owner is not None and not record.ended:
            self._keys_of.setdefault(record.owner, set()).add(key)
        self._records[key] = record
        self._forget(now)

    def _forget(self, now: float) -> None:
        for _ in range(_FORGET_AT_ONCE):
            if not self._queue or self._queue[0][0] >= now:
                return
            _, key = heappop(self._queue)
            if self._forgettable_at[key] < now:
                self._remove(key)
            else:
                heappush(self._queue, (self._forgettable_at[key], key))

    def _remove(self, key: str) -> None:
        self._unlist(key, self._records.pop(key).owner)
        del self._forgettable_at[key]

    def _unlist(self, key: str, owner: str | None) -> None:
        if owner is None:
            return
        keys = self._keys_of.get(owner, set())
        keys.discard(key)
        if not keys:
            self._keys_of.pop(owner, None)


class _Place(NamedTuple):
    """What is held for a copy: the copy itself, or a claim."""

    rank: int
    data: bytes
    empty_at: float
