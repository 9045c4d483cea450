"""The shared cache while it fails: no request fails with it, and its time limit is paid once."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest
from holders import Switched, filled, record_at

from holdfast._colour import run
from holdfast.copies.cache import SharedCache, holder_of
from holdfast.stores.breaker import Breaker
from holdfast.stores.memcached import MemcachedStore
from holdfast.stores.memory import MemoryStore
from holdfast.testing import FakeClock
from servers.memcached import MemcachedServer
from servers.process import Server
from servers.redis import RedisServer


@pytest.fixture
def clock() -> FakeClock:
    """The clock of the application."""
    return FakeClock()


@pytest.fixture
def holder(clock: FakeClock) -> Switched:
    """Holds copies, and can be switched off."""
    return Switched(MemoryStore(clock=clock))


def test_no_failure_is_raised_and_each_says_why(holder: Switched, clock: FakeClock) -> None:
    """A look finds nothing, a put and a fill are not confirmed."""
    holder.on = False
    cache = SharedCache(holder, clock=clock)
    look = run(cache.look("key"))
    assert (look.record, look.claim, look.why) == (None, None, "down")
    assert run(cache.look("key")).why == "breaker open"
    assert not run(cache.put("key", record_at(clock), clock.now))
    assert not run(cache.fill("key", b"claim", record_at(clock), clock.now))


def test_a_dead_cache_is_asked_once_and_then_less_and_less(holder: Switched, clock: FakeClock) -> None:
    """At 0, 1, 3, 7 and 15 seconds, and from then on every 15: not with each of 1000 requests a second."""
    holder.on = False
    cache, began, asked = SharedCache(holder, clock=clock), clock.now, []
    for _ in range(560):
        for _ in range(3):
            before = len(holder.calls)
            run(cache.look("key"))
            if len(holder.calls) > before:
                asked.append(clock.now - began)
        clock.advance(0.125)
    assert asked == [0.0, 1.0, 3.0, 7.0, 15.0, 30.0, 45.0, 60.0]
    assert len(holder.calls) == len(asked)


def test_it_recovers_by_itself(holder: Switched, clock: FakeClock) -> None:
    """The first request after the pause that is answered lets all others in again, and resets the pauses."""
    holder.on = False
    cache = SharedCache(holder, clock=clock)
    for seconds in (1.0, 2.0, 4.0, 8.0):
        run(cache.look("key"))
        clock.advance(seconds)
    holder.on = True
    run(filled(cache, "key", record_at(clock), clock.now))
    assert run(cache.look("key")).record is not None
    holder.on = False
    assert run(cache.look("key")).why == "down"
    clock.advance(1.0)
    holder.on = True
    assert run(cache.look("key")).record is not None


def test_while_one_request_tries_the_others_do_not_wait(clock: FakeClock) -> None:
    """Half open: a probe that hangs holds up nobody else."""
    breaker = Breaker(clock)
    assert breaker.admits()
    assert breaker.failed()
    clock.advance(1.0)
    assert breaker.admits()
    assert not breaker.admits()
    breaker.gave_up()  # its request was cancelled
    assert breaker.admits()
    assert breaker.failed()
    clock.advance(1.9)
    assert not breaker.admits()


def test_failures_at_the_same_time_count_once(clock: FakeClock) -> None:
    """Fifty requests that were waiting when the cache died do not shut it out for 15 seconds."""
    breaker = Breaker(clock)
    assert all(breaker.admits() for _ in range(50))
    assert [breaker.failed() for _ in range(50)].count(True) == 1
    clock.advance(1.0)
    assert breaker.admits()


def test_a_clock_that_is_set_back_does_not_shut_the_cache_out(holder: Switched, clock: FakeClock) -> None:
    """A pause never becomes longer than it was meant to be."""
    holder.on = False
    cache = SharedCache(holder, clock=clock)
    run(cache.look("key"))
    holder.on = True
    clock.advance(-3600.0)
    assert run(cache.look("key")).why == "miss"


def test_a_cancelled_request_is_not_a_failure(clock: FakeClock) -> None:
    """Cancellation goes through, as it must, and the next request asks the cache as ever."""

    class Slow(MemoryStore):
        async def get_copy(self, key: str) -> bytes | None:
            if key == "slow":
                await asyncio.sleep(60)
            return await super().get_copy(key)

    async def scenario() -> str | None:
        cache = SharedCache(Slow(), clock=clock)
        waiting = asyncio.create_task(cache.look("slow"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return (await cache.look("key")).why

    assert asyncio.run(scenario()) == "miss"


def test_each_pause_is_told_once(holder: Switched, clock: FakeClock) -> None:
    """One event when the cache is left alone, and one for each try that failed; without anybody's key in it."""
    events: list[tuple[str, str]] = []
    cache = SharedCache(holder, clock=clock, on_event=lambda kind, *, detail: events.append((kind, detail)))
    run(cache.look("secret"))
    holder.on = False
    for _ in range(10):
        run(cache.look("secret"))
    assert events == [("cache bypassed", "ConnectionError")]
    clock.advance(1.0)
    for _ in range(10):
        run(cache.look("secret"))
    assert events == [("cache bypassed", "ConnectionError")] * 2


def test_of_several_servers_only_the_dead_one_is_left_alone(clock: FakeClock) -> None:
    """A memcached that fails does not take the copies of the others with it."""
    with MemcachedServer() as one, MemcachedServer() as other:
        store = MemcachedStore(one.address, other.address, timeout=0.25)
        cache = SharedCache(store, clock=clock)
        keys = [secrets.token_hex(32) for _ in range(20)]
        for key in keys:
            run(filled(cache, key, record_at(clock), clock.now))
        one.kill()
        confirmed = {key for key in keys if run(cache.put(key, record_at(clock), clock.now))}
        assert confirmed == {key for key in keys if store.node_of(key) == 1}
        assert {key for key in keys if run(cache.look(key)).record is not None} == confirmed


@pytest.fixture(params=["redis", "memcached"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A real cache, for one test alone."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        yield server
    else:
        other: MemcachedServer = request.getfixturevalue("memcached_server")
        yield other


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


def test_a_frozen_cache_costs_one_time_limit(server: Any, clock: FakeClock, drive: Any) -> None:
    """A hundred requests take a quarter of a second together; when it thaws all is well without a restart."""
    cache, key = SharedCache(holder_of(server.url), clock=clock), secrets.token_hex(32)
    drive(filled(cache, key, record_at(clock, 1), clock.now))
    server.freeze()
    began = time.monotonic()
    for _ in range(100):
        assert drive(cache.look(key)).record is None
        assert not drive(cache.put(key, record_at(clock, 2), clock.now))
    assert 0.1 < time.monotonic() - began < 10, "two hundred time limits would be 50 s"
    server.thaw()
    clock.advance(1.0)
    newer = record_at(clock, 3)
    assert drive(cache.put(key, newer, clock.now))
    assert drive(cache.look(key)).record == newer


def test_a_dead_cache_comes_back_empty_or_not_and_works(server: Any, clock: FakeClock, drive: Any) -> None:
    """Killed and started again: the next request after the pause uses it."""
    cache, key = SharedCache(holder_of(server.url), clock=clock), secrets.token_hex(32)
    assert drive(cache.put(key, record_at(clock, 1), clock.now))
    server.kill()
    assert drive(cache.look(key)).why == "down"
    assert drive(cache.look(key)).why == "breaker open"
    server.start()
    clock.advance(1.0)
    newer = record_at(clock, 2)
    drive(filled(cache, key, newer, clock.now))
    assert drive(cache.look(key)).record == newer
