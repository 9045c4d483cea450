"""The store in Redis: what it costs, what it leaves behind, and what it refuses."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
import redis.asyncio
from records import new_change, new_key, new_record

from holdfast._colour import run
from holdfast.errors import ConfigError, SessionGone
from holdfast.stores import from_url
from holdfast.stores import redis as redis_store
from holdfast.stores.redis import RedisStore
from servers.redis import RedisServer


class Monitor:
    """Redis' own list of the commands that it was sent, without those of scripts."""

    def __init__(self, url: str) -> None:
        self._port = redis.Redis.from_url(url).connection_pool.connection_kwargs["port"]

    @contextmanager
    def watch(self) -> Iterator[list[str]]:
        """The names of the commands that other clients send in the meantime, filled in at the end."""
        names: list[str] = []
        with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
            connection.sendall(b"MONITOR\r\n")
            lines = connection.makefile("rb")
            assert lines.readline() == b"+OK\r\n"
            yield names
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as other:
                other.sendall(b"ECHO that-is-all\r\n")
                for line in lines:
                    if b"that-is-all" in line:
                        return
                    if b" lua] " not in line:
                        names.append(line.split(b'"')[1].decode().upper())


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_each_call_is_one_command(redis_url: str, colour: str) -> None:
    """Loading, creating, changing and ending cost one command each; listing two exchanges."""
    store, owner = RedisStore.from_url(redis_url), new_key()

    async def calls() -> None:
        key = new_key()
        await store.create(key, new_record(owner=owner))
        await store.load(key)
        await store.commit(key, new_change(set={"a": b"1"}, owner=owner, expires_at=time.time() + 60))
        await store.of(owner)
        await store.end(key, new_record(ended=True, owner=owner))

    async def scenario() -> list[str]:
        await calls()  # connects, and teaches Redis the scripts
        with Monitor(redis_url).watch() as commands:
            await calls()
        await store.aclose()
        return commands

    commands = run(scenario()) if colour == "sync" else asyncio.run(scenario())
    assert commands == ["EVALSHA", "HGETALL", "EVALSHA", "ZRANGE", "HGETALL", "EVALSHA"]


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_each_call_for_a_copy_is_one_command(redis_url: str, colour: str) -> None:
    """Reading a copy, claiming its place, filling it and putting a copy cost one command each."""
    store = RedisStore.from_url(redis_url)

    async def calls() -> None:
        key = new_key()
        await store.claim_copy(key, b"claim", 60.0)
        await store.fill_copy(key, b"claim", 1, b"copy", 60.0)
        await store.put_copy(key, 2, b"newer", 60.0)
        await store.get_copy(key)

    async def scenario() -> list[str]:
        await calls()  # connects, and teaches Redis the scripts
        with Monitor(redis_url).watch() as commands:
            await calls()
        await store.aclose()
        return commands

    commands = run(scenario()) if colour == "sync" else asyncio.run(scenario())
    assert commands == ["SET", "EVALSHA", "EVALSHA", "GET"]


def test_copies_go_when_their_life_is_over(redis_url: str) -> None:
    """Neither a copy nor a claim stays longer than it was told to; a copy of a lower rank prolongs nothing."""
    prefix, client, key = f"{new_key()}:", redis.Redis.from_url(redis_url), new_key()
    store = RedisStore(client, prefix=prefix)
    run(store.claim_copy(key, b"claim", 2.0))
    assert 1_000 < client.pttl(f"{prefix}c:{key}") <= 2_000
    run(store.fill_copy(key, b"claim", 5, b"copy", 20.0))
    assert 19_000 < client.pttl(f"{prefix}c:{key}") <= 20_000
    run(store.put_copy(key, 6, b"copy", 0.3))
    run(store.put_copy(key, 5, b"older", 60.0))
    assert 0 < client.pttl(f"{prefix}c:{key}") <= 300
    wait_until(lambda: not client.exists(f"{prefix}c:{key}"))
    assert run(store.get_copy(key)) is None


