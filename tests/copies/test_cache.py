"""The shared cache: what it never does wrong, whatever order things happen in."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis
from holders import Switched, filled, record_at, tombstone_at

from holdfast._colour import pause, run
from holdfast.copies import pack, unpack
from holdfast.copies.cache import SharedCache, holder_of
from holdfast.errors import ConfigError
from holdfast.stores import from_url
from holdfast.stores.memory import MemoryStore
from holdfast.stores.redis import RedisStore
from holdfast.testing import FakeClock
from holdfast.testing.law import together


@pytest.fixture
def clock() -> FakeClock:
    """The clock of the application."""
    return FakeClock()


@pytest.fixture(params=["memory", "redis", "memcached"])
def cache(
    request: pytest.FixtureRequest, clock: FakeClock, redis_url: str, memcached_url: str
) -> SharedCache:
    """A cache in each of the holders that there are."""
    holders: dict[str, Callable[[], Any]] = {
        "memory": MemoryStore,
        "redis": lambda: holder_of(redis_url),
        "memcached": lambda: holder_of(memcached_url),
    }
    return SharedCache(holders[request.param](), clock=clock)


@pytest.fixture
def key() -> str:
    """A session's key that nobody has used."""
    return secrets.token_hex(32)


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


def test_a_copy_comes_back_as_it_was(clock: FakeClock) -> None:
    """Every field of a record, live or ended, and the moment that it shows."""
    for record in (
        record_at(clock, 7, owner="Zoë", values={"": b"", "é\0": bytes(range(256))}),
        record_at(clock, 2**63 - 2, created_at=0.1 + 0.2),
        tombstone_at(clock, 3),
    ):
        assert unpack(pack(record, clock.now + 0.25)) == (record, clock.now + 0.25)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc0", b"x", b"\x99" + bytes(9), pack(record_at(FakeClock()), 1.0)[:-1]],
    ids=["nothing", "nil", "text", "zeros", "cut"],
)
def test_what_is_no_copy_is_a_value_error(data: bytes) -> None:
    """Bytes of another release, or of anybody else's, are nothing but that."""
    with pytest.raises(ValueError, match="no copy"):
        unpack(data)


def test_what_is_committed_is_found(cache: SharedCache, clock: FakeClock, key: str, drive: Any) -> None:
    """Write-through: after a confirmed put the next look finds that very record, with its moment."""
    drive(filled(cache, key, record_at(clock, 1), clock.now))
    for version in (1, 2, 3):
        record = record_at(clock, version)
        assert drive(cache.put(key, record, clock.now - 0.5))
        look = drive(cache.look(key))
        assert (look.record, look.as_of, look.claim, look.why) == (record, clock.now - 0.5, None, None)


def test_an_older_copy_never_replaces_a_newer_one(
    cache: SharedCache, clock: FakeClock, key: str, drive: Any
) -> None:
    """A put that is overtaken is confirmed, for the cache has something newer, and changes nothing."""
    newer = record_at(clock, 2**60 + 1)
    drive(filled(cache, key, newer, clock.now))
    assert drive(cache.put(key, record_at(clock, 2**60), clock.now))
    assert drive(cache.look(key)).record == newer


def test_nothing_replaces_a_tombstone(cache: SharedCache, clock: FakeClock, key: str, drive: Any) -> None:
    """Not even a record of a higher version, which a late commit elsewhere may have made."""
    grave = tombstone_at(clock, 3)
    drive(filled(cache, key, record_at(clock, 9), clock.now))
    assert drive(cache.put(key, grave, clock.now))
    assert drive(cache.put(key, record_at(clock, 2**63 - 1), clock.now))
    assert drive(cache.look(key)).record == grave


def test_a_reader_fills_what_it_missed(cache: SharedCache, clock: FakeClock, key: str, drive: Any) -> None:
    """A miss gives a claim; what is filled in under it is found by the next."""
    look, record = drive(cache.look(key)), record_at(clock)
    assert (look.record, look.why) == (None, "miss")
    assert drive(cache.fill(key, look.claim, record, clock.now))
    assert drive(cache.look(key)).record == record
    assert not drive(cache.fill(key, look.claim, record_at(clock), clock.now))


