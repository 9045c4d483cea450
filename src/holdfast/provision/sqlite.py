"""What a `SQLiteStore` needs: a file that only its owner can read, with the tables in it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import NamedTuple

from ..errors import ConfigError
from ..stores import Part, _sqlite_file
from ..stores._options import positive
from ..stores.sqlite import SQLiteStore


class UnmadeSQLiteStore(SQLiteStore):
    """A `SQLiteStore` that does not make its file at construction: only to be asked about its parts."""

    def __init__(
        self, path: str | os.PathLike[str], *, timeout: float = 2.0, synchronous: str = "FULL"
    ) -> None:
        self._path = _sqlite_file.absolute(path)
        self._timeout = positive(timeout, "timeout")
        self._idle = []


UnmadeSQLiteStore.__name__ = SQLiteStore.__name__  # as errors are to name it


def provision(path: str, timeout: float, *, create: bool) -> list[Part]:
    """The parts and their states; with `create` the file and whatever is missing in it are made first."""
    before = _look(path, timeout)
    if create and before.stranger is None:
        if not before.names:
            _sqlite_file.prepare(path, timeout)
        else:
            _add(path, timeout, [name for name in _sqlite_file.TABLES if name not in before.names])
    after = _look(path, timeout)
    if after.stranger is not None:
        return [Part("file", "wrong", f"{path} {after.stranger}")]
    parts = [_part("file", before.exists, after.exists)._replace(detail=path)]
    if after.exists:
        parts.append(_permissions(path))
    parts += [_part(name, name in before.names, name in after.names) for name in _sqlite_file.TABLES]
    if after.names:
        parts.append(_log(after.log))
    return parts


def as_code(form: str) -> str:
    """The tables as a script for the `sqlite3` command. Raises `ConfigError` for any other form."""
    if form != "sql":
        raise ConfigError(f"a SQLite file can be printed as sql, not as {form!r}")
    statements = [
        "BEGIN IMMEDIATE",
        *_sqlite_file.TABLES.values(),
        *(f"PRAGMA {name} = {mark}" for name, mark in _sqlite_file.MARKS.items()),
        "COMMIT",
        "PRAGMA journal_mode = WAL",
    ]
    heading = (
        "-- The file of sessions, which is made by: umask 077 && sqlite3 sessions.db < this\n"
        "-- At run time an application reads and writes the file and its directory, and nothing else.\n"
    )
    return heading + "".join(f"{statement};\n" for statement in statements)


class _Look(NamedTuple):
    """What the file looks like. `stranger`: why it cannot be used."""

    exists: bool
    names: frozenset[str] = frozenset()
    stranger: str | None = None
    log: str = ""


def _look(path: str, timeout: float) -> _Look:
    if not os.path.exists(path):
        return _Look(False)
    if os.path.isdir(path):
        return _Look(True, stranger="is a directory: name a file in it")
    try:
        with closing(_sqlite_file.connect(path, timeout)) as connection:
            names = frozenset(
                f"{kind} {name}" for kind, name in connection.execute("SELECT type, name FROM sqlite_schema")
            )
            marks = _sqlite_file.marks_of(connection)
            (log,) = connection.execute("PRAGMA journal_mode").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_NOTADB:
            return _Look(True, stranger="is no SQLite database: give Holdfast a file of its own")
        raise
    is_empty = not names and marks == (0, 0)
    return _Look(True, names, None if is_empty else _sqlite_file.objection(marks), log)


def _add(path: str, timeout: float, missing: list[str]) -> None:
    with closing(_sqlite_file.connect(path, timeout)) as connection:
        for name in missing:
            connection.execute(_sqlite_file.TABLES[name])


def _part(name: str, was_there: bool, is_there: bool) -> Part:
    return Part(name, "there" if was_there else "made" if is_there else "missing")


def _log(mode: str) -> Part:
    if mode == "wal":
        return Part("write-ahead log", "there")
    return Part(
        "write-ahead log", "wrong", f"the journal is {mode}: PRAGMA journal_mode = WAL, on a local disk"
    )


def _permissions(path: str) -> Part:
    mode = os.stat(path).st_mode & 0o777
    if mode & 0o077:
        return Part("permissions", "wrong", f"{mode:03o}: others can read or write it, chmod 600")
    return Part("permissions", "there", "readable by its owner only")
