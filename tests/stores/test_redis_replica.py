"""Weak reads of the store in Redis: from a real replica, whose replication stops and goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis
import redis.asyncio
from records import new_change, new_key, new_record

from holdfast._colour import run
from holdfast.errors import ConfigError
from holdfast.stores import from_url
from holdfast.stores.redis import RedisStore
from holdfast.testing import conformance
from servers.process import BUSY_SECONDS, PATIENCE_SECONDS
from servers.redis import RedisReplica, RedisServer

Driver = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Any:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


@pytest.fixture
def store(redis_server: RedisServer, redis_replica: RedisReplica) -> RedisStore:
    """A store with one replica."""
    return RedisStore.from_url(f"{redis_server.url}/0?replica=127.0.0.1:{redis_replica.port}")


def reads(server: RedisServer) -> int:
    """How many sessions the server was asked for."""
    with redis.Redis.from_url(server.url) as client:
        stats: dict[str, Any] = client.info("commandstats").get("cmdstat_hgetall", {})
    return int(stats.get("calls", 0))


def replicated(redis_server: RedisServer) -> None:
    """Return when the replica has all that was written so far."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("marker", "x")
        assert client.wait(1, 5000) == 1


def test_weak_reads_go_to_the_replica_and_strong_ones_to_the_primary(
    store: RedisStore, redis_server: RedisServer, redis_replica: RedisReplica, drive: Driver
) -> None:
    """One command each, on the one server and not on the other."""
    key, record = new_key(), new_record()
    drive(store.create(key, record))
    replicated(redis_server)
    counts = reads(redis_server), reads(redis_replica)
    assert drive(store.load(key, weak=True)) == record
    assert (reads(redis_server), reads(redis_replica)) == (counts[0], counts[1] + 1)
    assert drive(store.load(key)) == record
    assert (reads(redis_server), reads(redis_replica)) == (counts[0] + 1, counts[1] + 1)


def test_while_replication_is_paused_weak_reads_are_old_and_strong_ones_are_not(
    store: RedisStore, redis_server: RedisServer, redis_replica: RedisReplica, drive: Driver
) -> None:
    """A replica that lags shows an earlier version, misses new sessions and has ended ones still alive."""
    changed, ended, new = new_key(), new_key(), new_key()
    first = new_record()
    drive(store.create(changed, first))
    drive(store.create(ended, first))
    replicated(redis_server)
    redis_replica.pause()
    second = drive(store.commit(changed, new_change(set={"n": b"1"})))
    grave = new_record(version=2, ended=True)
    drive(store.end(ended, grave))
    drive(store.create(new, first))
    assert drive(store.load(changed, weak=True)) == first
    assert drive(store.load(ended, weak=True)) == first
    assert drive(store.load(new, weak=True)) is None
    assert drive(store.load(changed)) == second
    assert drive(store.load(ended)) == grave
    assert drive(store.load(new)) == first
    redis_replica.resume()
    assert drive(store.load(changed, weak=True)) == second
    assert drive(store.load(ended, weak=True)) == grave
    assert drive(store.load(new, weak=True)) == first


@pytest.mark.parametrize("paused", [False, True], ids=["following", "paused"])
def test_the_law_holds_over_a_replica(
    redis_server: RedisServer, redis_replica: RedisReplica, paused: bool
) -> None:
    """A store with a replica keeps the whole law for stores, also while the replica hears of nothing."""
    if paused:
        redis_replica.pause()
    url = f"{redis_server.url}/0?replica=127.0.0.1:{redis_replica.port}"
    conformance(lambda: RedisStore.from_url(url))


