"""Sessions in one SQLite file: durable, shared by the threads and processes of one machine, nothing to install.

Loading, creating, changing and ending are one statement each. Needs SQLite 3.35 and a local disk: SQLite's
write-ahead log does not work over a network file system.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..codec import pack_values, unpack_values
from ..errors import ConfigError
from ..record import Change, Record, judge
from . import _sqlite_file
from ._options import options, positive

_LOAD = "SELECT * FROM sessions WHERE key = ?"
_CREATE = "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"
_COMMIT = """
UPDATE sessions SET
    version = version + 1, tag = :tag, data = holdfast_merge(data, :set, :unset),
    owner = coalesce(:owner, owner), expires_at = coalesce(:expires_at, expires_at)
WHERE key = :key AND NOT ended AND expires_at > :now AND tag <> :tag AND (:base IS NULL OR version = :base)
RETURNING *"""
_END = "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_OF = "SELECT * FROM sessions WHERE owner = ? AND NOT ended"
_SWEEP = "DELETE FROM sessions WHERE key IN (SELECT key FROM sessions WHERE expires_at < ? LIMIT ?)"

# A sweep goes in steps, so that no other writer waits for long.
_SWEEP_STEP = 1000

_MAX_IDLE_CONNECTIONS = 8

# How often a change that met no record it could be applied to, but then one that it could, is tried again.
_ROUNDS = 4


class SQLiteStore:
    """A store in the file at `path`, which is made, readable by its owner only, if it is missing.

    `timeout` is how many seconds a call waits for other writers. `synchronous` is SQLite's setting of that
    name: with FULL, what is acknowledged survives a power failure; with NORMAL, the death of the process.
    Safe for threads, processes and forks. Raises `ConfigError` for a file that cannot be used, saying what to
    do; its calls raise sqlite3's own errors.
    """

    colours = frozenset({"sync"})
    unavailable = (sqlite3.OperationalError,)
    max_bytes = 8 * 1024 * 1024

    def __init__(
        self, path: str | os.PathLike[str], *, timeout: float = 2.0, synchronous: str = "FULL"
    ) -> None:
        self._timeout = positive(timeout, "timeout")
        self._synchronous = synchronous.upper()
        if self._synchronous not in ("FULL", "NORMAL", "EXTRA"):
            raise ConfigError(f"synchronous={synchronous!r}: write FULL, NORMAL or EXTRA")
        # Absolute, so that it stays the same file when the process changes its working directory.
        self._path = Path(path).absolute()
        self._idle: list[sqlite3.Connection] = []
        self._inherited: list[sqlite3.Connection] = []
        self._pid = os.getpid()
        _sqlite_file.prepare(self._path, self._timeout)
        _stores.add(self)

    @classmethod
    def from_url(cls, url: str) -> SQLiteStore:
        """The store for `sqlite:///relative.db` or `sqlite:////absolute/path.db`.

        Options: `?timeout=1.5&synchronous=normal`. Raises `ConfigError`.
        """
        parts = urlsplit(url)
        path = unquote(parts.path.removeprefix("/"))
        if parts.netloc or parts.fragment or not path:
            raise ConfigError(f"{url!r}: write sqlite:///relative.db or sqlite:////absolute/path.db")
        if path == ":memory:":
            raise ConfigError(f"{url!r}: SQLite's memory is lost with its connection, write memory://")
        return cls(path, **options(url, {"timeout": float, "synchronous": str}))

    async def create(self, key: str, record: Record) -> bool:
        _, inserted = self._execute(_CREATE, _row(key, record))
        return inserted == 1

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        rows, _ = self._execute(_LOAD, (key,))
        return _record(rows[0]) if rows else None

    async def commit(self, key: str, change: Change) -> Record:
        parameters = {
            "key": key,
            "tag": change.tag,
            "now": change.now,
            "base": change.base,
            "owner": change.owner,
            "expires_at": change.expires_at,
            "set": pack_values(dict(change.set)) if change.set else None,
            "unset": pack_values(dict.fromkeys(change.unset, b"")) if change.unset else None,
        }
        for _ in range(_ROUNDS):
            rows, _ = self._execute(_COMMIT, parameters)
            if rows:
                return _record(rows[0])
            # Only what was refused costs a second statement, which is to say why.
            applied = judge(await self.load(key), change)
            if applied is not None:
                return applied
        raise sqlite3.OperationalError(f"the record was replaced {_ROUNDS} times while it was to be changed")

    async def end(self, key: str, tombstone: Record) -> None:
        self._execute(_END, _row(key, tombstone))

    async def of(self, owner: str) -> dict[str, Record]:
        rows, _ = self._execute(_OF, (owner,))
        return {row[0]: _record(row) for row in rows}

    async def sweep(self, now: float) -> int:
        deleted = 0
        while True:
            _, step = self._execute(_SWEEP, (now, _SWEEP_STEP))
            deleted += step
            if step < _SWEEP_STEP:
                return deleted

    async def aclose(self) -> None:
        """Close the connections that are not in use. A later call opens new ones."""
        self.close()

    def close(self) -> None:
        """The same as `aclose`, for sync callers."""
        while self._idle:
            self._idle.pop().close()

    def _execute(self, statement: str, parameters: dict[str, Any] | tuple[Any, ...]) -> tuple[list[Any], int]:
        """The rows that the statement returns, and how many it changed. It is committed when this returns."""
        connection = self._take()
        try:
            cursor = connection.execute(statement, parameters)
            result = cursor.fetchall(), cursor.rowcount
        except BaseException:
            connection.close()
            raise
        if len(self._idle) < _MAX_IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.close()
        return result

    def _take(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            # Connections of the parent must be neither used nor closed here: they are kept aside for good.
            self._inherited, self._idle, self._pid = self._idle, [], os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            pass
        connection = _sqlite_file.connect(self._path, self._timeout)
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.create_function("holdfast_merge", 3, _merge, deterministic=True)
        return connection


def _row(key: str, record: Record) -> tuple[Any, ...]:
    return (
        key,
        record.version,
        record.tag,
        pack_values(dict(record.values)),
        record.owner,
        record.created_at,
        record.expires_at,
        record.ended,
    )


def _record(row: tuple[Any, ...]) -> Record:
    _, version, tag, data, owner, created_at, expires_at, ended = row
    return Record(version, tag, unpack_values(data), owner, created_at, expires_at, bool(ended))


def _merge(data: bytes, set_: bytes | None, unset: bytes | None) -> bytes:
    """SQL's `holdfast_merge`: the packed values with a change applied."""
    if set_ is None and unset is None:
        return data
    values = unpack_values(data)
    for name in unpack_values(unset) if unset is not None else ():
        values.pop(name, None)
    if set_ is not None:
        values.update(unpack_values(set_))
    return pack_values(values)


# SQLite forgets what a process has locked when that process inherits it by a fork: with a connection open
# meanwhile, the child could lose its log to another process that believes itself alone. So none is open.
_stores: weakref.WeakSet[SQLiteStore] = weakref.WeakSet()


def _close_before_fork() -> None:
    for store in list(_stores):
        store.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_before_fork)
