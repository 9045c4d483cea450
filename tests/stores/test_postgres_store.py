"""What the store in PostgreSQL costs, and what its errors mean: on a real server that logs every statement."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from records import add_one, new_change, new_key, new_record

from asgi_client import Browser
from holdfast import Keyring, Sessions, StoreError, StoreThrottled, StoreUnavailable
from holdfast._colour import run
from holdfast.asgi import SessionMiddleware
from holdfast.errors import ConfigError, Conflict, SessionGone
from holdfast.stores import from_url
from holdfast.stores.guard import Guard
from holdfast.stores.postgres import PostgresStore
from holdfast.testing import CHECKS, conformance
from servers.postgres import PostgresServer, provisioned, with_role
from servers.process import PATIENCE_SECONDS

Statements = Callable[[], list[str]]


@pytest.fixture(scope="module")
def logging_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that logs every statement, with the store's table."""
    with PostgresServer(options=("log_statement=all", "log_min_messages=log")) as server:
        yield provisioned(server)


@pytest.fixture
def statements(logging_server: PostgresServer) -> Statements:
    """A function that returns the statements since it was called before, or since the test began."""
    log = logging_server.directory / "server.log"
    place = log.stat().st_size

    def taken() -> list[str]:
        nonlocal place
        text = log.read_bytes()[place:]
        place += len(text)
        # Both ways of sending one, and whatever its name: BEGIN and COMMIT would be among them.
        return re.findall(r"LOG:  (?:statement|execute [^:]*): *(\w+)", text.decode())

    return taken


@pytest.fixture
def store(logging_server: PostgresServer) -> PostgresStore:
    """A store on the server that logs."""
    return PostgresStore.from_url(logging_server.url)


def test_each_call_is_one_statement(store: PostgresStore, statements: Statements) -> None:
    """Nothing is begun or committed around it, and connecting says nothing either."""
    key, record = new_key(), new_record(owner="ann")
    assert run(store.create(key, record))
    assert statements() == ["INSERT"]
    assert run(store.create(key, record)) is False
    assert statements() == ["INSERT"]
    run(store.load(key))
    assert statements() == ["SELECT"]
    run(store.commit(key, new_change(set={"a": b"1"}, unset=frozenset({"n"}), expires_at=2e9, owner="bob")))
    assert statements() == ["UPDATE"]
    run(store.of("bob"))
    assert statements() == ["SELECT"]
    run(store.end(key, new_record(ended=True)))
    assert statements() == ["INSERT"]


def test_only_what_is_refused_costs_a_second_statement(store: PostgresStore, statements: Statements) -> None:
    """It says why: another base, or gone, or applied before."""
    key, change = new_key(), new_change(set={"n": b"1"})
    run(store.create(key, new_record()))
    run(store.commit(key, change))
    statements()
    with pytest.raises(Conflict):
        run(store.commit(key, new_change(base=1)))
    assert statements() == ["UPDATE", "SELECT"]
    assert run(store.commit(key, change)).version == 2
    assert statements() == ["UPDATE", "SELECT"]
    with pytest.raises(SessionGone):
        run(store.commit(new_key(), change))
    assert statements() == ["UPDATE", "SELECT"]


async def test_what_a_request_costs(store: PostgresStore, statements: Statements) -> None:
    """Reading is one statement, changing a key is one more, and a visitor without a session costs none."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        if scope["path"] != "/untouched":
            await session.load()
        if scope["path"] == "/write":
            session["n"] = session.get("n", 0) + 1
        elif scope["path"] == "/read":
            session.get("n")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    browser = Browser(SessionMiddleware(app, Sessions(store, keys=Keyring.generate()), lazy=True))
    await browser.get("/untouched")
    await browser.get("/read")
    assert statements() == []
    await browser.get("/write")
    assert statements() == ["INSERT"]
    await browser.get("/read")
    assert statements() == ["SELECT"]
    await browser.get("/write")
    assert statements() == ["SELECT", "UPDATE"]
    await browser.get("/untouched")
    assert statements() == []


def test_an_ordinary_change_leaves_the_indices_alone(postgres_url: str) -> None:
    """It stays on its page (a HOT update), so that no index grows; a renewed expiry is indexed, and does not."""
    table, key = f"sessions_{secrets.token_hex(4)}", new_key()
    store = PostgresStore.from_url(f"{postgres_url}?table={table}")
    run(store.provision(create=True))
    question = f"SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = '{table}'"

    def updates_on_their_page(updates: int) -> int:
        store.close()  # a connection tells its numbers at the latest when it ends
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with psycopg.connect(postgres_url) as connection:
                told, hot = connection.execute(question).fetchone() or (0, 0)
            if told == updates:
                return int(hot)
            assert time.monotonic() < deadline, f"{told} updates, and not {updates}"
            time.sleep(0.02)

    record = new_record()
    run(store.create(key, record))
    for _ in range(10):
        record = add_one(store, key, record)
    assert updates_on_their_page(10) == 10
    run(store.commit(key, new_change(expires_at=time.time() + 9)))
    assert updates_on_their_page(11) == 10


def test_sealed_records_stay_for_a_minute(postgres_url: str) -> None:
    """What a rotation has sealed, by an expiry of minus its time, is not swept before others may have noticed."""
    store, key, now = PostgresStore.from_url(postgres_url), new_key(), time.time()
    run(store.create(key, new_record()))
    run(store.commit(key, new_change(expires_at=-now)))
    run(store.sweep(now + 59))
    assert run(store.load(key)) is not None
    run(store.sweep(now + 61))
    assert run(store.load(key)) is None


def test_a_long_sweep_goes_in_steps(
    store: PostgresStore, logging_server: PostgresServer, statements: Statements
) -> None:
    """Each is a statement of its own, so that none runs into the time limit."""
    run(store.create(new_key(), new_record(expires_at=1000.0)))
    logging_server.query(
        "INSERT INTO holdfast_sessions SELECT 'swept' || n, version, tag, data, owner, created_at, expires_at, ended "
        "FROM holdfast_sessions, generate_series(1, 1499) AS n WHERE expires_at = 1000"
    )
    statements()
    assert run(store.sweep(1000.0)) == 0
    assert run(store.sweep(1001.0)) == 1500
    assert statements() == ["DELETE"] * 3


def test_parallel_changes_survive_a_higher_isolation_level(postgres_url: str) -> None:
    """Where the database is set to it, PostgreSQL refuses one of two writers; the store tries again."""
    role = with_role(postgres_url, "SET default_transaction_isolation = 'repeatable read'")
    conformance(
        lambda: from_url(role), [check for check in CHECKS if check.name in ("parallel-changes", "counting")]
    )


def test_a_missing_table_is_named_with_what_makes_it(postgres_url: str) -> None:
    """Whoever has forgotten to provision is told so."""
    store = Guard(from_url(f"{postgres_url}?table=not_there"))
    with pytest.raises(StoreError, match=r"not_there is not there.*holdfast provision"):
        run(store.load("k"))


def test_a_missing_right_is_named_with_what_gives_it(postgres_url: str) -> None:
    """A role that may not touch the table is told where its rights are written."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE nobody_here LOGIN")
    store = Guard(from_url(postgres_url.replace("postgres@", "nobody_here@")))
    with pytest.raises(StoreError, match="--print sql") as refusal:
        run(store.load("k"))
    assert not isinstance(refusal.value, StoreUnavailable)


