"""What the store in PostgreSQL needs of its database: made, checked, printed; and the table read from end to end."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from fnmatch import fnmatchcase

import psycopg
import pytest
from records import new_key, new_record

from holdfast._colour import run
from holdfast.errors import ConfigError, StoreError
from holdfast.provision.postgres import as_code
from holdfast.stores.guard import Guard
from holdfast.stores.postgres import PostgresStore
from holdfast.testing import CHECKS, conformance
from servers.process import PATIENCE_SECONDS

# What moves megabytes, or all that there is: it takes no other rights.
LARGE = ("size-limit",)

PARTS = ("table {}", "index on abs(expires_at) of {}", "index on sha256(owner) of {}")
TABLES = ("holdfast_sessions", "shop.sessions")


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """The URL of a database of the test's own, without the table."""
    name = f"test_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield f"{postgres_url.removesuffix('postgres')}{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def states(store: PostgresStore, *, create: bool) -> list[str]:
    """The state of each part, in their order: first the schema, if the table's name has one."""
    parts = run(store.provision(create=create))
    table = parts[-3].name.removeprefix("table ")
    schema = [f"schema {table.partition('.')[0]}"] if "." in table else []
    assert [part.name for part in parts] == schema + [part.format(table) for part in PARTS]
    return [part.state for part in parts]


def store_of(url: str, table: str) -> PostgresStore:
    """The store for a table in the database of the URL."""
    return PostgresStore.from_url(f"{url}{'&' if '?' in url else '?'}table={table}")


def roles_in(code: str) -> list[str]:
    """The roles that printed SQL makes: the application's, and the one that sweeps."""
    return re.findall(r'CREATE ROLE ("\w+")', code)


def signed_in(url: str, *roles: str) -> str:
    """The URL for a new role that has these."""
    name = f"user_{secrets.token_hex(4)}"
    execute(url, f"CREATE ROLE {name} LOGIN")
    for role in roles:
        execute(url, f"GRANT {role} TO {name}")
    return url.replace("postgres@", f"{name}@")


def execute(url: str, text: str) -> None:
    """Run SQL."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text.encode())


@pytest.mark.parametrize("table", TABLES)
def test_what_is_missing_is_reported_and_then_made(database_url: str, table: str) -> None:
    """The schema too. Looking changes nothing; making it twice does no harm; and then the store works."""
    store, count = store_of(database_url, table), 4 if "." in table else 3
    assert states(store, create=False) == ["missing"] * count
    assert states(store, create=False) == ["missing"] * count
    assert states(store, create=True) == ["made"] * count
    assert states(store, create=True) == ["there"] * count
    assert states(store, create=False) == ["there"] * count
    assert run(store.create(new_key(), new_record()))
    store.close()


def test_a_schema_that_is_there_is_used(database_url: str) -> None:
    """Whoever provisions need not be allowed to make schemas then."""
    url = signed_in(database_url)
    execute(database_url, f"CREATE SCHEMA shop AUTHORIZATION {url.partition('//')[2].partition('@')[0]}")
    store = store_of(url, "shop.sessions")
    assert states(store, create=True) == ["there", "made", "made", "made"]
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


@pytest.mark.parametrize(
    "instead",
    [
        "CREATE INDEX {index} ON {table} (expires_at)",
        "CREATE INDEX {index} ON {table} (abs(expires_at)) WHERE ended",
        "CREATE TABLE {schema}{index} (x int)",
    ],
)
@pytest.mark.parametrize("table", TABLES)
def test_what_has_the_name_of_an_index_is_wrong_and_left_alone(
    database_url: str, table: str, instead: str
) -> None:
    """An index that does not serve, or anything else by its name, is said to be wrong, and with what to do."""
    store = store_of(database_url, table)
    run(store.provision(create=True))
    schema, _, plain = table.rpartition(".")
    prefix, name = f"{schema}." if schema else "", f"{plain}_expires_at"
    execute(database_url, f"DROP INDEX {prefix}{name}")
    execute(database_url, instead.format(index=name, table=table, schema=prefix))
    for create in (False, True, True):
        assert states(store, create=create)[-3:] == ["there", "wrong", "there"]
    assert f"{name}: drop that or rename it" in run(store.provision(create=False))[-2].detail
    execute(database_url, f"ALTER TABLE {prefix}{name} RENAME TO aside")
    assert states(store, create=True)[-3:] == ["there", "made", "there"]
    store.close()


def test_the_name_of_an_index_may_be_used_in_another_schema(database_url: str) -> None:
    """Nor does it matter what an index that serves is called."""
    store = PostgresStore.from_url(database_url)
    run(store.provision(create=True))
    execute(database_url, "DROP INDEX holdfast_sessions_owner")
    execute(database_url, "CREATE SCHEMA other; CREATE TABLE other.holdfast_sessions_owner (x int)")
    assert states(store, create=False) == ["there", "there", "missing"]
    assert states(store, create=True) == ["there", "there", "made"]
    execute(database_url, "ALTER INDEX holdfast_sessions_owner RENAME TO by_owner")
    assert states(store, create=False) == ["there"] * 3
    store.close()


@pytest.mark.parametrize("table", TABLES)
def test_the_printed_sql_gives_the_application_what_it_needs_and_no_more(
    database_url: str, table: str
) -> None:
    """Run by the owner, twice, it makes all of it; with its two roles the whole law holds, and nothing else goes."""
    admin, owner_url = store_of(database_url, table), signed_in(database_url)
    owner = owner_url.rpartition("@")[0].rpartition("/")[2]
    execute(database_url, f"ALTER DATABASE {database_url.rpartition('/')[2]} OWNER TO {owner}")
    execute(database_url, f"ALTER ROLE {owner} CREATEROLE")
    assert "CREATEROLE" in admin.as_code("sql").splitlines()[0]
    for _ in range(2):
        execute(owner_url, admin.as_code("sql"))
    assert set(states(admin, create=False)) == {"there"}
    admin.close()

    app, sweeper = roles_in(admin.as_code("sql"))
    url = signed_in(database_url, app, sweeper)
    checks = [check for check in CHECKS if check.name not in LARGE]
    conformance(lambda: store_of(f"{url}?timeout={PATIENCE_SECONDS}", table), checks)

    url = signed_in(database_url, app)
    store = Guard(store_of(url, table))
    assert run(store.create(new_key(), new_record()))
    with pytest.raises(StoreError, match="--print sql"):
        run(store.sweep(0.0))
    for statement in (
        f"DELETE FROM {table}",
        f"TRUNCATE {table}",
        f"DROP TABLE {table}",
        f"ALTER TABLE {table} ADD COLUMN x int",
        f"CREATE TABLE {table}_other (x int)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            execute(url, statement)


def test_printed_roles_are_for_one_table_of_one_database(postgres_url: str, database_url: str) -> None:
    """Applications that share a server cannot read each other's sessions, whatever database these are in."""
    same = f"{database_url.rpartition('/')[2]}.sessions"
    homes = [
        (database_url, "shop.sessions"),
        (database_url, "crm.sessions"),
        (database_url, same),
        (postgres_url, same),
    ]
    printed = {home: store_of(*home).as_code("sql") for home in homes}
    try:
        for (url, _), code in printed.items():
            execute(url, code)
        for own, code in printed.items():
            for url, table in homes:
                store = store_of(signed_in(url, *roles_in(code)), table)
                if own == (url, table):
                    assert run(Guard(store).load("none")) is None
                else:
                    with pytest.raises(StoreError, match="may not do this"):
                        run(Guard(store).load("none"))
                store.close()
    finally:
        execute(postgres_url, f"DROP SCHEMA IF EXISTS {same.partition('.')[0]} CASCADE")


@pytest.mark.parametrize(
    ("database", "table", "name"),
    [
        ("app", "holdfast_sessions", '"holdfast_app__app__holdfast_sessions"'),
        ("app", "shop.sessions", '"holdfast_app__app__shop__sessions"'),
        ("app__shop", "sessions", '"holdfast_app__app_shop_sessions_????????"'),
        ("app", "shop__sessions", '"holdfast_app__app_shop_sessions_????????"'),
        ("pg_app", "sessions", '"holdfast_app__pg_app__sessions"'),
        ('a"; DROP TABLE x; --', "sessions", '"holdfast_app__a_DROP_TABLE_x_sessions_????????"'),
        ("büro", "sessions", '"holdfast_app__b_ro_sessions_????????"'),
        ("", "sessions", '"holdfast_app__sessions_????????"'),
        ("d" * 63, "t" * 40, f'"holdfast_app__{"d" * 40}_????????"'),
    ],
)
def test_each_role_has_a_name_of_its_own(database: str, table: str, name: str) -> None:
    """It says which table it is for; where that is not clear, or too long for PostgreSQL, a digest does."""
    app, sweeper = roles_in(as_code(database, table, "sql"))
    assert fnmatchcase(app, name)
    assert fnmatchcase(sweeper, name.replace("_app__", "_sweeper__", 1)) or len(database) == 63
    assert max(len(app), len(sweeper)) <= 65  # with the quotation marks
    assert app not in roles_in(as_code(f"{database}x", table, "sql"))


def test_names_that_come_to_the_same_are_told_apart() -> None:
    """Joined they are equal, and yet the roles are not."""
    homes = [
        ("app__shop", "sessions"),
        ("app", "shop__sessions"),
        ("app", "shop.sessions"),
        ("app_", "_shop.sessions"),
    ]
    homes += [
        ("d" * 50, "a"),
        ("d" * 50, "b"),
        ("App", "shop.sessions"),
        ("a.b", "c"),
        ("a", "b.c"),
        ("a:b", "c"),
    ]
    assert len({roles_in(as_code(*home, "sql"))[0] for home in homes}) == len(homes)


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
