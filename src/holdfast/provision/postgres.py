"""The table of a `PostgresStore`, with its indices: made, checked, and printed as SQL."""

# ruff: noqa: S608 - all that is put into statements is the name of the table, which the store has checked

from __future__ import annotations

from contextlib import suppress
from time import monotonic

from psycopg import errors

from ..errors import ConfigError
from ..stores import Part
from ..stores import _postgres_sql as sql
from ..stores._postgres_line import Statement
from ..stores._postgres_wire import Wire

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

# How long an index on a table of many sessions may take.
_BUILD_SECONDS = 600.0

# Each column as text.
_READ_COLUMNS = b"""
SELECT attname::text, format_type(atttypid, atttypmod) || CASE WHEN collname = 'C' THEN ' COLLATE "C"' ELSE '' END,
    attnotnull::text, atthasdef::text
FROM pg_attribute LEFT JOIN pg_collation ON pg_collation.oid = attcollation
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"""
_READ_INDICES = b"""
SELECT pg_get_indexdef(indexrelid), indisvalid::text, indisprimary::text
FROM pg_index WHERE indrelid = to_regclass($1)"""


async def provision(wire: Wire, table: str, seconds: float, *, create: bool) -> list[Part]:
    """What the store needs, each with its state; with `create` what is missing is made first.

    A question may take so many `seconds`. Raises psycopg's errors.
    """
    before = await _parts(wire, table, seconds)
    if not create or before[0].state == "wrong" or all(part.state != "missing" for part in before):
        return before
    # To build an index on a table that is in use, its writers are not kept waiting.
    in_use = before[0].state != "missing"
    for part, statement in zip(before, _statements(table, concurrently=in_use), strict=True):
        if part.state == "missing":
            # Somebody else makes it at the same time, perhaps.
            with suppress(errors.DuplicateTable, errors.DuplicateObject, errors.UniqueViolation):
                await wire.ask(
                    Statement(statement.encode(), ()), [], monotonic() + max(seconds, _BUILD_SECONDS)
                )
    after = await _parts(wire, table, seconds)
    missing = {part.name for part in before if part.state == "missing"}
    return [
        part._replace(state="made") if part.name in missing and part.state == "there" else part
        for part in after
    ]


def as_code(table: str, form: str) -> str:
    """The table as SQL, with two roles and their rights. Raises `ConfigError` for another form than "sql"."""
    if form != "sql":
        raise ConfigError(f"PostgreSQL is not set up as {form}: the only form that there is is sql")
    name, schema = sql.quoted(table), table.rpartition(".")[0]
    statements = ";\n\n".join(_statements(table, concurrently=False))
    usage = f'GRANT USAGE ON SCHEMA "{schema}" TO holdfast_app, holdfast_sweeper;\n' if schema else ""
    return f"""\
-- The sessions of Holdfast. To be run by the owner of the database; to run it again does no harm.

{statements};

-- What an application needs at run time: it cannot make, alter or empty the table, nor delete from it.
-- Give it to the role that the application signs in as: GRANT holdfast_app TO that_role;
{_role("holdfast_app")}
{usage}GRANT SELECT, INSERT, UPDATE ON {name} TO holdfast_app;

-- What sweeping expired sessions needs (sessions.sweep()): for the application too, or for a job of its own.
{_role("holdfast_sweeper")}
GRANT SELECT, DELETE ON {name} TO holdfast_sweeper;
"""


def _role(name: str) -> str:
    return f"DO $$ BEGIN CREATE ROLE {name} NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"


def _statements(table: str, *, concurrently: bool) -> list[str]:
    """What makes the parts, in their order."""
    name, plain = sql.quoted(table), table.rpartition(".")[2]
    columns = ",\n".join(
        f"    {column} {kind}{'' if column == _NULLABLE else ' NOT NULL'}{' PRIMARY KEY' if column == 'key' else ''}"
        for column, kind in _COLUMNS.items()
    )
    index = f"CREATE INDEX {'CONCURRENTLY ' if concurrently else ''}IF NOT EXISTS"
    return [
        # Room on each page lets a change stay on it, where no index has to be told.
        f"CREATE TABLE IF NOT EXISTS {name} (\n{columns}\n) WITH (fillfactor = 70)",
        f'{index} "{plain}_expires_at" ON {name} (abs(expires_at))',
        f'{index} "{plain}_owner" ON {name} (sha256(owner)) WHERE owner IS NOT NULL AND NOT ended',
    ]


async def _parts(wire: Wire, table: str, seconds: float) -> list[Part]:
    columns = {column: rest for column, *rest in await _rows(wire, _READ_COLUMNS, table, seconds)}
    indices = await _rows(wire, _READ_INDICES, table, seconds)
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
    if not any(text.endswith("(key)") and is_primary == "true" for text, _, is_primary in indices):
        flaws.append("key should be the primary key")
    state = Part(f"table {table}", "wrong", "; ".join(flaws)) if flaws else Part(f"table {table}", "there")
    return [
        state if columns else Part(f"table {table}", "missing"),
        _index(indices, "abs(expires_at)", table),
        _index(indices, "sha256(owner)", table),
    ]


async def _rows(wire: Wire, text: bytes, table: str, seconds: float) -> list[list[str]]:
    statement = Statement(text, (sql.TEXT,))
    answer = await wire.ask(statement, [sql.quoted(table).encode()], monotonic() + seconds)
    return [
        [(answer.get_value(row, column) or b"").decode() for column in range(answer.nfields)]
        for row in range(answer.ntuples)
    ]


def _index(indices: list[list[str]], expression: str, table: str) -> Part:
    fitting = [is_valid for text, is_valid, _ in indices if f"USING btree ({expression})" in text]
    name = f"index on {expression} of {table}"
    if not fitting:
        return Part(name, "missing")
    if "true" not in fitting:
        return Part(name, "wrong", "it was not built to the end: drop it, and provision again")
    return Part(name, "there")
