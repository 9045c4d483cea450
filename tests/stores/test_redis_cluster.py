"""Redis Cluster: where commands go, what they cost, and what becomes of an owner's list."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from records import new_change, new_key, new_record

from holdfast import ConfigError
from holdfast._colour import run
from holdfast.stores import from_url
from holdfast.stores.redis import RedisStore
from servers.process import BUSY_SECONDS
from servers.redis_cluster import RedisCluster
from servers.redis_nodes import asked, client_of, replicated

Driver = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


def commands_of(cluster: RedisCluster, work: Callable[[], Any]) -> dict[str, int]:
    """Which commands the primaries together were sent by clients, scripts' own ones left out."""
    primaries = cluster.primaries()
    for node in primaries:
        asked(node, "CONFIG", "RESETSTAT")
    work()
    counts: dict[str, int] = {}
    for node in primaries:
        with client_of(node) as client:
            for name, facts in client.info("commandstats").items():
                counts[name.removeprefix("cmdstat_")] = (
                    counts.get(name.removeprefix("cmdstat_"), 0) + facts["calls"]
                )
    return {
        name: counts[name]
        for name in ("hgetall", "evalsha", "zrange", "zrem", "cluster|slots")
        if name in counts
    }


def test_what_each_call_costs(redis_cluster: RedisCluster, drive: Driver) -> None:
    """Loading and an ordinary change are one command; to create, renew or end a user's session takes one more."""
    store = RedisStore.from_url(redis_cluster.url)
    for _ in range(100):  # until all servers know the scripts, and all are connected
        key = new_key()
        drive(store.create(key, new_record(owner=key)))
        drive(store.commit(key, new_change(expires_at=time.time() + 900)))
        drive(store.end(key, new_record(ended=True)))
    key, owned = new_key(), new_key()
    cost = lambda call: commands_of(redis_cluster, lambda: drive(call()))  # noqa: E731
    assert cost(lambda: store.create(key, new_record())) == {"evalsha": 1}
    assert cost(lambda: store.create(owned, new_record(owner=owned))) == {"evalsha": 2}
    assert cost(lambda: store.load(owned)) == {"hgetall": 1}
    assert cost(lambda: store.commit(owned, new_change(set={"n": b"1"}))) == {"evalsha": 1}
    later = time.time() + 4000
    assert cost(lambda: store.commit(owned, new_change(expires_at=later)))["evalsha"] == 2
    assert cost(lambda: store.end(key, new_record(ended=True))) == {"evalsha": 1}
    assert cost(lambda: store.end(owned, new_record(ended=True))) == {"evalsha": 1, "zrem": 1}


def test_a_moved_slot_is_found(redis_cluster: RedisCluster, drive: Driver) -> None:
    """While a slot is moved, and after that, every read and change reaches the session, once."""
    store, key = RedisStore.from_url(redis_cluster.url), new_key()
    name = f"holdfast:s:{key}"
    drive(store.create(key, new_record()))
    source, target = redis_cluster.move(name)
    assert drive(store.commit(key, new_change(set={"asked": b"1"}))).version == 2
    assert drive(store.load(key)).values["asked"] == b"1"
    redis_cluster.finish_move(name, target)
    assert drive(store.commit(key, new_change(set={"moved": b"1"}))).version == 3
    assert drive(store.load(key, weak=True)) is not None
    assert drive(store.load(key)).version == 3
    assert source is not target


