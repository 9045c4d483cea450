"""Sessions in a database with a cache beside it, as they are kept today: the pattern called cache-aside.

Written as such code usually is, and no worse (Django's `cached_db` and many others do the same): a session is one
blob. Reading asks the cache, and on a miss the database, and then puts what that said into the cache. A session
that was changed is written to the database, then to the cache; one that was emptied is deleted from both. Ids are
random, an unknown id is never adopted, an unchanged session is not written. The cache is a shared server, or a
dictionary in each instance whose entries live for some seconds.

What it does not do is what the lab shows: nothing ties a copy to what its browser has seen, and nothing keeps a
slow request from writing back what it had read before.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import time
from threading import Lock
from typing import Any, Protocol
from urllib.parse import urlsplit

from .naive import COOKIE, App, Message, Receive, Scope, Send, cookie_of, set_cookie

SHARED_SECONDS = 300  # the life of a copy in a cache that all instances share: written to on every change
IN_MEMORY_SECONDS = 3.0  # and of one in an instance's memory, which the other instances cannot write to
LIFE_SECONDS = 12 * 3600.0


class AsideSessions:
    """ASGI middleware: `scope["session"]` is a plain dict, made from the cache's blob or the database's."""

    def __init__(self, app: App, database: Database, cache: Cache) -> None:
        self._app = app
        self._database = database
        self._cache = cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sid = cookie_of(scope)
        blob = await self._read(sid) if sid else None
        session: dict[str, Any] = json.loads(blob) if blob is not None else {}
        scope["session"] = session

        async def keep_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._keep(sid, blob, session, message)
            await send(message)

        await self._app(scope, receive, keep_and_send)

    async def _read(self, sid: str) -> str | None:
        blob = await self._cache.get(sid)
        if blob is None:
            blob = await asyncio.to_thread(self._database.get, sid)
            if blob is not None:
                await self._cache.set(sid, blob)
        return blob

    async def _keep(self, sid: str, before: str | None, session: dict[str, Any], message: Message) -> None:
        if session:
            blob = json.dumps(session)
            if blob == before:
                return
            if before is None:
                sid = secrets.token_urlsafe(24)
                set_cookie(message, f"{COOKIE}={sid}; Path=/; HttpOnly; SameSite=Lax")
            await asyncio.to_thread(self._database.set, sid, blob)
            await self._cache.set(sid, blob)
        elif before is not None:
            await asyncio.to_thread(self._database.delete, sid)
            await self._cache.delete(sid)
            set_cookie(message, f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")


class Database:
    """One table in a SQLite file that all instances share. Blocks; safe for threads."""

    def __init__(self, path: str) -> None:
        self._lock = Lock()
        self._connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS session (sid TEXT PRIMARY KEY, blob TEXT NOT NULL, expires REAL NOT NULL)"
        )

    def get(self, sid: str) -> str | None:
        """The session's blob, unless it has expired."""
        row = self._run("SELECT blob FROM session WHERE sid = ? AND expires > ?", sid, time.time())
        return str(row[0]) if row else None

    def set(self, sid: str, blob: str) -> None:
        """Write the session, whatever is there."""
        self._run("INSERT OR REPLACE INTO session VALUES (?, ?, ?)", sid, blob, time.time() + LIFE_SECONDS)

    def delete(self, sid: str) -> None:
        """Remove the session."""
        self._run("DELETE FROM session WHERE sid = ?", sid)

    def _run(self, statement: str, *arguments: object) -> tuple[Any, ...] | None:
        with self._lock:
            found: tuple[Any, ...] | None = self._connection.execute(statement, arguments).fetchone()
            return found


class Cache(Protocol):
    """Holds blobs for a while."""

    async def get(self, sid: str) -> str | None: ...
    async def set(self, sid: str, blob: str) -> None: ...
    async def delete(self, sid: str) -> None: ...


def cache(url: str | None) -> Cache:
    """The cache at a `redis://` or `memcached://` URL; None: one in this process's memory."""
    if url is None:
        return InMemory()
    return InMemcached(url) if urlsplit(url).scheme == "memcached" else InRedis(url)


class InMemory:
    """A dictionary of this process."""

    def __init__(self) -> None:
        self._copies: dict[str, tuple[str, float]] = {}

    async def get(self, sid: str) -> str | None:
        blob, until = self._copies.get(sid, ("", 0.0))
        return blob if time.monotonic() < until else None

    async def set(self, sid: str, blob: str) -> None:
        self._copies[sid] = blob, time.monotonic() + IN_MEMORY_SECONDS

    async def delete(self, sid: str) -> None:
        self._copies.pop(sid, None)


class InRedis:
    """A Redis server that all instances share."""

    def __init__(self, url: str) -> None:
        import redis.asyncio

        self._client = redis.asyncio.from_url(url)

    async def get(self, sid: str) -> str | None:
        blob = await self._client.get(f"aside:{sid}")
        return blob.decode() if isinstance(blob, bytes) else blob

    async def set(self, sid: str, blob: str) -> None:
        await self._client.set(f"aside:{sid}", blob, ex=SHARED_SECONDS)

    async def delete(self, sid: str) -> None:
        await self._client.delete(f"aside:{sid}")


class InMemcached:
    """A Memcached server that all instances share."""

    def __init__(self, url: str) -> None:
        from pymemcache.client.base import PooledClient

        address = urlsplit(url)
        self._client = PooledClient((address.hostname or "127.0.0.1", address.port or 11211))

    async def get(self, sid: str) -> str | None:
        blob = await asyncio.to_thread(self._client.get, f"aside:{sid}")
        return blob.decode() if blob is not None else None

    async def set(self, sid: str, blob: str) -> None:
        await asyncio.to_thread(
            self._client.set, f"aside:{sid}", blob.encode(), SHARED_SECONDS, noreply=False
        )

    async def delete(self, sid: str) -> None:
        await asyncio.to_thread(self._client.delete, f"aside:{sid}", noreply=False)
