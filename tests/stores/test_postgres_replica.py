"""Weak reads of the store in PostgreSQL: from a real hot standby, whose replay stops and goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import psycopg_pool
import pytest
from records import new_change, new_key, new_record

from holdfast._colour import run
from holdfast.errors import ConfigError
from holdfast.stores import from_url
from holdfast.stores.postgres import PostgresStore
from holdfast.testing import CHECKS, conformance
from servers.postgres import PostgresReplica, PostgresServer
from servers.process import BUSY_SECONDS, PATIENCE_SECONDS

# What moves megabytes or many records, which has nothing to do with replicas.
LARGE = ("size-limit", "scanning")

Driver = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


def with_replica(server: PostgresServer, replica: PostgresReplica) -> str:
    """The URL of a store with one replica."""
    return f"{server.url}?replica=127.0.0.1:{replica.port}"


def test_while_replay_is_paused_weak_reads_are_old_and_strong_ones_are_not(
    postgres_server: PostgresServer, postgres_replica: PostgresReplica, drive: Driver
) -> None:
    """A replica that lags shows an earlier version, misses new sessions and has ended ones still alive."""
    store = PostgresStore.from_url(with_replica(postgres_server, postgres_replica))
    changed, ended, new = new_key(), new_key(), new_key()
    first = new_record()
    drive(store.create(changed, first))
    drive(store.create(ended, first))
    postgres_replica.catch_up()
    postgres_replica.pause()
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
    postgres_replica.resume()
    assert drive(store.load(changed, weak=True)) == second
    assert drive(store.load(ended, weak=True)) == grave
    assert drive(store.load(new, weak=True)) == first

    # Frozen, it holds up one request for a quarter of a second, and not each.
    postgres_replica.freeze()
    began = time.monotonic()
    for _ in range(120):
        assert drive(store.load(changed, weak=True)) == second
    assert 0.2 < time.monotonic() - began < BUSY_SECONDS
    postgres_replica.thaw()

    # Killed and started, it is asked again, without a restart of anything.
    postgres_replica.kill()
    for _ in range(5):
        assert drive(store.load(changed, weak=True)) == second
    postgres_replica.start()
    postgres_replica.pause()
    third = drive(store.commit(changed, new_change(set={"n": b"2"})))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while drive(store.load(changed, weak=True)) == third:
        assert time.monotonic() < deadline, "the replica is not asked again"
        time.sleep(0.05)
    drive(store.aclose())


def test_the_law_holds_over_a_replica(
    postgres_server: PostgresServer, postgres_replica: PostgresReplica
) -> None:
    """A store with a replica keeps the law for stores, even while the replica hears of nothing."""
    postgres_replica.pause()
    url = with_replica(postgres_server, postgres_replica) + f"&timeout={PATIENCE_SECONDS}"
    conformance(lambda: from_url(url), [check for check in CHECKS if check.name not in LARGE])


def test_ready_pools_of_replicas(postgres_server: PostgresServer, postgres_replica: PostgresReplica) -> None:
    """The replicas' pools may be handed in; they have to be of the same kind as the primary's."""
    with (
        psycopg_pool.ConnectionPool(postgres_server.url, min_size=1, open=True) as primary,
        psycopg_pool.ConnectionPool(postgres_replica.url, min_size=1, open=True) as replica,
    ):
        store, key, record = PostgresStore(primary, replicas=[replica]), new_key(), new_record()
        postgres_replica.pause()
        run(store.create(key, record))
        assert run(store.load(key, weak=True)) is None
        postgres_replica.resume()
        assert run(store.load(key, weak=True)) == record
        other: Any = psycopg_pool.AsyncConnectionPool(postgres_replica.url, open=False)
        with pytest.raises(ConfigError, match="same kind"):
            PostgresStore(primary, replicas=[other])
