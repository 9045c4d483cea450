"""The statements of a `PostgresStore`, and how a record stands in a row.

A record's values are a jsonb object, so that a change can set and remove single ones where they are. jsonb can hold
neither a NUL nor, in a database of another encoding, every letter: names that are not plain ASCII stand there as
Python would escape them, and values, which are any bytes, in base64. Measured against two arrays of bytea, which
need no encoding: to change one of eight values there took 100 µs longer, and to load them 25.
"""

# ruff: noqa: S608 - all that is put into statements is the name of the table, which is checked

from __future__ import annotations

import json
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Collection, Mapping
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Any

from psycopg import pq

from ..errors import ConfigError
from ..record import Change, Record
from ._postgres_line import Statement

BOOL, BYTEA, INT8, TEXT, FLOAT8, TEXTS, JSONB = 16, 17, 20, 25, 701, 1009, 3802

Row = list[bytes | None]

# Every column of a record but the key, in the order of its fields.
_COLUMNS = "version, tag, data, owner, created_at, expires_at, ended"
_ROW = (TEXT, INT8, BYTEA, JSONB, BYTEA, FLOAT8, FLOAT8, BOOL)

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}(\.[a-z_][a-z0-9_]{0,39})?", re.ASCII)

_int8, _float8 = Struct(">q"), Struct(">d")
_JSONB_VERSION = b"\x01"

# What json.dumps and json.loads come to, after some looking around.
_encode, _decode = json.JSONEncoder().encode, json.JSONDecoder().raw_decode


class Statements:
    """What is said about the sessions in a table, `name` or `schema.name`.

    Raises `ConfigError` for a name that is not of small letters, digits and underscores.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(
                f"table={name!r}: write a name of small letters, digits and underscores, or schema.name"
            )
        self.table = table = quoted(name)
        self.create = _serving(
            f"INSERT INTO {table} (key, {_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
            "ON CONFLICT (key) DO NOTHING",
            *_ROW,
        )
        self.load = _serving(f"SELECT {_COLUMNS} FROM {table} WHERE key = $1", TEXT)
        self.end = _serving(
            f"INSERT INTO {table} AS t (key, {_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
            f"ON CONFLICT (key) DO UPDATE SET ({_COLUMNS}) = ($2, $3, $4, $5, $6, $7, $8)",
            *_ROW,
        )
        self.of = _statement(
            f"SELECT {_COLUMNS}, key FROM {table} WHERE sha256(owner) = sha256($1) AND owner = $1 AND NOT ended",
            BYTEA,
        )
        # A rotation has sealed what expires at a time below zero: it did so then, and that stays for a minute.
        self.sweep = _statement(
            f"DELETE FROM {table} WHERE key = ANY (ARRAY("
            f"SELECT key FROM {table} WHERE abs(expires_at) < $1 AND expires_at > 60 - $1 LIMIT $2)) "
            "AND abs(expires_at) < $1 AND expires_at > 60 - $1",
            FLOAT8,
            INT8,
        )
        self.scan = _statement(
            f"SELECT {_COLUMNS}, key FROM {table} WHERE key > $1 ORDER BY key LIMIT $2", TEXT, INT8
        )
        # Few are counted. Of many, the rows to a page when they were last looked at tell the number.
        self.count = _statement(
            "SELECT CASE WHEN relpages < 100 OR reltuples < 0 OR pages < 1000 "
            f"THEN (SELECT count(*) FROM {table}) ELSE (reltuples / relpages * pages)::bigint END FROM "
            "(SELECT relpages, reltuples, pg_relation_size(oid) / current_setting('block_size')::bigint AS pages "
            f"FROM pg_class WHERE oid = '{table}'::regclass) AS sizes"
        )

    def commit(self, key: str, change: Change) -> tuple[Statement, Row]:
        """What applies a change, if it may be, and returns the record; and its parameters."""
        parts = (bool(change.set), bool(change.unset), change.expires_at is None, change.owner is None)
        row = [key.encode(), change.tag, _float8.pack(change.now)]
        if change.set:
            row.append(_data(change.set))
        if change.unset:
            row.append(_texts(change.unset))
        if change.expires_at is not None:
            row.append(_float8.pack(change.expires_at))
        if change.owner is not None:
            row.append(change.owner.encode())
        if change.base is not None:
            row.append(_int8.pack(change.base))
        return _commit(self.table, *parts, change.base is None), [*row]


@lru_cache
def _commit(
    table: str, sets: bool, unsets: bool, same_expiry: bool, same_owner: bool, any_base: bool
) -> Statement:
    """The one for changes of a kind. Fewer parts are planned sooner, for as a rule no plan is kept."""
    types = [TEXT, BYTEA, FLOAT8]

    def next_parameter(kind: int) -> str:
        types.append(kind)
        return f"${len(types)}"

    assignments = ["version = version + 1", "tag = $2"]
    setting = f" || {next_parameter(JSONB)}" if sets else ""
    unsetting = f"(data - {next_parameter(TEXTS)})" if unsets else "data"
    if sets or unsets:
        assignments.append(f"data = {unsetting}{setting}")
    if not same_expiry:
        assignments.append(f"expires_at = {next_parameter(FLOAT8)}")
    if not same_owner:
        assignments.append(f"owner = {next_parameter(BYTEA)}")
    conditions = ["key = $1", "NOT ended", "expires_at > $3", "tag <> $2"]
    if not any_base:
        conditions.append(f"version = {next_parameter(INT8)}")
    text = (
        f"UPDATE {table} SET {', '.join(assignments)} WHERE {' AND '.join(conditions)} RETURNING {_COLUMNS}"
    )
    return _serving(text, *types)


def quoted(name: str) -> str:
    """The table's name as SQL has it, however it would be read without quotes."""
    return ".".join(f'"{part}"' for part in name.split("."))