def test_a_server_that_only_reads_is_unavailable(postgres_url: str) -> None:
    """A demoted primary is not where changes go; they may go on when there is another."""
    role = with_role(postgres_url, "SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable):
        run(Guard(from_url(role)).create(new_key(), new_record()))


def test_a_full_server_is_throttled(postgres_url: str) -> None:
    """No connection more is to be had: trying again later works."""
    role = with_role(postgres_url, "CONNECTION LIMIT 1")
    with psycopg.connect(role), pytest.raises(StoreThrottled):
        run(Guard(from_url(role)).load(new_key()))


def test_a_wrong_user_is_unavailable_and_no_password_is_shown(postgres_url: str) -> None:
    """Nothing was changed; and the text of the error may go into a log."""
    url = postgres_url.replace("postgres@", "unknown:s3cret@")
    with pytest.raises(StoreUnavailable) as refusal:
        run(Guard(from_url(url)).load("k"))
    assert "s3cret" not in f"{refusal.value}{refusal.value.__cause__}"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("postgresql://app:s3cret@host:port/db", "host:5432"),
        ("postgresql://app:s3cret@host/a/b", "host:5432"),
        ("postgresql://app:s3cret@one,two/db", "a single host"),
        ("postgresql://app:s3cret@one:5432,two:5432/db", "a single host"),
        ("postgresql://app:s3cret@host/db?replica=one,two", "replica=host:5432"),
        ("postgresql://app:s3/cret@host/db", "%2F"),
        ("postgresql://app:s3cret@host/db#x", "%23"),
        ("postgresql://app:s3cret@host/db?timeout=0", "above zero"),
        ("postgresql://app:s3cret@host/db?connections=0", "above zero"),
        ("postgresql://app:s3cret@host/db?pool=3", "unknown option pool"),
        ("postgresql://app:s3cret@host/db?table=Robert'); DROP", "small letters"),
        ("postgresql://app:s3cret@host/db?table=", "small letters"),
        ("postgresql://app:s3cret@host/db?replica=host:x", "replica=host:5432"),
        ("postgresql://app:s3cret@host/db?sslmode=on", "verify-full"),
        ("postgresql://app:s3cret@host/db?sslrootcert=/not/there", "not there"),
        ("postgresql://app:s3cret@host/db?host=elsewhere", "directory"),
    ],
)
def test_a_url_that_cannot_work_is_refused(url: str, complaint: str) -> None:
    """At construction, saying what to write, and never showing the password."""
    with pytest.raises(ConfigError) as refusal:
        from_url(url)
    assert complaint in str(refusal.value)
    assert "s3cret" not in str(refusal.value)


def test_the_shorter_scheme_is_the_same(postgres_url: str) -> None:
    """`postgres://`, as DATABASE_URL has it on many platforms, is a PostgreSQL like any other."""
    store, key = from_url(postgres_url.replace("postgresql://", "postgres://")), new_key()
    run(store.create(key, new_record()))
    assert run(from_url(postgres_url).load(key)) is not None


@pytest.mark.parametrize("client", [None, "postgresql://host/db", object()])
def test_what_is_no_pool_is_refused(client: Any) -> None:
    """The error says what is taken instead."""
    with pytest.raises(ConfigError, match="ConnectionPool"):
        PostgresStore(client)
