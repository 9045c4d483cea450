"""Redis with sentinels: the primary is found, and found again after a failover."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from threading import Timer
from typing import Any

import pytest
import redis
from records import new_change, new_key, new_record
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.sentinel import Sentinel

from holdfast import ConfigError
from holdfast._colour import run
from holdfast.stores.redis import RedisStore
from servers.process import PATIENCE_SECONDS
from servers.redis_nodes import asked, replicated, settled
from servers.redis_sentinel import RedisSentinel

Driver = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


@pytest.mark.parametrize("drive", ["sync"], indirect=True)
def test_a_failover_needs_no_restart(own_redis_sentinel: RedisSentinel, drive: Driver) -> None:
    """The primary dies: calls are refused for a moment, then reach the new one, with all that it had got.

    That holds for a store from a URL, and for one on a ready client of redis-py's sentinels.
    """
    hosts = [("127.0.0.1", sentinel.port) for sentinel in own_redis_sentinel.sentinels]
    kind: Any = Sentinel if drive is run else AsyncSentinel
    client = kind(hosts, socket_timeout=1).master_for(own_redis_sentinel.service)
    stores = [
        RedisStore.from_url(f"{own_redis_sentinel.url}?timeout=1"),
        RedisStore(client, timeout=1),
    ]
    key = new_key()
    drive(stores[0].create(key, new_record()))
    for number, store in enumerate(stores):
        assert drive(store.commit(key, new_change(set={"n": b"1"}))).version == number + 2
    primary = own_redis_sentinel.primary()
    replicated(primary, *own_redis_sentinel.replicas())
    primary.kill()
    for store in stores:
        with pytest.raises((*RedisStore.unavailable, OSError)):
            drive(store.commit(key, new_change(set={"lost": b"1"})))
    own_redis_sentinel.replace_after(0.5)
    own_redis_sentinel.settle(not_at=primary)
    for number, store in enumerate(stores):
        assert drive(store.commit(key, new_change(set={"n": b"2"}))).version == number + 4
    own_redis_sentinel.restart(primary)
    own_redis_sentinel.settle(not_at=primary)
    for store in stores:
        assert drive(store.load(key)).values == {"n": b"2"}
    if drive is not run:
        drive(client.aclose())


def test_a_ready_client_says_where_the_sentinels_are(redis_sentinel: RedisSentinel) -> None:
    """Its sentinels, its database and its name are used, and replicas are found; the client itself is left alone."""
    hosts = [("127.0.0.1", sentinel.port) for sentinel in redis_sentinel.sentinels]
    client = Sentinel(hosts).master_for(redis_sentinel.service, db=3, client_name="shop")
    store, key = RedisStore(client), new_key()
    run(store.create(key, new_record()))
    assert client.exists(f"holdfast:s:{key}")
    assert [seen["db"] for seen in client.client_list() if seen["name"] == "shop"] == ["3", "3"]
    run(store.load(key, weak=True))
    asked(redis_sentinel.primary(), "CONFIG", "RESETSTAT")
    run(store.load(key, weak=True))
    assert "cmdstat_hgetall" not in asked(redis_sentinel.primary(), "INFO", "commandstats")
    store.close()
    client.close()


def test_a_client_of_replicas_is_refused(redis_sentinel: RedisSentinel) -> None:
    """It cannot be written to; and whatever replicas there are is found by the sentinels."""
    hosts = [("127.0.0.1", sentinel.port) for sentinel in redis_sentinel.sentinels]
    watch = Sentinel(hosts)
    primary, replica = (make(redis_sentinel.service) for make in (watch.master_for, watch.slave_for))
    plain = redis.Redis(port=redis_sentinel.nodes[0].port)
    for refused in (
        lambda: RedisStore(replica),
        lambda: RedisStore(primary, replicas=[replica]),
        lambda: RedisStore(plain, replicas=[replica]),
    ):
        with pytest.raises(ConfigError, match="found"):
            refused()
    moved = Sentinel(hosts, force_master_ip="127.0.0.2").master_for(redis_sentinel.service)
    with pytest.raises(ConfigError, match="force_master_ip"):
        RedisStore(moved)


def test_a_primary_that_wakes_up_too_late_is_left(own_redis_sentinel: RedisSentinel) -> None:
    """Frozen while another took over, it would still answer: it is not asked again once it has been told."""
    store, key = RedisStore.from_url(f"{own_redis_sentinel.url}?timeout=1"), new_key()
    run(store.create(key, new_record()))
    old = own_redis_sentinel.primary()
    replicated(old, *own_redis_sentinel.replicas())
    own_redis_sentinel.replace_after(0.5)
    old.freeze()
    settled(lambda: own_redis_sentinel.primary() is not old, "nobody takes over")
    old.thaw()
    new = own_redis_sentinel.primary()
    settled(lambda: "role:master" in asked(new, "INFO", "replication"), "nobody takes over")
    # What the sentinels do to it within ten seconds, or as many minutes.
    asked(old, "REPLICAOF", "127.0.0.1", new.port)
    asked(old, "CLIENT", "KILL", "TYPE", "normal")
    with suppress(redis.ConnectionError):
        run(store.load(key))  # Redis has closed the connection
    asked(old, "CONFIG", "RESETSTAT")
    assert run(store.commit(key, new_change(set={"n": b"1"}))).version == 2
    assert run(store.load(key)).values == {"n": b"1"}
    assert "cmdstat_hgetall" not in asked(old, "INFO", "commandstats")


def test_a_primary_without_its_replicas_is_left(own_redis_sentinel: RedisSentinel, drive: Driver) -> None:
    """Its replica has taken over, and it has not heard of it; but it takes no changes without one.

    The sentinels are asked again, and the next call reaches the new primary.
    """
    store, key = RedisStore.from_url(own_redis_sentinel.url), new_key()
    old, new = own_redis_sentinel.nodes
    assert asked(old, "CONFIG", "SET", "min-replicas-to-write", 1) == "OK"
    drive(store.create(key, new_record()))
    replicated(old, new)
    assert asked(new, "REPLICAOF", "NO", "ONE") == "OK"
    settled(lambda: "connected_slaves:0" in asked(old, "INFO", "replication"), "it has a replica still")
    for watcher in own_redis_sentinel.sentinels:
        assert asked(watcher, "SENTINEL", "REMOVE", own_redis_sentinel.service) == "OK"
        place = ("127.0.0.1", new.port, 2)
        assert asked(watcher, "SENTINEL", "MONITOR", own_redis_sentinel.service, *place) == "OK"
    with pytest.raises(RedisStore.unavailable, match="NOREPLICAS"):
        drive(store.commit(key, new_change()))
    assert drive(store.commit(key, new_change())).version == 2


def test_weak_reads_go_to_the_replica(redis_sentinel: RedisSentinel, drive: Driver) -> None:
    """The replica is found by the sentinels; the primary is not asked."""
    store, key = RedisStore.from_url(redis_sentinel.url), new_key()
    drive(store.create(key, new_record()))
    drive(store.load(key, weak=True))
    asked(redis_sentinel.primary(), "CONFIG", "RESETSTAT")
    for _ in range(5):
        drive(store.load(key, weak=True))
    assert "cmdstat_hgetall" not in asked(redis_sentinel.primary(), "INFO", "commandstats")


def test_sentinels_that_are_away_are_passed_over(redis_sentinel: RedisSentinel, drive: Driver) -> None:
    """Any one of the sentinels is enough; with none the call is refused in time."""
    service = redis_sentinel.service
    port = redis_sentinel.sentinels[0].port
    store = RedisStore.from_url(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/{service}")
    assert drive(store.load("x")) is None
    nobody = RedisStore.from_url(f"redis+sentinel://127.0.0.1:1,127.0.0.1:2/{service}?timeout=1")
    with pytest.raises(RedisStore.unavailable):
        drive(nobody.load("x"))
    unknown = RedisStore.from_url(f"redis+sentinel://127.0.0.1:{port}/others")
    with pytest.raises(RedisStore.unavailable, match="no sentinel names a primary"):
        drive(unknown.load("x"))


def test_a_slow_sentinel_is_waited_for_where_no_other_answers(
    own_redis_sentinel: RedisSentinel, drive: Driver
) -> None:
    """It is left for another one soon, and asked again with the time that the call has: slow is not away."""
    slow = own_redis_sentinel.sentinels[0]
    place = f"127.0.0.1:1,127.0.0.1:{slow.port}/{own_redis_sentinel.service}"
    store = RedisStore.from_url(f"redis+sentinel://{place}?timeout={PATIENCE_SECONDS}")
    slow.freeze()
    thaw = Timer(0.6, slow.thaw)
    thaw.start()
    try:
        assert drive(store.load("x")) is None
    finally:
        thaw.join()
        slow.thaw()
        drive(store.aclose())
