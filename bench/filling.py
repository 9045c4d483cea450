"""Stores full of sessions, for `scale`: one is made by the store itself, and the engine copies it as it stands.

A million sessions through the store would take minutes, and end up the same: `scale` checks that the store can load
and change whichever it picks.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from holdfast import _colour
from holdfast.record import Record
from holdfast.stores import Store, from_url

from . import servers
from .stores import VALUES

IDLE_SECONDS = 86400.0  # longer than any run


class Full(NamedTuple):
    """A store with `count` sessions, `key(0)` to `key(count - 1)`, and what they take, in bytes."""

    store: Store
    count: int
    size: int
    where: str  # they take it


def key(number: int) -> str:
    """The key of a session: as random as those that `Sessions` makes."""
    return hashlib.sha256(b"%d" % number).hexdigest()


def first(url: str) -> Store:
    """The store, with the first of its sessions in it, whose owner is user-0."""
    store, now = from_url(url), time.time()
    record = Record(1, secrets.token_bytes(8), VALUES, "user-0", now, now + IDLE_SECONDS)
    assert _colour.run(store.create(key(0), record))
    return store


@contextmanager
def sqlite(place: Path, count: int) -> Iterator[Full]:
    """A SQLite file."""
    path = place / "sessions.db"
    store = first(f"sqlite:///{path}")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.create_function("key_of", 1, key, deterministic=True)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -1000000")
    columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(sessions)")]
    changed = {"key": "key_of(n)", "owner": "'user-' || n", "expires_at": "expires_at + 0.001 * n"}
    connection.execute(
        f"""WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
        INSERT INTO sessions SELECT {", ".join(changed.get(name, name) for name in columns)}
        FROM (SELECT * FROM sessions WHERE key = ?), numbers""",
        (count - 1, key(0)),
    )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    yield Full(store, count, path.stat().st_size, "on disk")


# KEYS[1]: the session that is there, ARGV: the prefix, the number of the first copy, then the keys of the copies.
_COPY_IN_REDIS = """
local life = redis.call('PTTL', KEYS[1])
local expires_at = redis.call('HGET', KEYS[1], 'x')
for place = 3, #ARGV do
  local owner = 'user-' .. (ARGV[2] + place - 3)
  local hash, owned = ARGV[1] .. 's:' .. ARGV[place], ARGV[1] .. 'o:' .. redis.sha1hex(owner)
  redis.call('COPY', KEYS[1], hash)
  redis.call('HSET', hash, 'o', owner)
  redis.call('ZADD', owned, expires_at, ARGV[place])
  redis.call('PEXPIRE', owned, life)
end
"""


@contextmanager
def redis(place: Path, count: int) -> Iterator[Full]:
    """A Redis that keeps nothing on disk."""
    import redis as client

    prefix, step = "holdfast:", 5000
    with servers.redis(place) as url, client.Redis.from_url(url) as connection:
        store = first(url)
        copy = connection.register_script(_COPY_IN_REDIS)
        for start in range(1, count, step):
            copies = [key(number) for number in range(start, min(start + step, count))]
            copy(keys=[f"{prefix}s:{key(0)}"], args=[prefix, start, *copies])
        assert connection.dbsize() == 2 * count
        yield Full(store, count, connection.info("memory")["used_memory"], "in memory")
        store.close()  # type: ignore[attr-defined]  # a RedisStore


@contextmanager
def postgres(place: Path, count: int) -> Iterator[Full]:
    """A PostgreSQL that writes every change to disk, with buffers for all of it, analysed and vacuumed."""
    import psycopg

    from servers.postgres import PostgresServer, provisioned

    options = ("fsync=on", "shared_buffers=2GB", "max_wal_size=4GB", "checkpoint_timeout=30min")
    with PostgresServer(durable=True, options=options) as server:
        store = first(provisioned(server).url)
        with psycopg.connect(server.url, autocommit=True) as connection:
            columns = [
                name
                for (name,) in connection.execute(
                    "SELECT attname::text FROM pg_attribute WHERE attrelid = 'holdfast_sessions'::regclass "
                    "AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
                )
            ]
            changed = {
                "key": "encode(sha256(n::text::bytea), 'hex')",
                "owner": "convert_to('user-' || n, 'UTF8')",
                "expires_at": "expires_at + 0.001 * n",
            }
            connection.execute(
                f"INSERT INTO holdfast_sessions SELECT {', '.join(changed.get(name, name) for name in columns)} "
                f"FROM holdfast_sessions, generate_series(1, {count - 1}) AS n"
            )
            connection.execute("VACUUM ANALYZE holdfast_sessions")
            connection.execute("CHECKPOINT")
            ((size,),) = connection.execute("SELECT pg_total_relation_size('holdfast_sessions')")
        yield Full(store, count, size, "on disk")
        store.close()  # type: ignore[attr-defined]  # a PostgresStore


FILLERS = {"SQLite": sqlite, "PostgreSQL": postgres, "Redis": redis}