def test_a_commit_voids_the_claim_of_a_reader(
    cache: SharedCache, clock: FakeClock, key: str, drive: Any
) -> None:
    """What a reader has read before a commit does not get in after it, though it is the first to come."""
    claim, before, after = drive(cache.look(key)).claim, record_at(clock, 1), record_at(clock, 2)
    assert drive(cache.put(key, after, clock.now))
    assert not drive(cache.fill(key, claim, before, clock.now))
    look = drive(cache.look(key))
    assert (look.record, look.why) == (None, "miss"), (
        "the place is empty, for whoever reads what is there now"
    )


def test_a_put_never_fills_an_empty_place(cache: SharedCache, clock: FakeClock, key: str, drive: Any) -> None:
    """A slow committer's record is older than one that was here, and thrown out, since: it must not stay."""
    assert drive(cache.put(key, record_at(clock, 1), clock.now))
    assert drive(cache.look(key)).record is None


def test_while_one_reader_has_the_claim_another_gets_none(
    cache: SharedCache, clock: FakeClock, key: str, drive: Any
) -> None:
    """It waits some milliseconds for the other's copy, and then reads the store without a claim."""
    first, second = drive(cache.look(key)), drive(cache.look(key))
    assert first.claim is not None
    assert (second.record, second.claim, second.why) == (None, None, "claimed")