def test_a_script_that_redis_has_lost_is_sent_again(redis_url: str) -> None:
    """After SCRIPT FLUSH, or a restart, the next change works and brings the script back."""
    store, key = RedisStore.from_url(redis_url), new_key()
    run(store.create(key, new_record()))
    run(store.commit(key, new_change()))
    redis.Redis.from_url(redis_url).script_flush()
    with Monitor(redis_url).watch() as commands:
        assert run(store.commit(key, new_change())).version == 3
        assert run(store.commit(key, new_change())).version == 4
    assert commands == ["EVALSHA", "EVAL", "EVALSHA"]


@pytest.mark.parametrize(
    "fields",
    [
        {"set": {"n": b"1"}},
        {"set": {"n": b"1", "more": b"2"}, "base": 2},
        {"unset": frozenset({"n"})},
        {"set": {"more": b"2"}, "unset": frozenset({"n"})},
        {"owner": "ann"},
        {"expires_at": 4_000_000_000.25},
        {},
    ],
)
@pytest.mark.parametrize("others_change_it_too", [False, True])
def test_a_change_to_what_was_just_loaded(redis_url: str, fields: dict, others_change_it_too: bool) -> None:
    """The record that commit returns is the one that is stored, whether or not another instance was quicker."""
    store, other, key = RedisStore.from_url(redis_url), RedisStore.from_url(redis_url), new_key()
    run(store.create(key, new_record()))
    run(store.commit(key, new_change(set={"a": b"mine"})))
    run(store.load(key))
    if others_change_it_too:
        fields = {name: value for name, value in fields.items() if name != "base"}
        run(other.commit(key, new_change(set={"b": b"theirs"})))
    change = new_change(**fields)
    result = run(store.commit(key, change))
    assert result == run(other.load(key))
    assert result.version == 3 + others_change_it_too
    assert ("b" in result.values) == others_change_it_too
    assert run(store.commit(key, change)) == result  # a repeat


def test_what_was_just_loaded_does_not_revive_what_has_ended(redis_url: str) -> None:
    """Another instance ends the session between load and commit, with a tombstone of whatever tag."""
    for fields in ({"tag": b"12345678"}, {}):
        store, other, key = RedisStore.from_url(redis_url), RedisStore.from_url(redis_url), new_key()
        record = new_record()
        run(store.create(key, record))
        run(store.load(key))
        run(other.end(key, record._replace(version=2, values={}, ended=True, **fields)))
        with pytest.raises(SessionGone):
            run(store.commit(key, new_change(set={"n": b"1"})))
        assert run(other.load(key)).ended


def test_what_was_just_loaded_and_has_expired_is_gone(redis_url: str) -> None:
    """The deadline that was loaded is kept, to the very moment."""
    store, key, record = RedisStore.from_url(redis_url), new_key(), new_record()
    run(store.create(key, record))
    run(store.load(key))
    with pytest.raises(SessionGone):
        run(store.commit(key, new_change(now=record.expires_at)))


def test_little_is_kept_of_what_was_loaded(redis_url: str) -> None:
    """However many sessions pass through an instance, and however large they are: a few small ones stay."""
    store, number = RedisStore.from_url(redis_url), 100
    for size in (100, 1_000_000):
        for _ in range(number if size == 100 else 3):
            key = new_key()
            run(store.create(key, new_record(values={"n": b"x" * size})))
            run(store.load(key))
    kept = [len(record.values["n"]) for record, _ in store._recent._held.values()]
    assert 0 < len(kept) < number
    assert max(kept) == 100


def test_many_changes_in_one_are_applied_whole(redis_url: str) -> None:
    """More values than Lua passes at once are set and removed like a few."""
    store, key = RedisStore.from_url(redis_url), new_key()
    values = {f"name {number}": b"%d" % number for number in range(20_000)}
    run(store.create(key, new_record(values=values)))
    names = list(values)
    result = run(store.commit(key, new_change(set={"n": b"1"}, unset=frozenset(names[1:]))))
    assert result.values == {names[0]: b"0", "n": b"1"}
    assert run(store.commit(key, new_change(set=values))).values == values | {"n": b"1"}