def test_a_replica_that_is_down_is_left_alone_for_a_while(
    store: RedisStore, redis_server: RedisServer, redis_replica: RedisReplica, drive: Driver
) -> None:
    """The primary answers instead; and when the replica is back it is asked again, without a restart of anything."""
    key, record = new_key(), new_record()
    drive(store.create(key, record))
    redis_replica.kill()
    for _ in range(20):
        assert drive(store.load(key, weak=True)) == record
    assert reads(redis_server) == 20
    redis_replica.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while reads(redis_replica) == 0:
        assert drive(store.load(key, weak=True)) == record
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_replica_that_does_not_answer_costs_its_time_limit_once(
    store: RedisStore, redis_replica: RedisReplica, drive: Driver
) -> None:
    """A frozen replica holds up one request for a quarter of a second, and not each."""
    key, record = new_key(), new_record()
    drive(store.create(key, record))
    redis_replica.freeze()
    began = time.monotonic()
    for _ in range(120):
        assert drive(store.load(key, weak=True)) == record
    assert 0.1 < time.monotonic() - began < BUSY_SECONDS


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_replica_of_a_ready_client_is_waited_for_no_longer(
    redis_server: RedisServer, redis_replica: RedisReplica, colour: str
) -> None:
    """However long the time limit of the store and of the client is."""
    key, record = new_key(), new_record()
    run(RedisStore.from_url(redis_server.url).create(key, record))
    redis_replica.freeze()

    async def scenario(kind: Any) -> None:
        primary, replica = (
            kind(port=server.port, socket_timeout=60) for server in (redis_server, redis_replica)
        )
        store = RedisStore(primary, replicas=[replica], timeout=60)
        assert await store.load(key, weak=True) == record
        await store.aclose()
        if colour == "async":
            await primary.aclose()
            await replica.aclose()

    began = time.monotonic()
    run(scenario(redis.Redis)) if colour == "sync" else asyncio.run(scenario(redis.asyncio.Redis))
    assert time.monotonic() - began < BUSY_SECONDS


def test_what_a_replica_took_is_not_left_for_the_primary(
    redis_server: RedisServer, redis_replica: RedisReplica, drive: Driver
) -> None:
    """A weak read has one time limit, whoever is asked."""
    store = RedisStore.from_url(f"{redis_server.url}?timeout=1&replica=127.0.0.1:{redis_replica.port}")
    drive(store.load("x"))  # so that there is a connection, which says how long it was waited for
    redis_replica.freeze()
    redis_server.freeze()
    with pytest.raises(redis.TimeoutError, match=r"within 0\."):
        drive(store.load("x", weak=True))


def test_without_a_replica_a_weak_read_asks_the_primary(redis_server: RedisServer) -> None:
    """`weak` is a permission, not a demand."""
    store, key, record = RedisStore.from_url(redis_server.url), new_key(), new_record()
    run(store.create(key, record))
    assert run(store.load(key, weak=True)) == record


def test_several_replicas_share_the_weak_reads(
    redis_server: RedisServer, redis_replica: RedisReplica, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each of them is asked now and then; `replica` is written once for each."""
    with RedisReplica(tmp_path_factory.mktemp("second"), redis_server) as second:
        places = "&".join(f"replica=127.0.0.1:{server.port}" for server in (redis_replica, second))
        store, key = RedisStore.from_url(f"{redis_server.url}?{places}"), new_key()
        run(store.create(key, new_record()))
        for _ in range(40):
            run(store.load(key, weak=True))
        assert reads(redis_replica) > 5
        assert reads(second) > 5
        assert reads(redis_server) == 0


def test_ready_clients_of_replicas(redis_server: RedisServer, redis_replica: RedisReplica) -> None:
    """The replicas' clients may be handed in; they have to be of the same kind as the primary's."""
    primary, replica = redis.Redis.from_url(redis_server.url), redis.Redis.from_url(redis_replica.url)
    store, key = RedisStore(primary, replicas=[replica]), new_key()
    run(store.create(key, new_record()))
    replicated(redis_server)
    assert run(store.load(key, weak=True)) is not None
    assert reads(redis_server) == 0
    with pytest.raises(ConfigError, match="same kind"):
        RedisStore(primary, replicas=[redis.asyncio.Redis()])


@pytest.mark.parametrize("replica", ["", ":6379", "host:x", "host:99999", "user@host", "host/0"])
def test_replicas_that_are_no_place_are_refused(replica: str) -> None:
    """A mistake in the URL is an error at construction that says what to write."""
    with pytest.raises(ConfigError, match="replica=host:6379"):
        from_url(f"redis://cache?replica={replica}")
