"""Prepared statements (`prepared=true`): made once for each connection, and right where they are lost."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import psycopg
import psycopg_pool
import pytest
from records import add_one, new_change, new_key, new_record

from holdfast._colour import run
from holdfast.errors import ConfigError, StoreError
from holdfast.stores import from_url
from holdfast.stores._postgres_line import Statement
from holdfast.stores.guard import Guard
from holdfast.stores.postgres import PostgresStore
from servers.postgres import PgBouncer, PostgresReplica, PostgresServer, provisioned

Driver = Callable[[Coroutine[Any, Any, Any]], Any]
Steps = Callable[[], list[str]]

# A statement that is prepared has a name of Holdfast's, which is neither the application's nor psycopg's.
KEPT = "holdfast_"


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


@pytest.fixture(scope="module")
def logging_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that logs each step of every statement, with the store's table."""
    with PostgresServer(options=("log_min_duration_statement=0", "log_min_messages=log")) as server:
        yield provisioned(server)


@pytest.fixture
def steps(logging_server: PostgresServer) -> Steps:
    """A function that returns what the server has parsed and executed since it was called before.

    Such as "parse holdfast_ SELECT" and "execute <unnamed> UPDATE".
    """
    log = logging_server.directory / "server.log"
    place = log.stat().st_size

    def taken() -> list[str]:
        nonlocal place
        text = log.read_bytes()[place:]
        place += len(text)
        found = re.findall(r"ms  (parse|execute) (holdfast_|\S+?)(?:[0-9a-f]{32})?: *(\w+)", text.decode())
        return [" ".join(parts) for parts in found]

    return taken


def prepared(url: str, **options: object) -> PostgresStore:
    """A store that prepares its statements, on one connection for each kind of callers."""
    more = "".join(f"&{name}={value}" for name, value in options.items())
    return PostgresStore.from_url(f"{url}?prepared=true&connections=1{more}")


def say(drive: Driver, store: PostgresStore, text: str) -> None:
    """Run a statement on the store's own connection."""
    drive(store._wire.ask(Statement(text.encode(), ()), [], time.monotonic() + 5))


def session(store: PostgresStore) -> tuple[int, int]:
    """The number of the server's process at the other end of the store's connection, and of what is prepared there."""
    question = b"SELECT pg_backend_pid()::text, count(*)::text FROM pg_prepared_statements"
    answer = run(store._wire.ask(Statement(question, ()), [], time.monotonic() + 5))
    return int(answer.get_value(0, 0) or b""), int(answer.get_value(0, 1) or b"")


def test_each_statement_is_prepared_once_a_connection(
    logging_server: PostgresServer, steps: Steps, drive: Driver
) -> None:
    """From then on each call is one statement, which is neither parsed nor sent again."""
    store, key = prepared(logging_server.url), new_key()
    drive(store.create(key, new_record()))
    assert steps() == ["parse holdfast_ INSERT", "execute holdfast_ INSERT"]
    for number in range(8):
        drive(store.load(key))
        drive(store.commit(key, new_change(set={"n": b"%d" % number})))
    first = ["parse holdfast_ SELECT", "execute holdfast_ SELECT"]
    first += ["parse holdfast_ UPDATE", "execute holdfast_ UPDATE"]
    assert steps() == first + ["execute holdfast_ SELECT", "execute holdfast_ UPDATE"] * 7
    drive(store.end(key, new_record(ended=True)))
    drive(store.end(key, new_record(ended=True)))
    assert steps() == ["parse holdfast_ INSERT"] + ["execute holdfast_ INSERT"] * 2
    drive(store.aclose())
    drive(store.load(key))
    assert steps() == ["parse holdfast_ SELECT", "execute holdfast_ SELECT"]
    drive(store.aclose())


def test_what_serves_no_request_is_not_prepared(logging_server: PostgresServer, steps: Steps) -> None:
    """Its best plan hangs on its values, which a prepared statement's does not."""
    store = prepared(logging_server.url)
    run(store.of("nobody"))
    run(store.sweep(0.0))
    run(store.scan(None, 1))
    run(store.count())
    assert not [step for step in steps() if KEPT in step]
    store.close()


