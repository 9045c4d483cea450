"""The simulated store and cache, and the network on the way to them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from random import Random
from typing import Any, NamedTuple

from holdfast import _colour
from holdfast.record import Change, Record
from holdfast.stores.memory import MemoryStore
from holdfast.testing import Flaky, Lagging, Losing

from .virtual import VirtualLoop

# Calls travel in this context: a message on the wire belongs to nobody, and arrives though its sender has died.
WIRE = Context()


class Written(NamedTuple):
    """One thing that the store did: at `at`, `key` became `record` (None: it was deleted)."""

    at: float
    key: str
    record: Record | None


class TrueStore(MemoryStore):
    """The authority, with a memory of everything that it ever held."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop
        self.written: list[Written] = []

    def _put(self, key: str, record: Record, now: float) -> None:
        super()._put(key, record, now)
        self.written.append(Written(self._loop.time(), key, record))

    async def delete(self, key: str) -> None:
        """What the contract does not have, for the mutants that use it."""
        if key in self._records:
            self._remove(key)

    def _remove(self, key: str) -> None:
        super()._remove(key)
        self.written.append(Written(self._loop.time(), key, None))


class Wire:
    """The way to one server: it delays, it can be cut for some instances, and its answers come late."""

    def __init__(self, loop: VirtualLoop, rng: Random, *, timeout: float) -> None:
        self.loop = loop
        self.rng = rng
        self.timeout = timeout
        self.cut: dict[int, float] = {}  # instance -> until when
        self.slow_until = 0.0
        self.troubles: list[tuple[float, float]] = []  # when something was wrong with it, from and to

    def disturb(self, seconds: float, instance: int | None) -> None:
        """Cut an instance off, or (None) make the answers so slow that some come too late."""
        until = self.loop.time() + seconds
        self.troubles.append((self.loop.time(), until + self.timeout))
        if instance is None:
            self.slow_until = until
        else:
            self.cut[instance] = until

    async def call(self, instance: int, operation: Coroutine[Any, Any, Any]) -> Any:
        """What the operation, carried out at the server, returns or raises; TimeoutError if no answer came."""
        answer = self.loop.create_future()
        self.loop.call_later(self._delay(), self._arrive, instance, operation, answer, context=WIRE)
        limit = self.loop.call_later(self.timeout, _settle, answer, None, TimeoutError())
        try:
            return await answer
        finally:
            limit.cancel()

    def _arrive(
        self, instance: int, operation: Coroutine[Any, Any, Any], answer: asyncio.Future[Any]
    ) -> None:
        if self.cut.get(instance, 0.0) > self.loop.time():
            operation.close()
            return
        result, error = None, None
        try:
            result = _colour.run(operation)
        except Exception as raised:
            error = raised
        if self.cut.get(instance, 0.0) <= self.loop.time() + 0.001:
            self.loop.call_later(self._delay(), _settle, answer, result, error, context=WIRE)

    def _delay(self) -> float:
        if self.loop.time() < self.slow_until:
            return self.rng.uniform(0.0, self.timeout)
        return self.rng.choice((0.0005, 0.002, 0.002, 0.01, 0.06)) * self.rng.uniform(0.5, 1.5)


def _settle(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)


class Backends:
    """One store with its replica, and one cache, that all instances share."""

    def __init__(self, loop: VirtualLoop, rng: Random, *, max_lag: float, failing: float) -> None:
        self.truth = TrueStore(loop)
        self.replica = Lagging(self.truth, clock=loop.time)
        self.losing = Losing(self.replica)
        self.flaky = Flaky(self.losing, rate=failing, seed=rng.randrange(2**32))
        self.cache = MemoryStore(clock=loop.time)
        self.to_store = Wire(loop, rng, timeout=2.0)
        self.to_cache = Wire(loop, rng, timeout=0.25)
        self._rng, self._max_lag = rng, max_lag

    def lag(self) -> None:
        """Let the replica be as far behind as it happens to be now."""
        self.replica.lag = self._rng.uniform(0.0, self._max_lag)


class StoreClient:
    """The store as one instance reaches it."""

    colours = frozenset({"async"})
    max_bytes = 8 * 1024 * 1024

    def __init__(self, backends: Backends, instance: int) -> None:
        self._backends = backends
        self._wire = backends.to_store
        self._instance = instance

    async def create(self, key: str, record: Record) -> bool:
        return await self._wire.call(self._instance, self._backends.flaky.create(key, record))

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        if weak:
            self._backends.lag()
        return await self._wire.call(self._instance, self._backends.flaky.load(key, weak=weak))

    async def commit(self, key: str, change: Change) -> Record:
        return await self._wire.call(self._instance, self._backends.flaky.commit(key, change))

    async def end(self, key: str, tombstone: Record) -> None:
        await self._wire.call(self._instance, self._backends.flaky.end(key, tombstone))

    async def delete(self, key: str) -> None:
        """What the contract does not have, for the mutants that use it."""
        await self._wire.call(self._instance, self._backends.truth.delete(key))


class CacheClient:
    """The cache as one instance reaches it."""

    colours = frozenset({"async"})

    def __init__(self, backends: Backends, instance: int) -> None:
        self._cache = backends.cache
        self._wire = backends.to_cache
        self._instance = instance

    async def get_copy(self, key: str) -> bytes | None:
        return await self._wire.call(self._instance, self._cache.get_copy(key))

    async def claim_copy(self, key: str, claim: bytes, life: float) -> bool:
        return await self._wire.call(self._instance, self._cache.claim_copy(key, claim, life))

    async def fill_copy(self, key: str, claim: bytes, rank: int, data: bytes, life: float) -> bool:
        return await self._wire.call(self._instance, self._cache.fill_copy(key, claim, rank, data, life))

    async def put_copy(self, key: str, rank: int, data: bytes, life: float) -> bool:
        return await self._wire.call(self._instance, self._cache.put_copy(key, rank, data, life))