def test_redis_collects_what_expired_by_a_clock_that_is_not_its_own(redis_url: str) -> None:
    """How long a record is kept follows from its own times, which a test or a wrong clock may have made up."""
    store, key, client = RedisStore.from_url(redis_url), new_key(), redis.Redis.from_url(redis_url)
    run(store.create(key, new_record(created_at=1000.0, expires_at=1600.0)))
    assert 650_000 < client.pttl(f"holdfast:s:{key}") <= 660_000
    run(store.commit(key, new_change(now=1100.0, expires_at=2300.0)))
    assert 1_250_000 < client.pttl(f"holdfast:s:{key}") <= 1_260_000
    run(store.commit(key, new_change(now=1100.0, expires_at=0.0)))
    assert 50_000 < client.pttl(f"holdfast:s:{key}") <= 60_000
    run(store.end(key, new_record(created_at=1000.0, expires_at=1100.0, ended=True)))
    assert 150_000 < client.pttl(f"holdfast:s:{key}") <= 160_000


def test_entries_of_an_owner_die_with_their_sessions(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that just expire leave nothing behind: no entry in the owner's list, no list, no key at all."""
    monkeypatch.setattr(redis_store, "_MARGIN_SECONDS", 0.0)
    prefix, client = f"{new_key()}:", redis.Redis.from_url(redis_url)
    store = RedisStore(client, prefix=prefix)
    short, long = new_key(), new_key()
    run(store.create(short, new_record(life=1.0, owner="ann")))
    run(store.create(long, new_record(life=2.5, owner="ann")))
    assert set(run(store.of("ann"))) == {short, long}
    wait_until(lambda: not client.exists(f"{prefix}s:{short}"))
    assert set(run(store.of("ann"))) == {long}
    (index,) = client.keys(f"{prefix}o:*")
    assert client.zrange(index, 0, -1) == [long.encode()]
    wait_until(lambda: not client.keys(f"{prefix}*"))
    assert run(store.of("ann")) == {}


def test_dead_entries_go_when_their_owner_signs_in_again(redis_url: str) -> None:
    """A list that nobody looks at does not grow: each new session of the owner takes out the expired ones."""
    prefix, client = f"{new_key()}:", redis.Redis.from_url(redis_url)
    store = RedisStore(client, prefix=prefix)
    for start in (1000.0, 5000.0, 9000.0):
        key = new_key()
        run(store.create(key, new_record(created_at=start, expires_at=start + 1800, owner="ann")))
    (index,) = client.keys(f"{prefix}o:*")
    assert client.zrange(index, 0, -1) == [key.encode()]


def test_an_ended_session_leaves_the_list_at_once(redis_url: str) -> None:
    """The tombstone stays, the entry does not; the list of an owner without sessions is gone."""
    prefix, client, key = f"{new_key()}:", redis.Redis.from_url(redis_url), new_key()
    store = RedisStore(client, prefix=prefix)
    run(store.create(key, new_record(owner="ann")))
    run(store.end(key, new_record(owner="ann", ended=True)))
    assert client.keys(f"{prefix}*") == [f"{prefix}s:{key}".encode()]


def test_applications_with_other_prefixes_do_not_meet(redis_url: str) -> None:
    """Two applications may share a Redis, and a user of both."""
    one, other = (from_url(f"{redis_url}?prefix={name}:") for name in (new_key(), new_key()))
    key, owner = new_key(), new_key()
    run(one.create(key, new_record(owner=owner)))
    assert run(other.load(key)) is None
    assert run(other.of(owner)) == {}
    with pytest.raises(SessionGone):
        run(other.commit(key, new_change()))


def test_a_full_redis_refuses_changes_whole(redis_server: RedisServer) -> None:
    """Without memory a change is throttled, leaves nothing half done, and reading goes on."""
    client, key, record = redis.Redis.from_url(redis_server.url), new_key(), new_record(owner="ann")
    store = RedisStore(client)
    run(store.create(key, record))
    client.config_set("maxmemory", 1)
    with pytest.raises(RedisStore.throttled):
        run(store.commit(key, new_change(set={"n": b"1"}, owner="bob")))
    with pytest.raises(RedisStore.throttled):
        run(store.create(new_key(), new_record(owner="bob")))
    assert run(store.load(key)) == record
    assert set(run(store.of("ann"))) == {key}
    assert run(store.of("bob")) == {}
    client.config_set("maxmemory", 0)
    assert run(store.commit(key, new_change())).version == 2


def test_a_redis_that_has_become_a_replica_is_an_outage(redis_server: RedisServer) -> None:
    """After a failover the old primary refuses changes: that means StoreUnavailable, and is over in time."""
    client, key = redis.Redis.from_url(redis_server.url), new_key()
    store = RedisStore(client)
    run(store.create(key, new_record()))
    client.replicaof("127.0.0.1", "1")
    with pytest.raises(RedisStore.unavailable):
        run(store.commit(key, new_change()))
    assert run(store.load(key)) is not None
    client.replicaof("NO", "ONE")
    assert run(store.commit(key, new_change())).version == 2


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://127.0.0.1:port", "host and port"),
        ("redis://127.0.0.1:99999", "host and port"),
        ("redis://:secret/x@127.0.0.1", "host and port"),
        ("redis://:secret#x@127.0.0.1:1", "host and port"),
        ("redis://:12?secret@127.0.0.1:1", "unknown option;"),
        ("redis://127.0.0.1/zero", "number of a database"),
        ("redis://127.0.0.1/0/1", "number of a database"),
        (
            "redis://127.0.0.1?socket_timeout=1",
            "unknown option socket_timeout; known are timeout, connections",
        ),
        ("redis://127.0.0.1?timeout=soon", "timeout='soon'"),
        ("redis://127.0.0.1?timeout=-1", "timeout=-1"),
        ("redis://127.0.0.1?connections=1.5", "connections='1.5'"),
        ("redis://127.0.0.1?connections=0", "connections=0"),
        ("redis://127.0.0.1?ca=/missing.pem", "unknown option ca"),
        ("rediss://127.0.0.1?ca=/missing.pem", "file that is not there: /missing.pem"),
    ],
)
def test_a_url_that_cannot_be_meant(url: str, says: str) -> None:
    """A wrong URL is an error at construction, in whose text there is no password."""
    with pytest.raises(ConfigError) as refusal:
        from_url(url)
    assert says in str(refusal.value)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("client", ["redis://127.0.0.1", object(), redis.ConnectionPool()])
