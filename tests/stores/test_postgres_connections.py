"""The connections of the store in PostgreSQL: time limits, servers that come and go, loops, forks, ready pools."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import psycopg_pool
import pytest
from records import new_change, new_key, new_record

import holdfast
from holdfast import StoreUnavailable
from holdfast._colour import run
from holdfast.stores.guard import Guard
from holdfast.stores.postgres import PostgresStore
from servers.postgres import PgBouncer, PostgresServer, with_role
from servers.process import BUSY_SECONDS, PATIENCE_SECONDS

Driver = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


def backends(url: str) -> int:
    """How many connections the store has that comes in with this URL, whose role nobody else uses."""
    with psycopg.connect(url) as connection:
        question = (
            "SELECT count(*) FROM pg_stat_activity WHERE usename = user AND application_name = 'holdfast'"
        )
        return int(connection.execute(question).fetchone()[0])  # type: ignore[index]  # there is a row


def refused_after(drive: Driver, call: Coroutine[Any, Any, Any]) -> float:
    """After how many seconds the call says that the store is unavailable."""
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        drive(call)
    return time.monotonic() - began


def test_a_frozen_server_is_given_up_in_time(postgres_server: PostgresServer, drive: Driver) -> None:
    """Reading and changing on a connection that is open, and connecting: each ends with its time limit, in all."""
    store, key = Guard(PostgresStore.from_url(f"{postgres_server.url}?timeout=1")), new_key()
    drive(store.create(key, new_record()))
    postgres_server.freeze()
    assert 0.7 < refused_after(drive, store.load(key)) < 1 + BUSY_SECONDS  # on the connection that it has
    assert 0.7 < refused_after(drive, store.load(key)) < 1 + BUSY_SECONDS  # on none
    assert 0.7 < refused_after(drive, store.commit(key, new_change())) < 1 + BUSY_SECONDS
    postgres_server.thaw()
    assert drive(store.load(key)) is not None
    drive(store.aclose())


def test_a_frozen_server_and_a_ready_pool(postgres_server: PostgresServer) -> None:
    """A pool of the application's is bound to the same time limit, whatever its own is."""
    with psycopg_pool.ConnectionPool(postgres_server.url, min_size=1, max_size=2, open=True) as pool:
        store, key = Guard(PostgresStore(pool, timeout=1)), new_key()
        run(store.create(key, new_record()))
        postgres_server.freeze()
        for _ in range(3):
            assert refused_after(run, store.load(key)) < 1 + BUSY_SECONDS
        postgres_server.thaw()


def test_a_frozen_server_and_a_ready_asyncio_pool(postgres_server: PostgresServer) -> None:
    """The same for an asyncio one, whose connection psycopg itself would try to cancel first, for seconds."""

    async def main() -> None:
        async with psycopg_pool.AsyncConnectionPool(postgres_server.url, min_size=1, max_size=2) as pool:
            store, key = Guard(PostgresStore(pool, timeout=1)), new_key()
            await store.create(key, new_record())
            postgres_server.freeze()
            for _ in range(3):
                began = time.monotonic()
                with pytest.raises(StoreUnavailable):
                    await store.load(key)
                assert time.monotonic() - began < 1 + BUSY_SECONDS
            postgres_server.thaw()

    asyncio.run(main())


def test_a_server_that_accepts_and_says_nothing(drive: Driver) -> None:
    """Connecting counts in the time limit; and where the platform ends the request sooner, it ends sooner."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = Guard(PostgresStore.from_url(f"postgresql://app@127.0.0.1:{port}/db?timeout=0.4"))
        assert 0.3 < refused_after(drive, store.load("k")) < 0.4 + BUSY_SECONDS
        store = Guard(PostgresStore.from_url(f"postgresql://app@127.0.0.1:{port}/db?timeout=60"))

        async def hurried() -> None:
            with holdfast.time_left(0.3):  # a fifth of a second is kept back
                await store.load("k")

        assert refused_after(drive, hurried()) < 0.3 + BUSY_SECONDS


def test_an_abandoned_change_holds_no_lock(postgres_url: str, drive: Driver) -> None:
    """A change that waits for another's lock is given up in time; and nothing of it is left in a transaction."""
    store, key = Guard(PostgresStore.from_url(f"{postgres_url}?timeout=1")), new_key()
    drive(store.create(key, new_record()))
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT * FROM holdfast_sessions WHERE key = %s FOR UPDATE", (key,))
        assert refused_after(drive, store.commit(key, new_change())) < 1 + BUSY_SECONDS
    assert drive(store.commit(key, new_change(set={"n": b"9"}))).values["n"] == b"9"
    drive(store.aclose())


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_no_request_fails_after_a_restart(postgres_server: PostgresServer, drive: Driver, end: str) -> None:
    """Connections that ended with the server are noticed before they are used; what was acknowledged is there."""
    store, key = Guard(PostgresStore.from_url(postgres_server.url)), new_key()

    def again() -> None:
        if end == "kill":
            postgres_server.kill()
            postgres_server.start()
        else:
            postgres_server.restart()

    drive(store.create(key, new_record()))
    again()
    changed = drive(store.commit(key, new_change(set={"n": b"1"})))  # which is not sent twice, should it fail
    assert changed.version == 2
    again()
    assert drive(store.load(key)) == changed
    drive(store.aclose())


def test_ready_pools_after_a_restart(postgres_server: PostgresServer) -> None:
    """The connections of a ready pool are looked at too, all of them."""
    with psycopg_pool.ConnectionPool(postgres_server.url, min_size=3, open=True) as pool:
        pool.wait()
        store, key = Guard(PostgresStore(pool)), new_key()
        run(store.create(key, new_record()))
        postgres_server.restart()
        for _ in range(4):
            run(store.commit(key, new_change()))


