"""What the store in PostgreSQL needs of its database: made, checked, printed; and the table read from end to end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from records import new_key, new_record

from holdfast._colour import run
from holdfast.errors import ConfigError, StoreError
from holdfast.stores.guard import Guard
from holdfast.stores.postgres import PostgresStore
from holdfast.testing import CHECKS, conformance
from servers.process import PATIENCE_SECONDS

# What moves megabytes, or all that there is: it takes no other rights.
LARGE = ("size-limit",)

PARTS = ("table {}", "index on abs(expires_at) of {}", "index on sha256(owner) of {}")


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """The URL of a database of the test's own, without the table."""
    name = f"test_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield f"{postgres_url.removesuffix('postgres')}{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def states(store: PostgresStore, *, create: bool) -> list[str]:
    """The state of each part, in their order."""
    parts = run(store.provision(create=create))
    table = parts[0].name.removeprefix("table ")
    assert [part.name for part in parts] == [part.format(table) for part in PARTS]
    return [part.state for part in parts]


def execute(url: str, text: str) -> None:
    """Run SQL."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text.encode())


@pytest.mark.parametrize("table", ["holdfast_sessions", "shop.sessions"])
def test_what_is_missing_is_reported_and_then_made(database_url: str, table: str) -> None:
    """Looking changes nothing; making it twice does no harm; and then the store works."""
    execute(database_url, "CREATE SCHEMA shop")
    store = PostgresStore.from_url(f"{database_url}?table={table}")
    assert states(store, create=False) == ["missing"] * 3
    assert states(store, create=False) == ["missing"] * 3
    assert states(store, create=True) == ["made"] * 3
    assert states(store, create=True) == ["there"] * 3
    assert states(store, create=False) == ["there"] * 3
    assert run(store.create(new_key(), new_record()))
    store.close()


def test_an_index_that_is_missing_is_made_on_a_table_in_use(database_url: str) -> None:
    """Its rows stay, and writers are not kept waiting meanwhile."""
    store = PostgresStore.from_url(database_url)
    run(store.provision(create=True))
    key, record = new_key(), new_record()
    run(store.create(key, record))
    execute(database_url, "DROP INDEX holdfast_sessions_owner")
    assert states(store, create=False) == ["there", "there", "missing"]
    assert states(store, create=True) == ["there", "there", "made"]
    assert run(store.load(key)) == record
    store.close()


@pytest.mark.parametrize(
    ("damage", "detail"),
    [
        ("ALTER COLUMN version TYPE integer", "version should be bigint NOT NULL"),
        ("DROP COLUMN owner CASCADE", "owner should be bytea"),
        ("ALTER COLUMN ended DROP NOT NULL", "ended should be boolean NOT NULL"),
        ("ADD COLUMN tenant text NOT NULL", "tenant needs a default"),
        ("DROP CONSTRAINT holdfast_sessions_pkey", "key should be the primary key"),
    ],
)
def test_what_is_wrong_is_named_and_left_alone(database_url: str, damage: str, detail: str) -> None:
    """A table that is not as it should be is for people to mend."""
    store = PostgresStore.from_url(database_url)
    run(store.provision(create=True))
    execute(database_url, f"ALTER TABLE holdfast_sessions {damage}")
    for create in (False, True):
        table = run(store.provision(create=create))[0]
        assert table.state == "wrong"
        assert detail in table.detail
    store.close()


def test_the_printed_sql_gives_the_application_what_it_needs_and_no_more(database_url: str) -> None:
    """Run by the owner, twice, it makes all of it; with its two roles the whole law holds, and nothing else goes."""
    admin = PostgresStore.from_url(database_url)
    for _ in range(2):
        execute(database_url, admin.as_code("sql"))
    assert states(admin, create=False) == ["there"] * 3
    admin.close()

    app, both = f"app_{secrets.token_hex(4)}", f"both_{secrets.token_hex(4)}"
    execute(database_url, f"CREATE ROLE {app} LOGIN IN ROLE holdfast_app")
    execute(database_url, f"CREATE ROLE {both} LOGIN IN ROLE holdfast_app, holdfast_sweeper")
    url = database_url.replace("postgres@", f"{both}@") + f"?timeout={PATIENCE_SECONDS}"
    conformance(lambda: PostgresStore.from_url(url), [check for check in CHECKS if check.name not in LARGE])

    store = Guard(PostgresStore.from_url(database_url.replace("postgres@", f"{app}@")))
    assert run(store.create(new_key(), new_record()))
    with pytest.raises(StoreError, match="--print sql"):
        run(store.sweep(0.0))
    for statement in (
        "DELETE FROM holdfast_sessions",
        "TRUNCATE holdfast_sessions",
        "DROP TABLE holdfast_sessions",
        "ALTER TABLE holdfast_sessions ADD COLUMN x int",
        "CREATE TABLE other (x int)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            execute(database_url.replace("postgres@", f"{app}@"), statement)


def test_another_form_is_refused() -> None:
    """The error names the one that there is."""
    with pytest.raises(ConfigError, match="sql"):
        PostgresStore.from_url("postgresql://host/db").as_code("bicep")


def test_reading_from_end_to_end(database_url: str) -> None:
    """Each record once, however small the pages; another instance may go on where one has stopped."""
    store = PostgresStore.from_url(database_url)
    run(store.provision(create=True))
    records = {new_key(): new_record(values={"n": b"%d" % number}) for number in range(25)}
    for key, record in records.items():
        run(store.create(key, record))
    found = {}
    after, pages = None, 0
    while True:
        page = run(PostgresStore.from_url(database_url).scan(after, 10))
        assert not found.keys() & page.records.keys()
        found |= page.records
        after, pages = page.after, pages + 1
        if after is None:
            break
    assert (found, pages) == (records, 3)
    store.close()


def test_counting_is_cheap_and_about_right(database_url: str) -> None:
    """Few are counted; of many the engine knows about how many there are, also when it has not looked for a while."""
    store = PostgresStore.from_url(database_url)
    run(store.provision(create=True))
    assert run(store.count()) == 0
    run(store.create("first", new_record(values={"n": b"x" * 300})))
    assert run(store.count()) == 1
    more = (
        "INSERT INTO holdfast_sessions SELECT '{}' || n, version, tag, data, owner, created_at, expires_at, ended "
        "FROM holdfast_sessions, generate_series(1, {}) AS n WHERE key = 'first'"
    )
    execute(database_url, more.format("a", 20_000))
    execute(database_url, "VACUUM ANALYZE holdfast_sessions")
    assert abs(run(store.count()) - 20_001) < 400
    execute(database_url, more.format("b", 10_000))
    assert abs(run(store.count()) - 30_001) < 1_000
    store.close()
