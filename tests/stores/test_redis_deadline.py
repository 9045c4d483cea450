"""No call to Redis or memcached takes longer than its time limit, or than the platform leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio
from records import new_change, new_key, new_record

import holdfast
from holdfast import StoreThrottled
from holdfast._colour import run
from holdfast.stores import Store, from_url
from holdfast.stores._memcached_wire import Node
from holdfast.stores._redis_wire import Wire
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


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Once it is called, each exchange with Redis or memcached takes an hour, so to speak."""
    passed, pace = 0.0, 0.0

    def slowed(kind: Any, name: str) -> None:
        exchange = getattr(kind, name)

        async def ask(*arguments: Any) -> Any:
            nonlocal passed
            answer = await exchange(*arguments)
            passed += pace
            return answer

        monkeypatch.setattr(kind, name, ask)

    def begin() -> None:
        nonlocal pace
        pace = 3600.0

    monkeypatch.setattr("holdfast.deadline.monotonic", lambda: time.monotonic() + passed)
    slowed(Wire, "ask")
    slowed(Node, "_exchange")
    return begin


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("kind", ["redis_url", "redis_cluster", "memcached_url"])
def test_several_exchanges_of_a_call_have_one_time_limit(
    request: pytest.FixtureRequest, slow: Callable[[], None], kind: str, colour: str
) -> None:
    """Who answers slowly, though each time in time, does not hold a call up for as often as it takes to ask."""
    server = request.getfixturevalue(kind)
    store: Any = from_url(getattr(server, "url", server) + "?forgets=accepted" * (kind == "memcached_url"))
    owner, now = new_key(), time.time()
    owned = new_record(owner=owner)
    calls: dict[str, Callable[[str], Any]] = {"of": lambda _: store.of(owner)}
    if kind != "redis_url":
        calls["create"] = lambda _: store.create(new_key(), owned)
        calls["commit"] = lambda key: store.commit(key, new_change(owner="ann", expires_at=now + 7200))
    if kind == "redis_cluster":
        calls["end"] = lambda key: store.end(key, new_record(ended=True))
    if kind == "memcached_url":
        calls["put"] = lambda key: store.put_copy(key, 2, b"newer", 60.0)
        calls["fill"] = lambda _: store.fill_copy("claimed" + owner, b"mine", 1, b"data", 60.0)

    async def scenario() -> None:
        keys = [new_key() for _ in calls]
        for key in keys:
            await store.create(key, owned)
            await store.claim_copy(key, b"claim", 60.0)
            await store.fill_copy(key, b"claim", 1, b"data", 60.0)
        await store.claim_copy("claimed" + owner, b"mine", 60.0)
        slow()
        for (name, call), key in zip(calls.items(), keys, strict=True):
            with pytest.raises((redis.TimeoutError, TimeoutError, StoreThrottled)):
                pytest.fail(f"{name} came to its end: {await call(key)}")
            assert await store.load(key) is not None  # which is one exchange, and has its own
        await store.aclose()

    run(scenario()) if colour == "sync" else asyncio.run(scenario())


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