@pytest.mark.parametrize("drive", ["async"], indirect=True)
def test_a_failover_needs_no_restart(own_redis_cluster: RedisCluster, drive: Driver) -> None:
    """A primary that is silent or dead costs no more than the time limit; its sessions are there again with another.

    A change that it got late is not sent a second time.
    """
    store, key = RedisStore.from_url(f"{own_redis_cluster.url}?timeout=1"), new_key()
    drive(store.create(key, new_record()))
    drive(store.commit(key, new_change(set={"n": b"1"})))
    primary = own_redis_cluster.primary_of(f"holdfast:s:{key}")
    replica = own_redis_cluster.replica_of(f"holdfast:s:{key}")
    primary.freeze()
    began = time.monotonic()
    with pytest.raises(RedisStore.unavailable):
        drive(store.commit(key, new_change(set={"late": b"1"})))
    assert time.monotonic() - began < 1 + BUSY_SECONDS
    primary.thaw()
    assert drive(store.load(key)).version == 3  # it had arrived
    replicated(primary, replica)
    primary.kill()
    with pytest.raises(RedisStore.unavailable):
        drive(store.commit(key, new_change(set={"lost": b"1"})))
    own_redis_cluster.replace_after(0.5)
    own_redis_cluster.settle()
    assert drive(store.commit(key, new_change(set={"n": b"2"}))).version == 4
    primary.start()
    own_redis_cluster.settle()
    assert drive(store.load(key)).values == {"n": b"2", "late": b"1"}


def test_weak_reads_go_to_replicas(redis_cluster: RedisCluster, drive: Driver) -> None:
    """The primary of the shard is not asked, as long as the replica answers."""
    store, key = RedisStore.from_url(redis_cluster.url), new_key()
    drive(store.create(key, new_record()))
    primary = redis_cluster.primary_of(f"holdfast:s:{key}")
    drive(store.load(key, weak=True))
    asked(primary, "CONFIG", "RESETSTAT")
    for _ in range(5):
        drive(store.load(key, weak=True))
    assert "cmdstat_hgetall" not in asked(primary, "INFO", "commandstats")


class Crash(Exception):
    """The process is gone in the middle of a call."""


@pytest.mark.parametrize("act", ["create", "sign in", "renew", "end"])
def test_a_crash_between_two_commands(
    redis_cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """Wherever a call is cut off: no kept session is missed, no other is listed, and the rest dies by score."""
    key, owner, prefix = new_key(), new_key(), f"{new_key()}:"
    store = RedisStore.from_url(f"{redis_cluster.url}?prefix={prefix}")
    now = time.time()
    calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "create": lambda: store.create(key, new_record(owner=owner, life=100)),
        "sign in": lambda: store.commit(key, new_change(owner=owner, expires_at=now + 100)),
        "renew": lambda: store.commit(key, new_change(expires_at=now + 200)),
        "end": lambda: store.end(key, new_record(ended=True)),
    }
    if act != "create":
        run(store.create(key, new_record(owner=None if act == "sign in" else owner, life=90)))
    way, changes = store._way.ask, 0

    async def once(*commands: Any) -> list[Any]:
        nonlocal changes
        if changes == 1:
            raise Crash
        answers = await way(*commands)
        changes += commands[0][0] != b"HGETALL"  # a script that a server does not know has raised
        return answers

    run(store.load(key))
    monkeypatch.setattr(store._way, "ask", once)
    with pytest.raises(Crash):
        run(calls[act]())
    monkeypatch.undo()
    other = RedisStore.from_url(f"{redis_cluster.url}?prefix={prefix}")
    record = run(other.load(key))
    is_theirs = record is not None and record.owner == owner and not record.ended
    assert set(run(other.of(owner))) == ({key} if is_theirs else set())
    assert is_theirs == (act == "renew")
    name = f"{prefix}o:{_index(owner)}"
    with client_of(redis_cluster.primary_of(name)) as client:
        if act == "end":
            assert not client.exists(name)  # found ended, and taken out
        else:
            assert 0 < client.ttl(name) <= 261


def test_entries_of_an_owner_die_with_their_sessions(redis_cluster: RedisCluster, drive: Driver) -> None:
    """spring-session#2230: an owner's list loses what has expired, and dies with the last session."""
    prefix, owner = f"{new_key()}:", new_key()
    store = RedisStore.from_url(f"{redis_cluster.url}?prefix={prefix}")
    for start in (1000.0, 5000.0, 9000.0):
        key = new_key()
        drive(store.create(key, new_record(created_at=start, expires_at=start + 1800, owner=owner)))
    name = f"{prefix}o:{_index(owner)}"
    with client_of(redis_cluster.primary_of(name)) as client:
        assert client.zrange(name, 0, -1) == [key]
        assert 1850 < client.ttl(name) <= 1860
    drive(store.end(key, new_record(ended=True)))
    with client_of(redis_cluster.primary_of(name)) as client:
        assert not client.exists(name)