@pytest.mark.parametrize("options", ["", "?prepared=false"])
def test_nothing_is_prepared_unless_asked_for(
    logging_server: PostgresServer, steps: Steps, drive: Driver, options: str
) -> None:
    """As it has to be behind a pooler."""
    store, key = PostgresStore.from_url(logging_server.url + options), new_key()
    drive(store.create(key, new_record()))
    for _ in range(8):
        drive(store.load(key))
    executed = [step for step in steps() if step.startswith("execute")]
    assert executed == ["execute <unnamed> INSERT"] + ["execute <unnamed> SELECT"] * 8
    drive(store.aclose())


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_no_request_fails_after_a_restart(
    postgres_server: PostgresServer, drive: Driver, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The statements went with the server; on the next connection they are prepared anew, and nothing is amiss."""
    store, key = Guard(prepared(postgres_server.url)), new_key()
    drive(store.create(key, new_record()))
    drive(store.load(key))
    for version in (2, 3):
        if end == "kill":
            postgres_server.kill()
            postgres_server.start()
        else:
            postgres_server.restart()
        assert drive(store.commit(key, new_change(set={"n": b"%d" % version}))).version == version
        assert drive(store.load(key)).values["n"] == b"%d" % version
    assert "prepared" not in caplog.text
    drive(store.aclose())


@pytest.mark.parametrize("loss", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_statements_that_were_dropped(
    logging_server: PostgresServer, steps: Steps, drive: Driver, loss: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The change is made once, unprepared, and a warning says what has to be seen to; then all goes on so."""
    store, key = prepared(logging_server.url), new_key()
    drive(store.create(key, new_record()))
    drive(store.commit(key, new_change(set={"n": b"1"})))
    say(drive, store, loss)
    steps()
    with caplog.at_level(logging.WARNING, "holdfast"):
        assert drive(store.commit(key, new_change(set={"n": b"2"}))).version == 3
    assert [step for step in steps() if step.startswith("execute")] == ["execute <unnamed> UPDATE"]
    assert "do not set prepared=true" in caplog.text
    record = drive(store.load(key))
    assert (record.version, record.values["n"]) == (3, b"2")
    assert drive(store.commit(key, new_change(set={"n": b"3"}))).version == 4
    assert not [step for step in steps() if KEPT in step]
    drive(store.aclose())


def test_columns_that_have_other_types(logging_server: PostgresServer, steps: Steps, drive: Driver) -> None:
    """A plan whose result would change is refused: the change is made once, and a new connection prepares anew."""
    store, key = prepared(logging_server.url, table="changing"), new_key()
    drive(store.provision(create=True))
    for _ in range(2):
        drive(store.create(key, new_record()))
        drive(store.load(key))
        drive(store.commit(key, new_change(set={"n": b"1"})))
    logging_server.query("CREATE DOMAIN counter AS bigint")
    logging_server.query("ALTER TABLE changing ALTER version TYPE counter")
    steps()
    assert drive(store.commit(key, new_change(set={"n": b"2"}))).version == 4
    executed = [step for step in steps() if step.startswith("execute")]
    assert executed == ["execute <unnamed> UPDATE"]
    record = drive(store.load(key))
    assert (record.version, record.values["n"]) == (4, b"2")
    assert steps() == ["parse holdfast_ SELECT", "execute holdfast_ SELECT"]
    drive(store.aclose())
    logging_server.query("DROP TABLE changing")
    logging_server.query("DROP DOMAIN counter")


def test_a_table_that_is_made_again(postgres_url: str, drive: Driver) -> None:
    """What is prepared means the table of that name, and not the one that it was; without one, it says so."""
    store, key, record = prepared(postgres_url, table="made_again"), new_key(), new_record()
    with pytest.raises(StoreError, match="run holdfast provision"):
        drive(store.load(key))
    for _ in range(2):
        drive(store.provision(create=True))
        assert drive(store.load(key)) is None
        drive(store.create(key, record))
        assert drive(store.load(key)) == record
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("DROP TABLE made_again")
        with pytest.raises(StoreError, match="run holdfast provision"):
            drive(store.load(key))
    drive(store.aclose())


def test_a_pooler_that_hands_out_another_session(
    logging_server: PostgresServer, steps: Steps, drive: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a PgBouncer leads elsewhere than where a statement was prepared, the change is made once, and told of."""
    with PgBouncer(logging_server) as bouncer:
        store, key = prepared(bouncer.url), new_key()
        drive(store.create(key, new_record()))
        drive(store.commit(key, new_change(set={"n": b"1"})))
        with psycopg.connect(bouncer.url) as other:
            other.execute("SELECT 1")  # keeps the session, for as long as its transaction lasts
            steps()
            with caplog.at_level(logging.WARNING, "holdfast"):
                assert drive(store.commit(key, new_change(set={"n": b"2"}))).version == 3
        assert [step for step in steps() if "UPDATE" in step and "execute" in step] == [
            "execute <unnamed> UPDATE"
        ]
        assert caplog.text.count("prepared=true") == 1
        assert drive(store.load(key)).values["n"] == b"2"
        assert drive(store.commit(key, new_change(set={"n": b"3"}))).version == 4
        drive(store.aclose())


def test_a_pooler_whose_session_has_the_statement(
    logging_server: PostgresServer, steps: Steps, drive: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    """Where another client of PgBouncer's has prepared it already, it is made once too, and told of."""
    with PgBouncer(logging_server) as bouncer:
        first, second, key = prepared(bouncer.url), prepared(bouncer.url), new_key()
        drive(first.create(key, new_record()))
        drive(first.commit(key, new_change(set={"n": b"1"})))
        steps()
        with caplog.at_level(logging.WARNING, "holdfast"):
            assert drive(second.commit(key, new_change(set={"n": b"2"}))).version == 3
        assert [step for step in steps() if step.startswith("execute")] == ["execute <unnamed> UPDATE"]
        assert caplog.text.count("prepared=true") == 1
        assert drive(first.load(key)) == drive(second.load(key))
        drive(first.aclose())
        drive(second.aclose())


def test_statements_left_in_a_pooler_harm_nobody(postgres_server: PostgresServer) -> None:
    """Many clients that count at once through PgBouncer's two sessions: none of what they add is lost or doubled."""
    with PgBouncer(postgres_server) as bouncer:
        key, record = new_key(), new_record()
        url = f"{bouncer.url}?prepared=true&timeout=10"
        run(from_url(url).create(key, record))

        def count() -> None:
            store, newest = PostgresStore.from_url(url), record
            for _ in range(10):
                newest = add_one(store, key, newest)
            store.close()

        async def together() -> None:
            await asyncio.gather(*(asyncio.to_thread(count) for _ in range(5)))

        asyncio.run(together())
        final = run(from_url(url).load(key))
        assert final is not None
        assert (final.version, final.values["n"]) == (51, b"50")


def test_a_cancelled_call_leaves_no_answer_behind(postgres_url: str) -> None:
    """Whether it was cancelled while it prepared or while it asked, its answer is not taken for another's."""
    store = prepared(postgres_url)

    async def main() -> None:
        keys = [new_key(), new_key()]
        records = [new_record(values={"which": b"%d" % number}) for number in range(2)]
        for key, record in zip(keys, records, strict=True):
            await store.create(key, record)
        for turns in range(20):
            call = asyncio.create_task(store.load(keys[0]))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            assert await store.load(keys[1]) == records[1]

    asyncio.run(main())


def test_a_fork_prepares_on_connections_of_its_own(postgres_url: str) -> None:
    """Parent and child go on side by side, each with what it has prepared itself, where it has."""
    store, key = prepared(postgres_url), new_key()
    run(store.create(key, new_record()))
    run(store.commit(key, new_change()))
    parents = session(store)
    assert parents[1] == 2
    child = os.fork()
    if child == 0:
        try:
            run(store.commit(key, new_change()))
            number, statements = session(store)
            os._exit(0 if number != parents[0] and statements == 1 else 1)
        finally:
            os._exit(2)
    run(store.commit(key, new_change()))
    assert session(store) == parents
    assert os.waitpid(child, 0)[1] == 0
    assert run(store.commit(key, new_change())).version == 5
    store.close()


def test_a_replica_prepares_too(
    postgres_server: PostgresServer,
    postgres_replica: PostgresReplica,
    drive: Driver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A hot standby keeps statements as its primary does, and after a restart it is given them again."""
    store = prepared(postgres_server.url, replica=f"127.0.0.1:{postgres_replica.port}")
    key, record = new_key(), new_record()
    drive(store.create(key, record))
    postgres_replica.catch_up()
    postgres_replica.pause()
    changed = drive(store.commit(key, new_change()))
    for _ in range(3):
        assert drive(store.load(key, weak=True)) == record
        assert drive(store.load(key)) == changed
    postgres_replica.resume()
    postgres_replica.restart()
    assert drive(store.load(key, weak=True)) == changed
    assert "prepared" not in caplog.text
    drive(store.aclose())


@pytest.mark.parametrize("kind", [psycopg_pool.ConnectionPool, psycopg_pool.AsyncConnectionPool])
def test_a_ready_pool_is_refused(kind: Any) -> None:
    """Its connections are others' too; the error says why, and what is to be done instead."""
    pool = kind("host=127.0.0.1", open=False)
    with pytest.raises(ConfigError, match=r"from a URL.*DISCARD ALL"):
        PostgresStore(pool, prepared=True)
    PostgresStore(pool, prepared=False)


@pytest.mark.parametrize("value", ["", "1", "yes", "True", "5"])
def test_other_words_in_the_url_are_refused(value: str) -> None:
    """The option is true or false."""
    with pytest.raises(ConfigError, match="write true or false") as refusal:
        from_url(f"postgresql://app:s3cret@host/db?prepared={value}")
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("value", ["true", 1, None])
def test_other_values_than_true_and_false_are_refused(value: Any) -> None:
    """In Python too: what is written as text would be true whatever it says."""
    pool: Any = psycopg_pool.ConnectionPool("host=127.0.0.1", open=False)
    with pytest.raises(ConfigError, match="prepared="):
        PostgresStore(pool, prepared=value)
