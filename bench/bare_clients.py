"""The clients alone, as their documentation uses them: what one get and one put cost without Holdfast.

Each keeps one session of the same bytes: engines that hold blobs are given one blob, engines that hold documents a
document with a field for each key. Reads are as consistent and writes as durable as Holdfast's on the same server.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from .measure import Call

KEY = "bare-" + "0" * 59


class Bare(NamedTuple):
    """One client's way to read what it has put there, and to put it there again."""

    get: Call
    put: Call


Clients = Callable[[str, Mapping[str, bytes]], AbstractAsyncContextManager[Mapping[str, Bare]]]
"""Given the URL of the store and the values of a session, the clients by colour."""


def versions(values: Mapping[str, bytes]) -> Iterator[bytes]:
    """The session as one blob, different from one put to the next: SQLite for one writes no page that is the same."""
    data = b"".join(values.values())
    return itertools.cycle((data, data[::-1]))


def blocking(call: Callable[[], object]) -> Call:
    """A blocking call as a subject that takes turns with others."""

    async def called() -> None:
        call()

    return called


def in_thread(call: Callable[[], object]) -> Call:
    """What async callers do with a client that has no async form."""
    return lambda: asyncio.to_thread(call)


@asynccontextmanager
async def sqlite(url: str, values: Mapping[str, bytes]) -> AsyncIterator[Mapping[str, Bare]]:
    """One connection in autocommit mode, with a write-ahead log and every commit synchronised, as Holdfast's."""
    path = url.removeprefix("sqlite:///").replace("sessions.db", "bare.db")
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE bare (key TEXT PRIMARY KEY, data BLOB)")
    data = versions(values)
    connection.execute("INSERT INTO bare VALUES (?, ?)", (KEY, next(data)))

    def get() -> object:
        return connection.execute("SELECT data FROM bare WHERE key = ?", (KEY,)).fetchone()

    def put() -> object:
        return connection.execute("UPDATE bare SET data = ? WHERE key = ?", (next(data), KEY))

    yield {"sync": Bare(blocking(get), blocking(put)), "async": Bare(in_thread(get), in_thread(put))}
    connection.close()


@asynccontextmanager
async def redis(url: str, values: Mapping[str, bytes]) -> AsyncIterator[Mapping[str, Bare]]:
    """redis-py with hiredis, and its own pools."""
    import redis as client
    import redis.asyncio as async_client

    data = versions(values)
    one, other = client.Redis.from_url(url), async_client.Redis.from_url(url)
    one.set(KEY, next(data))
    yield {
        "sync": Bare(blocking(lambda: one.get(KEY)), blocking(lambda: one.set(KEY, next(data)))),
        "async": Bare(lambda: other.get(KEY), lambda: other.set(KEY, next(data))),
    }
    one.close()
    await other.aclose()


@asynccontextmanager
async def redis_cluster(url: str, values: Mapping[str, bytes]) -> AsyncIterator[Mapping[str, Bare]]:
    """redis-py's clients for a cluster."""
    from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
    from redis.cluster import RedisCluster

    first = urlsplit(url).netloc.split(",")[0]
    data = versions(values)
    one = RedisCluster.from_url(f"redis://{first}")
    other = AsyncRedisCluster.from_url(f"redis://{first}")
    one.set(KEY, next(data))
    yield {
        "sync": Bare(blocking(lambda: one.get(KEY)), blocking(lambda: one.set(KEY, next(data)))),
        "async": Bare(lambda: other.get(KEY), lambda: other.set(KEY, next(data))),
    }
    one.close()
    await other.aclose()


@asynccontextmanager
async def memcached(url: str, values: Mapping[str, bytes]) -> AsyncIterator[Mapping[str, Bare]]:
    """pymemcache with its pool and with time limits, as its documentation says; it has no async form."""
    from pymemcache.client.base import PooledClient

    data = versions(values)
    parts = urlsplit(url)
    address = parts.hostname, parts.port
    client = PooledClient(address, no_delay=True, connect_timeout=1.0, timeout=1.0)
    client.set(KEY, next(data), noreply=False)

    def get() -> object:
        return client.get(KEY)

    def put() -> object:
        return client.set(KEY, next(data), noreply=False)

    yield {"sync": Bare(blocking(get), blocking(put)), "async": Bare(in_thread(get), in_thread(put))}
    client.close()


@asynccontextmanager
async def postgres(
    url: str, values: Mapping[str, bytes], *, prepare_after: int | None = None
) -> AsyncIterator[Mapping[str, Bare]]:
    """psycopg 3, one connection a colour in autocommit mode: a row by its primary key, selected and updated.

    As its documentation says for PgBouncer, it prepares no statements on the server.
    """
    import psycopg

    select, update = "SELECT data FROM bare WHERE key = %s", "UPDATE bare SET data = %s WHERE key = %s"
    data = versions(values)
    one = psycopg.connect(url, autocommit=True, prepare_threshold=prepare_after)
    other = await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=prepare_after)
    one.execute("CREATE TABLE bare (key text PRIMARY KEY, data bytea NOT NULL)")
    one.execute("INSERT INTO bare VALUES (%s, %s)", (KEY, next(data)))

    async def get() -> object:
        return await (await other.execute(select, (KEY,))).fetchone()

    yield {
        "sync": Bare(
            blocking(lambda: one.execute(select, (KEY,)).fetchone()),
            blocking(lambda: one.execute(update, (next(data), KEY))),
        ),
        "async": Bare(get, lambda: other.execute(update, (next(data), KEY))),
    }
    one.close()
    await other.close()


def postgres_prepared(
    url: str, values: Mapping[str, bytes]
) -> AbstractAsyncContextManager[Mapping[str, Bare]]:
    """The same as it is by default: from its fifth use on a statement is prepared on the server."""
    return postgres(url, values, prepare_after=5)
