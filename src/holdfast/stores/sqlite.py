"""Sessions in one SQLite file: durable, shared by the threads and processes of one machine, nothing to install.

Loading, creating, changing and ending are one statement each, or two where somebody else has changed the session
meanwhile. Needs SQLite 3.35 and a local disk: its write-ahead log does not work over a network file system.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar

from .. import deadline
from ..codec import pack_values, unpack_values
from ..errors import ConfigError
from ..record import Change, Record, apply, judge
from . import Page, Part, _sqlite_file
from ._options import options, positive
from ._recent import Recent, is_applicable

T = TypeVar("T")
Row = tuple[Any, ...]

_LOAD = "SELECT * FROM sessions WHERE key = ?"
_LIVE_TAG = "SELECT tag FROM sessions WHERE key = ? AND NOT ended"
_CREATE = "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"
# A column that is named is written to its index anew, even if it stays what it was: so none is that need not be.
_COMMIT = {
    (with_owner, with_expiry): f"""
UPDATE sessions SET version = version + 1, tag = :tag, data = holdfast_merge(data, :set, :unset)
    {", owner = :owner" if with_owner else ""} {", expires_at = :expires_at" if with_expiry else ""}
WHERE key = :key AND NOT ended AND expires_at > :now AND tag <> :tag AND (:base IS NULL OR version = :base)
RETURNING *"""  # noqa: S608 - put together from what stands here
    for with_owner in (True, False)
    for with_expiry in (True, False)
}
# For a change of values to a record that is still the one remembered, by its tag.
_COMMIT_KNOWN = "UPDATE sessions SET version = ?, tag = ?, data = ? WHERE key = ? AND tag = ? AND NOT ended"
_END = "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_OF = "SELECT * FROM sessions WHERE owner = ? AND NOT ended"
# A rotation has sealed what expires at a time below zero: it did so then, and that stays for a minute.
_SWEEP = (
    "DELETE FROM sessions WHERE key IN "
    "(SELECT key FROM sessions WHERE expires_at < ?1 AND expires_at > 60 - ?1 LIMIT ?2)"
)

_SCAN = "SELECT * FROM sessions WHERE key > ? ORDER BY key LIMIT ?"
_SCAN_FROM_THE_BEGINNING = "SELECT * FROM sessions WHERE ? IS NULL ORDER BY key LIMIT ?"
_COUNT = "SELECT count(*) FROM sessions"

# What comes of a statement: the rows that it returns, or how many it has changed.
_rows: Callable[[sqlite3.Cursor], list[Row]] = sqlite3.Cursor.fetchall
_changed: Callable[[sqlite3.Cursor], int] = attrgetter("rowcount")

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
        self._path = _sqlite_file.absolute(path)
        self._idle: list[sqlite3.Cursor] = []
        self._inherited: list[sqlite3.Cursor] = []
        self._recent = Recent()
        _sqlite_file.prepare(self._path, self._timeout)
        _stores.add(self)

    @classmethod
    def from_url(cls, url: str) -> SQLiteStore:
        """The store for `sqlite:///relative.db` or `sqlite:////absolute/path.db`.

        Options: `?timeout=1.5&synchronous=normal`. Raises `ConfigError`.
        """
        from urllib.parse import unquote, urlsplit  # as `stores.from_url`

        parts = urlsplit(url)
        path = unquote(parts.path.removeprefix("/"))
        if parts.netloc or parts.fragment or not path:
            raise ConfigError(f"{url!r}: write sqlite:///relative.db or sqlite:////absolute/path.db")
        if path == ":memory:":
            raise ConfigError(f"{url!r}: SQLite's memory is lost with its connection, write memory://")
        return cls(path, **options(url, {"timeout": float, "synchronous": str}))

    async def create(self, key: str, record: Record) -> bool:
        return self._execute(_CREATE, _row(key, record), _changed) == 1

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        known = self._recent.get(key)
        # A tag names a change, and so what the record was after it. To fetch all of what is known already would
        # cost more than to ask a second time for what is not.
        if known is not None and self._execute(_LIVE_TAG, (key,), _rows) == [(known[1],)]:
            return known[0]
        rows = self._execute(_LOAD, (key,), _rows)
        return self._remember(key, _record(rows[0])) if rows else None

    async def commit(self, key: str, change: Change) -> Record:
        known = self._recent.get(key)
        if known is not None and (changed := self._commit_known(key, known[0], change)) is not None:
            return changed
        statement = _COMMIT[change.owner is not None, change.expires_at is not None]
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
        for _ in deadline.rounds(_ROUNDS):
            rows = self._execute(statement, parameters, _rows)
            if rows:
                return self._remember(key, _record(rows[0]))
            # Only what was refused costs a second statement, which is to say why.
            applied = judge(await self.load(key), change)
            if applied is not None:
                return applied
        raise sqlite3.OperationalError(f"the record was replaced {_ROUNDS} times while it was to be changed")

    def _commit_known(self, key: str, known: Record, change: Change) -> Record | None:
        """The record that follows the known one, if that is what is stored and only values change; else None."""
        if change.owner is not None or change.expires_at is not None or not is_applicable(change, known):
            return None
        changed = apply(known, change)
        parameters = (changed.version, changed.tag, pack_values(dict(changed.values)))
        if self._execute(_COMMIT_KNOWN, (*parameters, key, known.tag), _changed) != 1:
            return None
        return self._remember(key, changed)

    def _remember(self, key: str, record: Record) -> Record:
        return self._recent.put(key, record, record.tag)

    async def end(self, key: str, tombstone: Record) -> None:
        self._recent.forget(key)
        self._execute(_END, _row(key, tombstone), _changed)

    async def of(self, owner: str) -> dict[str, Record]:
        rows = self._execute(_OF, (owner,), _rows)
        return {row[0]: _record(row) for row in rows}

    async def sweep(self, now: float) -> int:
        deleted = 0
        while True:
            step = self._execute(_SWEEP, (now, _SWEEP_STEP), _changed)
            deleted += step
            if step < _SWEEP_STEP:
                return deleted

    async def scan(self, after: str | None, most: int) -> Page:
        from urllib.parse import quote, unquote  # as above

        statement = _SCAN_FROM_THE_BEGINNING if after is None else _SCAN
        rows = self._execute(statement, (None if after is None else unquote(after), most), _rows)
        return Page(
            {row[0]: _record(row) for row in rows},
            quote(rows[-1][0], safe="") if len(rows) == most else None,
        )

    async def count(self) -> int:
        rows = self._execute(_COUNT, (), _rows)
        return int(rows[0][0])

    async def provision(self, *, create: bool) -> list[Part]:
        from ..provision import sqlite as parts

        return parts.provision(self._path, self._timeout, create=create)

    def as_code(self, form: str) -> str:
        from ..provision import sqlite as parts

        return parts.as_code(form)

    async def aclose(self) -> None:
        """Close the connections that are not in use. A later call opens new ones."""
        self.close()

    def close(self) -> None:
        """The same as `aclose`, for sync callers."""
        while self._idle:
            self._idle.pop().connection.close()

    def _execute(
        self,
        statement: str,
        parameters: dict[str, Any] | tuple[Any, ...],
        outcome: Callable[[sqlite3.Cursor], T],
    ) -> T:
        """What comes of the statement: `_rows` or `_changed`. It is committed when this returns."""
        wait = deadline.limit(self._timeout)
        try:
            cursor = self._idle.pop()
        except IndexError:
            cursor = self._connect(wait)
        try:
            if wait < self._timeout:
                _wait_at_most(cursor, wait)
            cursor.execute(statement, parameters)
            result = outcome(cursor)
            if wait < self._timeout:
                _wait_at_most(cursor, self._timeout)
        except BaseException:
            cursor.connection.close()
            raise
        if len(self._idle) < _MAX_IDLE_CONNECTIONS:
            self._idle.append(cursor)
        else:
            cursor.connection.close()
        return result

    def _connect(self, wait: float) -> sqlite3.Cursor:
        """The cursor of a new connection."""
        connection = _sqlite_file.connect(self._path, wait)
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.create_function("holdfast_merge", 3, _merge, deterministic=True)
        return connection.cursor()


def _wait_at_most(cursor: sqlite3.Cursor, seconds: float) -> None:
    """Let calls on the connection wait for other writers no longer than this."""
    cursor.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


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


def _record(row: Row) -> Record:
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


# A thread may have opened one since: the child must neither use nor close it, and keeps it aside for good.
def _keep_aside_after_fork() -> None:
    for store in list(_stores):
        store._inherited += store._idle
        store._idle = []


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_before_fork, after_in_child=_keep_aside_after_fork)