def test_a_client_that_cannot_be_used(client: object) -> None:
    """What is no client of redis-py's is refused at construction."""
    with pytest.raises(ConfigError, match=r"takes a redis\.Redis or a redis\.asyncio\.Redis"):
        RedisStore(client)  # type: ignore[arg-type]  # that is the mistake


def test_which_callers_a_store_is_for(redis_url: str) -> None:
    """A ready client serves its own kind of callers, a URL both."""
    assert RedisStore(redis.Redis()).colours == {"sync"}
    assert RedisStore(redis.asyncio.Redis()).colours == {"async"}
    assert from_url(redis_url).colours == {"sync", "async"}  # type: ignore[attr-defined]  # optional on a store


def test_a_password_with_any_signs_in_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    """User and password are read from the URL with their escapes, for both colours."""
    directory = tmp_path_factory.mktemp("redis")
    with RedisServer(directory, options=("--requirepass", "a/b?c#d@e:f")) as server:
        address = f"127.0.0.1:{server.port}"
        for user in ("", "default"):
            store = from_url(f"redis://{user}:a%2Fb%3Fc%23d%40e%3Af@{address}/1")
            assert run(store.load("x")) is None
            assert asyncio.run(store.load("x")) is None
        with pytest.raises(RedisStore.unavailable):
            run(from_url(f"redis://:wrong@{address}").load("x"))


def wait_until(happened, seconds: float = 5.0) -> None:
    """Wait for something that only Redis' own clock brings about."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)
