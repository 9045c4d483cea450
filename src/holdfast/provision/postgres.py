"""The table of a `PostgresStore`, with its schema and indices: made, checked, and printed as SQL."""

# ruff: noqa: S608 - all that is put into statements are names, which are checked or made here

from __future__ import annotations

from contextlib import suppress
from time import monotonic

from psycopg import errors

from ..errors import ConfigError
from ..stores import Part
from ..stores import _postgres_sql as sql
from ..stores._postgres_line import Statement
from ..stores._postgres_wire import Wire
from ._names import one_name

_COLUMNS = {
    "key": 'text COLLATE "C"',
    "version": "bigint",
    "tag": "bytea",
    "data": "jsonb",
    "owner": "bytea",
    "created_at": "double precision",
    "expires_at": "double precision",
    "ended": "boolean",
}
_NULLABLE = "owner"

# The expression of each index, its condition as PostgreSQL shows it, and what its name ends with.
_INDICES = (
    ("abs(expires_at)", "", "expires_at"),
    ("sha256(owner)", "((owner IS NOT NULL) AND (NOT ended))", "owner"),
)

# PostgreSQL cuts off what is longer.
_LONGEST_NAME = 63

# How long an index on a table of many sessions may take.
_BUILD_SECONDS = 600.0

# Each column as text.
_READ_COLUMNS = b"""
SELECT attname::text, format_type(atttypid, atttypmod) || CASE WHEN collname = 'C' THEN ' COLLATE "C"' ELSE '' END,
    attnotnull::text, atthasdef::text
FROM pg_attribute LEFT JOIN pg_collation ON pg_collation.oid = attcollation
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"""
# Those of the table, and whatever else in its schema has a name that one of ours is to have.
_READ_INDICES = b"""
SELECT named.relname::text, coalesce(pg_get_indexdef(indexrelid), ''), coalesce(indisvalid, false)::text,
    coalesce(indisprimary, false)::text, coalesce(pg_get_expr(indpred, indrelid), '')
FROM pg_class AS sessions, pg_class AS named
LEFT JOIN pg_index ON indexrelid = named.oid AND indrelid = to_regclass($1)
WHERE sessions.oid = to_regclass($1) AND (indrelid IS NOT NULL OR named.relnamespace = sessions.relnamespace
    AND named.relname IN (sessions.relname || '_expires_at', sessions.relname || '_owner'))"""
_READ_SCHEMA = b"SELECT nspname::text FROM pg_namespace WHERE nspname = $1"


async def provision(wire: Wire, table: str, seconds: float, *, create: bool) -> list[Part]:
    """What the store needs, each with its state; with `create` what is missing is made first.

    A question may take so many `seconds`. Raises psycopg's errors.
    """
    before = await _parts(wire, table, seconds)
    (state,) = (part.state for part in before if part.name == f"table {table}")
    if not create or state == "wrong" or all(part.state != "missing" for part in before):
        return before
    # To build an index on a table that is in use, its writers are not kept waiting.
    in_use = state != "missing"
    for part, statement in zip(before, _statements(table, concurrently=in_use), strict=True):
        if part.state == "missing":
            # Somebody else makes it at the same time, perhaps.
            with suppress(
                errors.DuplicateSchema,
                errors.DuplicateTable,
                errors.DuplicateObject,
                errors.UniqueViolation,
            ):
                await wire.ask(
                    Statement(statement.encode(), ()), [], monotonic() + max(seconds, _BUILD_SECONDS)
                )
    after = await _parts(wire, table, seconds)
    missing = {part.name for part in before if part.state == "missing"}
    return [
        part._replace(state="made") if part.name in missing and part.state == "there" else part
        for part in after
    ]


def as_code(database: str, table: str, form: str) -> str:
    """The table as SQL, with two roles and their rights. Raises `ConfigError` for another form than "sql"."""
    if form != "sql":
        raise ConfigError(f"PostgreSQL is not set up as {form}: the only form that there is is sql")
    name, schema = sql.quoted(table), table.rpartition(".")[0]
    statements = ";\n\n".join(_statements(table, concurrently=False))
    app, sweeper = _role("app", database, table), _role("sweeper", database, table)
    usage = f'GRANT USAGE ON SCHEMA "{schema}" TO {app}, {sweeper};\n' if schema else ""
    return f"""\
-- The sessions of Holdfast. To be run by the database's owner, with CREATEROLE; to run it again does no harm.

{statements};

-- Roles are the whole server's: these are named after the URL's database and the table that they are for.
{_created(app)}
{_created(sweeper)}
{usage}
-- What an application needs at run time: it cannot make, alter or empty the table, nor delete from it.
-- Give it to the role that the application signs in as: GRANT {app} TO that_role;
GRANT SELECT, INSERT, UPDATE ON {name} TO {app};

-- What sweeping expired sessions needs (sessions.sweep()): for the application too, or for a job of its own.
GRANT SELECT, DELETE ON {name} TO {sweeper};
"""


