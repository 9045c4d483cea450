"""Every store that Holdfast has keeps the law for stores, in both colours, against real servers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import redis
import redis.asyncio

from holdfast.stores import Store, from_url
from holdfast.stores.redis import RedisStore
from holdfast.testing import CHECKS, Check, conformance

Factory = Callable[[], Store]


class OnBlockingClient(RedisStore):
    """A store on a ready client, which is closed with it."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._client = client

    async def aclose(self) -> None:
        self._client.close()


class OnAsyncClient(RedisStore):
    """A store on a ready asyncio client, which is closed with it."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        super().__init__(client)
        self._client = client

    async def aclose(self) -> None:
        await self._client.aclose()


@pytest.fixture
def make_store(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, memcached_url: str) -> Factory:
    """The factory of the stores that the test's row names."""
    factories: dict[str, Factory] = {
        "memory": lambda: from_url("memory://"),
        "sqlite": lambda: from_url(f"sqlite:///{tmp_path}/sessions.db"),
        "redis-url": lambda: from_url(f"{redis_url}/0"),
        "redis-blocking": lambda: OnBlockingClient(redis.Redis.from_url(redis_url)),
        "redis-blocking-decoding": lambda: OnBlockingClient(
            redis.Redis.from_url(redis_url, decode_responses=True)
        ),
        "redis-blocking-resp3": lambda: OnBlockingClient(redis.Redis.from_url(redis_url, protocol=3)),
        "memcached": lambda: from_url(memcached_url),
        "redis-asyncio": lambda: OnAsyncClient(redis.asyncio.Redis.from_url(redis_url)),
        "redis-asyncio-resp3": lambda: OnAsyncClient(redis.asyncio.Redis.from_url(redis_url, protocol=3)),
    }
    return factories[request.param]


BLOCKING = [
    "memory",
    "sqlite",
    "redis-url",
    "redis-blocking",
    "redis-blocking-decoding",
    "redis-blocking-resp3",
    "memcached",
]
EVERY = [*BLOCKING, "redis-asyncio", "redis-asyncio-resp3"]


@pytest.mark.parametrize("make_store", BLOCKING, indirect=True)
@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_a_store_keeps_the_law_for_sync_callers(make_store: Factory, check: Check) -> None:
    """What the check's law says holds when the store's coroutines are driven by hand."""
    conformance(make_store, [check], colour="sync")


@pytest.mark.parametrize("make_store", EVERY, indirect=True)
@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_a_store_keeps_the_law_for_async_callers(make_store: Factory, check: Check) -> None:
    """What the check's law says holds on an event loop, each check on a fresh one."""
    conformance(make_store, [check], colour="async")


def test_one_store_serves_both_colours_and_many_loops(redis_url: str) -> None:
    """One store made from a URL passes all of it, however many loops come and go and whoever calls it."""
    store = from_url(redis_url)
    conformance(lambda: store)