@pytest.mark.parametrize("pool", [False, True], ids=["own", "ready pool"])
def test_a_connection_to_a_server_that_only_reads_is_not_kept(
    postgres_url: str, drive: Driver, pool: bool
) -> None:
    """The primary was demoted, or its name led to a standby for a moment: what comes next is not bound to that."""
    url = with_role(postgres_url, "SET default_transaction_read_only = on")

    async def scenario(store: Guard) -> None:
        key = new_key()
        assert await store.load(key) is None
        with pytest.raises(StoreUnavailable):
            await store.create(key, new_record())
        with psycopg.connect(postgres_url) as connection:  # which tells new connections alone
            role = url.split("@")[0].removeprefix("postgresql://")
            connection.execute(f"ALTER ROLE {role} SET default_transaction_read_only = off".encode())
        if pool:  # which may have connected anew a moment too soon
            with suppress(StoreUnavailable):
                await store.create(new_key(), new_record())
        assert await store.create(key, new_record())
        await store.aclose()

    async def on_a_ready_pool() -> None:
        async with psycopg_pool.AsyncConnectionPool(url, min_size=1, max_size=1) as ready:
            await scenario(Guard(PostgresStore(ready)))

    if not pool:
        drive(scenario(Guard(PostgresStore.from_url(url))))
    elif drive is not run:
        drive(on_a_ready_pool())
    else:
        with psycopg_pool.ConnectionPool(url, min_size=1, max_size=1, open=True) as ready:
            drive(scenario(Guard(PostgresStore(ready))))


def test_a_restart_behind_pgbouncer(postgres_server: PostgresServer, drive: Driver) -> None:
    """PgBouncer keeps the clients' connections; no process needs a restart."""
    with PgBouncer(postgres_server) as bouncer:
        store, key = Guard(PostgresStore.from_url(bouncer.url)), new_key()
        drive(store.create(key, new_record()))
        postgres_server.restart()
        drive(store.load(key))
        bouncer.restart()
        assert drive(store.commit(key, new_change())).version == 2
        drive(store.aclose())


def test_no_more_connections_than_allowed(postgres_url: str, drive: Driver) -> None:
    """Further calls wait for their turn."""
    url, owner = with_role(postgres_url), new_key()
    store = PostgresStore.from_url(f"{url}?connections=3")

    async def together() -> None:
        await asyncio.gather(*(store.create(new_key(), new_record(owner=owner)) for _ in range(20)))

    if drive is run:
        threads = [
            threading.Thread(target=lambda: run(store.create(new_key(), new_record(owner=owner))))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        drive(together())
    assert 1 <= backends(url) <= 3
    assert len(drive(store.of(owner))) == 20
    drive(store.aclose())


def test_waiting_for_a_turn_counts_in_the_time_limit(postgres_server: PostgresServer) -> None:
    """A call behind one that hangs gives up in time."""
    store = Guard(PostgresStore.from_url(f"{postgres_server.url}?connections=1&timeout=1"))

    async def main() -> None:
        await store.load("k")
        postgres_server.freeze()
        began = time.monotonic()
        outcomes = await asyncio.gather(*(store.load("k") for _ in range(20)), return_exceptions=True)
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        assert time.monotonic() - began < 1 + BUSY_SECONDS
        postgres_server.thaw()

    asyncio.run(main())


def test_loops_come_and_go(postgres_url: str) -> None:
    """Each loop has its own connection, which is closed with it, also where the loop is not shut down in order."""
    url = with_role(postgres_url)
    store = PostgresStore.from_url(url)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            asyncio.run(store.load("k"))
        for _ in range(3):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(store.load("k"))
            loop.close()
        asyncio.run(store.load("k"))
        gc.collect()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while backends(url) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert backends(url) == 0


def test_a_cancelled_call_leaves_no_answer_behind(postgres_url: str) -> None:
    """What still comes on its connection is not taken for the answer to another call."""
    store = PostgresStore.from_url(f"{postgres_url}?connections=1")

    async def main() -> None:
        keys = [new_key(), new_key()]
        records = [new_record(values={"which": b"%d" % number}) for number in range(2)]
        for key, record in zip(keys, records, strict=True):
            await store.create(key, record)
        for _ in range(20):
            call = asyncio.create_task(store.load(keys[0]))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            assert await store.load(keys[1]) == records[1]

    asyncio.run(main())


def test_a_fork_gets_connections_of_its_own(postgres_url: str) -> None:
    """Parent and child go on side by side, with neither answering for the other or hanging up on it."""
    store, key, record = PostgresStore.from_url(postgres_url), new_key(), new_record()
    run(store.create(key, record))
    child = os.fork()
    if child == 0:
        try:
            same = all(run(store.load(key)) == record for _ in range(20))
            store.close()
            os._exit(0 if same else 1)
        finally:
            os._exit(2)
    assert all(run(store.load(key)) == record for _ in range(20))
    assert os.waitpid(child, 0)[1] == 0
    assert run(store.load(key)) == record


def test_the_host_is_looked_up_without_holding_up_the_loop(postgres_url: str) -> None:
    """By name as well as by address; a name that is not known is unavailable."""
    store = Guard(PostgresStore.from_url(postgres_url.replace("127.0.0.1", "localhost")))
    unknown = Guard(PostgresStore.from_url("postgresql://host.invalid/db"))

    async def main() -> None:
        assert await store.load("k") is None
        with pytest.raises(StoreUnavailable):
            await unknown.load("k")

    asyncio.run(main())