def row_of(key: str, record: Record) -> Row:
    """A record as parameters, in the order of the columns."""
    return [
        key.encode(),
        _int8.pack(record.version),
        record.tag,
        _data(record.values),
        None if record.owner is None else record.owner.encode(),
        _float8.pack(record.created_at),
        _float8.pack(record.expires_at),
        b"\1" if record.ended else b"\0",
    ]


def record_of(answer: pq.abc.PGresult, number: int = 0) -> Record:
    """The record in a row of an answer."""
    value: Any = answer.get_value  # a column of a record holds NULL nowhere but in the owner
    owner = value(number, 3)
    return Record(
        _int8.unpack(value(number, 0))[0],
        value(number, 1),
        _values(value(number, 2)),
        None if owner is None else owner.decode(),
        _float8.unpack(value(number, 4))[0],
        _float8.unpack(value(number, 5))[0],
        value(number, 6) == b"\1",
    )


def records_of(answer: pq.abc.PGresult) -> dict[str, Record]:
    """The records in an answer that has the key last."""
    numbers = range(answer.ntuples)
    return {_text(answer.get_value(number, 7)): record_of(answer, number) for number in numbers}


def number(value: int) -> bytes:
    """A bigint as parameter."""
    return _int8.pack(value)


def number_of(answer: pq.abc.PGresult) -> int:
    """The bigint that is all of an answer."""
    value = answer.get_value(0, 0)
    return 0 if value is None else int(_int8.unpack(value)[0])


def time(value: float) -> bytes:
    """A double as parameter."""
    return _float8.pack(value)


def _statement(text: str, *types: int) -> Statement:
    return Statement(text.encode(), types)


def _serving(text: str, *types: int) -> Statement:
    """One that serves requests, by its key: it is planned alike whatever its values are, and so worth preparing.

    Its name says all of it: who finds that name prepared finds this statement.
    """
    name = sha256(f"{text}{types}".encode()).hexdigest()[:32]
    return Statement(text.encode(), types, f"holdfast_{name}".encode())


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


def _data(values: Mapping[str, bytes]) -> bytes:
    pairs = {_escaped(name): b2a_base64(value, newline=False).decode() for name, value in values.items()}
    return _JSONB_VERSION + _encode(pairs).encode()


def _values(data: bytes) -> dict[str, bytes]:
    pairs, _ = _decode(data[1:].decode())
    if b"\\" not in data:
        return {name: a2b_base64(value) for name, value in pairs.items()}
    return {name.encode().decode("unicode_escape"): a2b_base64(value) for name, value in pairs.items()}


def _escaped(name: str) -> str:
    return name.encode("unicode_escape").decode()


def _texts(names: Collection[str]) -> bytes:
    """Names as an array of text: one dimension, no NULLs, the type, so many from number 1 on, each with its length."""
    elements = [_escaped(name).encode() for name in names]
    head = Struct(">5i").pack(1, 0, TEXT, len(elements), 1)
    return head + b"".join(len(element).to_bytes(4, "big") + element for element in elements)
