"""The file of a `SQLiteStore`: made, recognised and opened, or refused with what to do about it."""

from __future__ import annotations

import os
import sqlite3
import time

from ..errors import ConfigError

# Whose file it is (b"Hold") and what its tables look like: PRAGMA application_id and PRAGMA user_version.
_APPLICATION, _SCHEMA = 0x486F6C64, 1
MARKS = {"application_id": _APPLICATION, "user_version": _SCHEMA}

TABLES = {
    "table sessions": """CREATE TABLE sessions (
        key TEXT PRIMARY KEY NOT NULL,
        version INTEGER NOT NULL,
        tag BLOB NOT NULL,
        data BLOB NOT NULL,
        owner TEXT,
        created_at REAL NOT NULL,
        expires_at REAL NOT NULL,
        ended INTEGER NOT NULL
    )""",
    "index sessions_expires_at": "CREATE INDEX sessions_expires_at ON sessions (expires_at)",
    "index sessions_owner": "CREATE INDEX sessions_owner ON sessions (owner) WHERE owner IS NOT NULL",
}

_REMEDIES = {
    sqlite3.SQLITE_NOTADB: "give Holdfast a file of its own",
    sqlite3.SQLITE_CORRUPT: "restore it from a backup, or move it away to begin anew",
    sqlite3.SQLITE_CANTOPEN: "let this user read and write the file and its directory",
    sqlite3.SQLITE_READONLY: "let this user write the file and its directory",
    sqlite3.SQLITE_PERM: "let this user read and write the file and its directory",
    sqlite3.SQLITE_FULL: "make room on the disk",
}


def absolute(path: str | os.PathLike[str]) -> str:
    """The path of the file, which stays the same file when the process changes its working directory."""
    name = os.fspath(path)
    return name if os.path.isabs(name) else os.path.join(os.getcwd(), name)


def connect(path: str, timeout: float) -> sqlite3.Connection:
    """A connection to the file, which has to exist. Each statement on it is a transaction of its own."""
    name = path.replace(os.sep, "/").lstrip("/")
    for mark in "%?#":  # which mean something in a URI; % comes first
        name = name.replace(mark, f"%{ord(mark):02x}")
    return sqlite3.connect(
        f"file:///{name}?mode=rw", uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
    )


def prepare(path: str, timeout: float) -> None:
    """See to it that the file at `path` is a writable database with Holdfast's tables.

    Raises `ConfigError` where that is not possible, saying what to do, and sqlite3.OperationalError if other
    processes keep it locked for longer than `timeout` seconds.
    """
    if sqlite3.sqlite_version_info < (3, 35):
        raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old, 3.35 is needed: use a newer Python")
    if not os.path.isdir(os.path.dirname(path)):
        raise ConfigError(f"{path}: its directory does not exist, make it first")
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a directory: name a file in it")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError(f"{path} cannot be made ({error.strerror}): let this user write there") from error
    try:
        connection = connect(path, timeout)
        try:
            _recognise(connection, path, timeout)
            keep_log(connection, path, timeout)
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        code = error.sqlite_errorcode & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        remedy = _REMEDIES.get(code, "choose another place for it")
        raise ConfigError(f"{path} cannot be used ({error}): {remedy}") from error


def _recognise(connection: sqlite3.Connection, path: str, timeout: float) -> None:
    """Make the tables in an empty database; refuse one that is not Holdfast's, or not of this version.

    Where there is nothing to make, it does not wait for others who write: whether a process can start must not depend
    on how busy they are.
    """
    is_made = marks_of(connection) == (_APPLICATION, _SCHEMA)
    if is_made:
        connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if is_made and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return
        raise
    finally:
        connection.execute(f"PRAGMA busy_timeout = {timeout * 1000:.0f}")
    marks = marks_of(connection)
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if marks == (0, 0) and tables == 0:
        for statement in TABLES.values():
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    elif (stranger := objection(marks)) is not None:
        raise ConfigError(f"{path} {stranger}")
    # Even where it changes nothing, this fails if the file cannot be written.
    connection.execute(f"PRAGMA user_version = {_SCHEMA}")
    connection.execute("COMMIT")


def marks_of(connection: sqlite3.Connection) -> tuple[int, int]:
    """Whose database it is, and of which version; zeros for an empty one."""
    application, schema = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in MARKS)
    return application, schema


def objection(marks: tuple[int, int]) -> str | None:
    """Why a database with these marks cannot be used, as the rest of a sentence; None if it can."""
    if marks[0] != _APPLICATION:
        return "is the database of another application: give Holdfast a file of its own"
    if marks[1] != _SCHEMA:
        return (
            f"has tables of version {marks[1]}, this Holdfast knows version {_SCHEMA}: use the release of "
            "Holdfast that made it, or move it away to begin anew"
        )
    return None


def keep_log(connection: sqlite3.Connection, path: str, timeout: float) -> None:
    """Turn on the write-ahead log, with which readers and a writer do not wait for each other."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            # SQLite does not itself wait for the lock that this takes.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
    if mode != "wal":
        raise ConfigError(f"{path} is on a file system without shared memory: put it on a local disk")
