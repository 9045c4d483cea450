"""The shared cache: copies that all instances read, and that whoever commits brings up to date (design §8).

A cache holds what can be read again from the store, so it may lose anything at any time, and its failure is never
the failure of a request. What keeps its copies right:

- A copy is only replaced by one of the same version or a later one; the last of all is a tombstone. Whoever
  commits replaces what is there, and does not fill an empty place: a later copy may have been in it.
- A reader who found nothing may put what it has read from the store only under a claim that it took *before* it
  read, and a commit in between voids the claim. (Facebook's memcached calls this a lease: Nishtala et al.,
  "Scaling Memcache at Facebook", NSDI 2013.) Of many readers at once one gets the claim; the others wait for its
  copy a little while.
- A copy dies `longest_life` seconds after the moment that it shows, at the latest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from .. import _colour, deadline
from ..errors import ConfigError
from ..record import Record
from ..stores import Caches, from_url
from ..stores.breaker import Breaker
from . import pack, unpack

T = TypeVar("T")

_TOMBSTONE_RANK = 2**63 - 1

# For how long a request waits for a cache that was named by a URL and does not answer.
_TIMEOUT_SECONDS = 0.25
_TAKE_A_TIMEOUT = frozenset(
    {
        *("redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"),
        "memcached",
    }
)

# Lives differ by so much in either direction, so that copies made together do not die together.
_JITTER = 0.1

# A reader has so long to read the store. Then its place is free for somebody else's claim.
_CLAIM_SECONDS = 2.0

# How long the others wait for the copy of the one that has the claim: most reads of a store are over by then.
_WAITS_SECONDS = (0.002, 0.004, 0.008, 0.016)

# What was true longer ago is not put any more. Meanwhile a later copy may have come, and have been thrown out
# because the cache was full, so that nothing would be in the way of this one. Only an instance that was frozen
# is as late as that.
_LATE_SECONDS = 10.0
_CLOCKS_DIFFER_SECONDS = 1.0


class Look(NamedTuple):
    """What a look into the cache has found.

    `record` was the newest one at `as_of` (seconds since the epoch). Where it is None, `why` says why not, and
    `claim`, unless it is None too, is the right to fill the place with what is read from the store from now on.
    """

    record: Record | None
    as_of: float = 0.0
    claim: bytes | None = None
    why: str | None = None


class SharedCache:
    """Copies of the records of one application, held by `store`, each for about `life` seconds.

    No method raises. One failure, and nothing is asked of the cache for a second, and of a cache that stays
    away for up to 15 seconds at a time; then one request tries again. `on_event` is called as `Events.tell` is,
    with "cache bypassed", whenever such a time begins. `clock` returns seconds since the epoch.

    Raises `ConfigError` if `store` cannot hold copies.
    """

    def __init__(
        self,
        store: Caches,
        *,
        life: float = 300.0,
        clock: Callable[[], float],
        on_event: Callable[..., object] | None = None,
        rng: Random | None = None,
    ) -> None:
        self.longest_life = life * (1 + _JITTER)
        self.colours: frozenset[str] = getattr(store, "colours", frozenset({"sync", "async"}))
        self._store = _holder(store)
        self._max_bytes: float = getattr(store, "max_bytes", None) or float("inf")
        self._node_of: Callable[[str], object] = getattr(store, "node_of", lambda key: None)
        self._life = life
        self._clock = clock
        self._on_event = on_event
        self._rng = rng or Random()  # noqa: S311 - for lives that differ; nothing is guarded by it
        self._breakers: dict[object, Breaker] = {}

    async def look(self, key: str) -> Look:
        """The copy, or a claim to fill its place, or neither."""
        outcome = await self._try(key, self._look(key))
        return outcome if isinstance(outcome, Look) else Look(None, why=outcome)

    async def fill(self, key: str, claim: bytes, record: Record, as_of: float) -> bool:
        """Put what was read from the store at `as_of`, after the claim was taken. False if the claim is void."""
        life = self._left(as_of)
        if life is None:
            return False
        copy = self._store.fill_copy(key, claim, _rank(record), self._copy(record, as_of), life)
        return await self._try(key, copy) is True

    async def put(self, key: str, record: Record, as_of: float) -> bool:
        """Put what was committed, or read as the newest, at `as_of`, in the place of what is older.

        True if it is certain that the cache has nothing older any more: it holds this copy or a later one, or
        none.
        """
        life = self._left(as_of)
        if life is None:
            return False
        copy = self._store.put_copy(key, _rank(record), self._copy(record, as_of), life)
        return await self._try(key, copy) is True

    async def void(self, key: str) -> bool:
        """Take away whatever is there, and keep the place empty for a copy's life.

        For a session of which the store has lost changes: no rank tells what is newer any more.
        """
        return await self._try(key, self._store.put_copy(key, _TOMBSTONE_RANK, b"", self._life)) is True

    async def aclose(self) -> None:
        """Let go of the connections of this event loop."""
        if (close := getattr(self._store, "aclose", None)) is not None:
            await close()

    async def _look(self, key: str) -> Look:
        data = await self._store.get_copy(key)
        if data is not None:
            return _found(data)
        claim = os.urandom(8)
        if await self._store.claim_copy(key, claim, _CLAIM_SECONDS):
            return Look(None, claim=claim, why="miss")
        for wait in _WAITS_SECONDS:
            await _colour.pause(wait)
            if (data := await self._store.get_copy(key)) is not None:
                return _found(data)
        return Look(None, why="claimed")

    async def _try(self, key: str, operation: Coroutine[Any, Any, T]) -> T | str:
        """What the operation returns, or why there is nothing."""
        if deadline.is_over():
            operation.close()
            return "no time left"
        node = self._node_of(key)
        breaker = self._breakers.get(node) or self._breakers.setdefault(node, Breaker(self._clock))
        if not breaker.admits():
            operation.close()
            return "breaker open"
        try:
            if "async" in self.colours or _colour.by_hand():
                outcome = await operation
            else:
                outcome = await _colour.off_loop(operation)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request goes on without the cache
            if deadline.is_over():
                breaker.gave_up()  # this request's time was short, which is no fault of the cache
                return "no time left"
            if breaker.failed() and self._on_event is not None:
                self._on_event("cache bypassed", detail=type(error).__name__)
            return "down"
        except BaseException:
            breaker.gave_up()
            raise
        breaker.worked()
        return outcome

    def _left(self, as_of: float) -> float | None:
        """For how long a copy is kept that shows `as_of`; None if it comes too late, or from the future."""
        age = self._clock() - as_of
        if not -_CLOCKS_DIFFER_SECONDS <= age <= _LATE_SECONDS:
            return None
        life = self._life * (1 + _JITTER * self._rng.uniform(-1, 1)) - max(age, 0.0)
        return life if life > 0 else None

    def _copy(self, record: Record, as_of: float) -> bytes:
        """The copy's bytes; none where they are too many, which takes an earlier copy's place all the same."""
        data = pack(record, as_of)
        return data if len(data) <= self._max_bytes else b""


def holder_of(cache: object) -> Caches:
    """What `cache=` names: a ready store, or a URL, whose store is given a short time limit unless it sets one.

    Raises `ConfigError` for what cannot hold copies, or what `from_url` refuses.
    """
    if not isinstance(cache, str):
        return _holder(cache)
    try:
        parts = urlsplit(cache)
    except ValueError:
        return _holder(from_url(cache))  # which says what is wrong with it
    if parts.scheme.lower() in _TAKE_A_TIMEOUT and "timeout=" not in parts.query:
        query = f"{parts.query}&" if parts.query else ""
        cache = parts._replace(query=f"{query}timeout={_TIMEOUT_SECONDS}").geturl()
    return _holder(from_url(cache))


def _holder(store: object) -> Caches:
    if not isinstance(store, Caches):
        raise ConfigError(
            f"{type(store).__name__} cannot hold copies: for cache= name a redis:// or memcached:// URL"
        )
    return store


def _rank(record: Record) -> int:
    return _TOMBSTONE_RANK if record.ended else min(record.version, _TOMBSTONE_RANK - 1)


def _found(data: bytes) -> Look:
    if not data:
        return Look(None, why="too large")
    try:
        return Look(*unpack(data))
    except ValueError:
        # Of another release, perhaps. The next commit replaces it.
        return Look(None, why="unreadable")