def _role(kind: str, database: str, table: str) -> str:
    beginning = f"holdfast_{kind}__"  # never pg_, which is PostgreSQL's own
    return f'"{beginning}{one_name(database, *table.split("."), longest=_LONGEST_NAME - len(beginning))}"'


def _created(role: str) -> str:
    return f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"


def _statements(table: str, *, concurrently: bool) -> list[str]:
    """What makes the parts, in their order."""
    name, (schema, _, plain) = sql.quoted(table), table.rpartition(".")
    columns = ",\n".join(
        f"    {column} {kind}{'' if column == _NULLABLE else ' NOT NULL'}{' PRIMARY KEY' if column == 'key' else ''}"
        for column, kind in _COLUMNS.items()
    )
    index = f"CREATE INDEX {'CONCURRENTLY ' if concurrently else ''}IF NOT EXISTS"
    return [
        *([f'CREATE SCHEMA IF NOT EXISTS "{schema}"'] if schema else []),
        # Room on each page lets a change stay on it, where no index has to be told.
        f"CREATE TABLE IF NOT EXISTS {name} (\n{columns}\n) WITH (fillfactor = 70)",
        f'{index} "{plain}_expires_at" ON {name} (abs(expires_at))',
        f'{index} "{plain}_owner" ON {name} (sha256(owner)) WHERE owner IS NOT NULL AND NOT ended',
    ]


async def _parts(wire: Wire, table: str, seconds: float) -> list[Part]:
    name = sql.quoted(table)
    columns = {column: rest for column, *rest in await _rows(wire, _READ_COLUMNS, name, seconds)}
    indices = await _rows(wire, _READ_INDICES, name, seconds)
    flaws = [
        f"{column} should be {kind}{'' if column == _NULLABLE else ' NOT NULL'}"
        for column, kind in _COLUMNS.items()
        if columns.get(column, [])[:2] != [kind, "false" if column == _NULLABLE else "true"]
    ]
    flaws += [
        f"{column} needs a default, for it is not written"
        for column, (_, is_required, has_default) in sorted(columns.items())
        if column not in _COLUMNS and is_required == "true" and has_default == "false"
    ]
    if not any(text.endswith("(key)") and is_primary == "true" for _, text, _, is_primary, _ in indices):
        flaws.append("key should be the primary key")
    state = Part(f"table {table}", "wrong", "; ".join(flaws)) if flaws else Part(f"table {table}", "there")
    return [
        *await _schema(wire, table.rpartition(".")[0], seconds),
        state if columns else Part(f"table {table}", "missing"),
        *(_index(indices, table, *index) for index in _INDICES),
    ]


async def _schema(wire: Wire, schema: str, seconds: float) -> list[Part]:
    """The schema, if the table's name has one. Otherwise it is one that the database has from the beginning."""
    if not schema:
        return []
    found = await _rows(wire, _READ_SCHEMA, schema, seconds)
    return [Part(f"schema {schema}", "there" if found else "missing")]


async def _rows(wire: Wire, text: bytes, name: str, seconds: float) -> list[list[str]]:
    answer = await wire.ask(Statement(text, (sql.TEXT,)), [name.encode()], monotonic() + seconds)
    return [
        [(answer.get_value(row, column) or b"").decode() for column in range(answer.nfields)]
        for row in range(answer.ntuples)
    ]


def _index(found: list[list[str]], table: str, expression: str, condition: str, ending: str) -> Part:
    part = Part(f"index on {expression} of {table}", "missing")
    fitting = [
        is_valid
        for _, text, is_valid, _, under in found
        if f"USING btree ({expression})" in text and under in ("", condition)
    ]
    if "true" in fitting:
        return part._replace(state="there")
    if fitting:
        detail = "it was not built to the end: drop it, and provision again"
        return part._replace(state="wrong", detail=detail)
    name = f"{table.rpartition('.')[2]}_{ending}"
    if any(other == name for other, *_ in found):
        # IF NOT EXISTS looks at the name alone: it would be there in name for ever.
        detail = f"something else has its name, {name}: drop that or rename it, and provision again"
        return part._replace(state="wrong", detail=detail)
    return part