def test_a_hot_session_is_read_from_the_store_once(
    cache: SharedCache, clock: FakeClock, key: str, drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 50 requests at once that miss, one gets the claim; the others are served by what it fills in."""
    # They look again for as long as it takes: on a busy machine 50 requests take longer than they would wait.
    monkeypatch.setattr("holdfast.copies.cache._WAITS_SECONDS", [0.002] * 5_000)
    record, reads = record_at(clock), []

    async def request() -> Any:
        look = await cache.look(key)
        if look.record is None and look.claim is not None:
            reads.append(look.claim)
            await pause(0.003)  # the store
            assert await cache.fill(key, look.claim, record, clock.now)
            return record
        return look.record

    async def requests() -> list[Any]:
        return await together(*(request() for _ in range(50)))

    found = drive(requests())
    assert len(reads) == 1
    assert found == [record] * 50


def test_a_blocking_client_does_not_hold_up_the_loop(clock: FakeClock, key: str, redis_url: str) -> None:
    """Async callers may have a cache over a client for sync ones: each call then is in a worker thread."""
    with redis.Redis.from_url(redis_url) as client:
        cache, record = SharedCache(RedisStore(client), clock=clock), record_at(clock)

        async def scenario() -> Any:
            await filled(cache, key, record, clock.now)
            return (await cache.look(key)).record

        assert asyncio.run(scenario()) == record


def test_a_claim_that_is_not_used_is_free_again(clock: FakeClock, key: str) -> None:
    """Where the reader with the claim has died, somebody else gets it two seconds later."""
    cache = SharedCache(MemoryStore(clock=clock), clock=clock)
    assert run(cache.look(key)).claim is not None
    clock.advance(1.9)
    assert run(cache.look(key)).why == "claimed"
    clock.advance(0.2)
    assert run(cache.look(key)).claim is not None


def test_lives_differ_by_a_tenth_and_end_in_time(clock: FakeClock) -> None:
    """Copies made together do not die together, and none outlives `longest_life`, counted from what it shows."""
    holder = Switched(MemoryStore(clock=clock))
    cache = SharedCache(holder, life=300.0, clock=clock, rng=Random(1))
    for number in range(500):
        run(filled(cache, f"{number}", record_at(clock), clock.now - 5.0))
    assert cache.longest_life == pytest.approx(330.0)
    assert 265.0 <= min(holder.lives) < 268.0
    assert 322.0 < max(holder.lives) <= 325.0
    clock.advance(325.0)
    assert all(run(cache.look(f"{number}")).record is None for number in range(500))


@pytest.mark.parametrize("age", [11.0, 3600.0, -5.0])
def test_what_a_frozen_instance_brings_too_late_is_not_put(clock: FakeClock, key: str, age: float) -> None:
    """Meanwhile a newer copy may have been here and gone. It is not confirmed, so the browser's pin lives on."""
    holder = Switched(MemoryStore(clock=clock))
    cache = SharedCache(holder, clock=clock)
    assert not run(cache.put(key, record_at(clock), clock.now - age))
    assert not run(cache.fill(key, b"claim", record_at(clock), clock.now - age))
    assert holder.calls == []


def test_a_record_too_large_for_the_cache_puts_an_end_to_older_copies(
    clock: FakeClock, key: str, memcached_url: str
) -> None:
    """It is confirmed, since nobody finds the older copy any more; the store is read instead."""
    cache = SharedCache(holder_of(memcached_url), clock=clock)
    run(filled(cache, key, record_at(clock, 1), clock.now))
    assert run(cache.put(key, record_at(clock, 2, values={"n": bytes(1_100_000)}), clock.now))
    look = run(cache.look(key))
    assert (look.record, look.claim, look.why) == (None, None, "too large")
    small = record_at(clock, 3)
    assert run(cache.put(key, small, clock.now))
    assert run(cache.look(key)).record == small


def test_a_copy_of_another_release_is_not_read(clock: FakeClock, key: str) -> None:
    """It is left where it is until the next commit, and the store is read."""
    holder = MemoryStore(clock=clock)
    cache = SharedCache(holder, clock=clock)
    assert run(holder.claim_copy(key, b"claim", 1.0))
    assert run(holder.fill_copy(key, b"claim", 1, b"\x93\x63\x01\x02", 60.0))
    assert run(cache.look(key)).why == "unreadable"
    assert run(cache.put(key, record_at(clock, 1), clock.now))
    assert run(cache.look(key)).record is not None


def test_a_cache_that_keeps_losing_everything_is_never_wrong(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random commits, reads, refills and losses: what is found is never older than the last confirmed put."""
    monkeypatch.setattr("holdfast.copies.cache._WAITS_SECONDS", ())
    random = Random(7)
    for _ in range(300):
        holder = MemoryStore(clock=clock)
        cache = SharedCache(holder, clock=clock)
        stored, confirmed = record_at(clock), 0
        waiting: list[tuple[bytes, Any]] = []
        for _ in range(30):
            match random.randrange(5):
                case 0:
                    stored = record_at(clock, stored.version + 1)
                    if run(cache.put("key", stored, clock.now)):
                        confirmed = stored.version
                case 1 | 2:
                    look = run(cache.look("key"))
                    assert look.record is None or look.record.version >= confirmed
                    if look.claim is not None:
                        waiting.append((look.claim, stored))
                case 3 if waiting:
                    claim, read = waiting.pop(random.randrange(len(waiting)))
                    run(cache.fill("key", claim, read, clock.now))
                case 4:
                    holder._places.clear()


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("redis://cache:6379/0", "redis://cache:6379/0?timeout=0.25"),
        ("rediss://u:p%2F@cache?prefix=a:", "rediss://u:p%2F@cache?prefix=a:&timeout=0.25"),
        ("redis://cache?timeout=1.5", "redis://cache?timeout=1.5"),
        ("memcached://a,b:2", "memcached://a,b:2?timeout=0.25"),
        ("memory://", "memory://"),
    ],
)
def test_urls_get_a_short_time_limit(url: str, opened: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache named by a URL is given up after a quarter of a second, unless the URL says otherwise."""
    urls = []

    def record(url: str) -> Any:
        urls.append(url)
        return from_url(url)

    monkeypatch.setattr("holdfast.copies.cache.from_url", record)
    holder_of(url)
    assert urls == [opened]


def test_what_cannot_hold_copies_is_refused(tmp_path: Path) -> None:
    """At construction, with a word on what to name instead."""
    url = f"sqlite:///{tmp_path}/sessions.db"
    for cache in (url, from_url(url), object(), 7):
        with pytest.raises(ConfigError, match="cannot hold copies"):
            holder_of(cache)


@pytest.mark.parametrize("url", ["redis://[", "nothing://x", "cache:6379"])
def test_urls_that_name_no_store_are_refused(url: str) -> None:
    """As they are for `store=`."""
    with pytest.raises(ConfigError):
        holder_of(url)