def test_the_entry_is_there_before_the_session_is(redis_cluster: RedisCluster) -> None:
    """An entry whose session is about to be committed is not thrown out by somebody who looks meanwhile."""
    key, owner = new_key(), new_key()
    store = RedisStore.from_url(redis_cluster.url)
    run(store.enter(owner, key, time.time() + 100, time.time()))
    assert run(store.of(owner)) == {}
    with client_of(redis_cluster.primary_of(f"holdfast:o:{_index(owner)}")) as client:
        assert client.zrange(f"holdfast:o:{_index(owner)}", 0, -1) == [key]


def test_a_scan_meets_what_is_being_moved(own_redis_cluster: RedisCluster, drive: Driver) -> None:
    """Of a slot on its way from one server to another, some sessions are on the one and some on the other already."""
    store, keys = RedisStore.from_url(own_redis_cluster.url), {new_key() for _ in range(20)}
    for key in keys:
        drive(store.create(key, new_record()))
    for key in sorted(keys)[:3]:
        own_redis_cluster.move(f"holdfast:s:{key}")
    met: set[str] = set()
    after = None
    while True:
        page = drive(store.scan(after, 1000))
        met |= page.records.keys()
        if (after := page.after) is None:
            break
    assert met == keys


def test_a_place_in_a_scan_survives_a_failover(own_redis_cluster: RedisCluster) -> None:
    """Slots stay what they are: going on after a primary has died meets all that was not met before."""
    store = RedisStore.from_url(own_redis_cluster.url)
    keys = {new_key() for _ in range(60)}
    for key in keys:
        run(store.create(key, new_record()))
    first = run(store.scan(None, 20))
    primary = own_redis_cluster.primary_of("x")
    replicated(primary, own_redis_cluster.replica_of("x"))
    primary.kill()
    own_redis_cluster.replace_after(0.5)
    own_redis_cluster.settle()
    other, met, after = RedisStore.from_url(own_redis_cluster.url), set(first.records), first.after
    assert len(met) < 60
    while after is not None:
        page = run(other.scan(after, 20))
        met.update(page.records)
        after = page.after
    assert met == keys
    assert run(other.count()) == 60


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://a,b", "several hosts"),
        ("redis+cluster://a:1,b:x", "host and port"),
        ("redis+cluster://:secret@a:1/3", "only the database 0"),
        ("redis+cluster://a?replica=b:1", "unknown option replica"),
        ("redis+sentinel://a:26379,b", "does not name the service"),
        ("redis+sentinel://a/sessions/x", "number of a database"),
    ],
)
def test_a_url_that_cannot_be_meant(url: str, says: str) -> None:
    """A wrong URL is an error at construction, in whose text there is no password."""
    with pytest.raises(ConfigError, match=says) as refusal:
        from_url(url)
    assert "secret" not in str(refusal.value)


def test_ready_clients_serve_their_own_kind_of_callers(redis_cluster: RedisCluster) -> None:
    """A blocking client is for sync callers and an asyncio one for async callers; both find their cluster."""
    port = redis_cluster.nodes[0].port
    assert RedisStore(redis.RedisCluster("127.0.0.1", port)).colours == {"sync"}
    assert RedisStore(redis.asyncio.RedisCluster("127.0.0.1", port)).colours == {"async"}
    with pytest.raises(ConfigError, match="found, not given"):
        RedisStore(redis.RedisCluster("127.0.0.1", port), replicas=[redis.Redis()])


def _index(owner: str) -> str:
    return hashlib.sha1(owner.encode(), usedforsecurity=False).hexdigest()
