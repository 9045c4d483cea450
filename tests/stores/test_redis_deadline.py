"""No call to Redis or memcached takes longer than its time limit, or than the platform leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
import redis
import redis.asyncio
from records import new_key, new_record

import holdfast
from holdfast._colour import run
from holdfast.stores import Store, from_url
from holdfast.stores.redis import RedisStore
from servers.memcached import MemcachedServer
from servers.process import BUSY_SECONDS
from servers.redis import RedisServer


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_redis_is_given_up_when_the_platform_ends_the_request(redis_server: RedisServer, colour: str) -> None:
    """From a URL and on ready clients, over new connections and old ones: none waits for its own minute."""
    _check(lambda: RedisStore.from_url(f"{redis_server.url}?timeout=60"), redis_server, colour)
    if colour == "sync":
        blocking = redis.Redis.from_url(redis_server.url, socket_timeout=60)
        _check(lambda: RedisStore(blocking, timeout=60), redis_server, colour)
    else:
        ready = lambda: RedisStore(redis.asyncio.Redis.from_url(redis_server.url), timeout=60)  # noqa: E731
        _check(ready, redis_server, colour)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_memcached_is_given_up_when_the_platform_ends_the_request(
    memcached_server: MemcachedServer, colour: str
) -> None:
    """The same for memcached."""
    _check(lambda: from_url(f"{memcached_server.url}?forgets=accepted&timeout=60"), memcached_server, colour)


def test_without_time_left_nothing_is_asked(redis_server: RedisServer) -> None:
    """A request that is about to be cut off begins no call."""
    store, key = RedisStore.from_url(redis_server.url), new_key()
    with holdfast.time_left(0.1), pytest.raises(TimeoutError):
        run(store.create(key, new_record()))
    assert run(store.load(key)) is None


def _check(make: Callable[[], Store], server: RedisServer | MemcachedServer, colour: str) -> None:
    async def scenario(connected: bool) -> float:
        store = make()
        if connected:
            await store.load("x")
        server.freeze()
        began = time.monotonic()
        try:
            with holdfast.time_left(0.6), pytest.raises((redis.TimeoutError, TimeoutError)):
                await store.load("x")
            return time.monotonic() - began
        finally:
            server.thaw()
            client = getattr(getattr(store, "_way", None), "_ends", [None])[0]
            awaited = getattr(client, "_awaited", None)
            if awaited is not None:
                await awaited.disconnect()
            await store.aclose()  # type: ignore[attr-defined]  # optional on a store

    for connected in (True, False):
        taken = run(scenario(connected)) if colour == "sync" else asyncio.run(scenario(connected))
        assert 0.15 < taken < 0.6 + BUSY_SECONDS, (connected, taken)
