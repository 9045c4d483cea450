"""Sessions in Redis or Valkey, over redis-py, and copies of sessions. Nearly everything is one command.

A session is one hash. What may be done to it is judged in Redis by a script, in the order of `record.judge`.
Expiry by Redis is rubbish collection only: it comes a while after the record's own, which `Sessions` judges.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import redis
import redis.asyncio
from redis.exceptions import ClusterDownError, NoScriptError, TryAgainError

from ..errors import Conflict, SessionGone
from ..record import Change, Record, apply
from . import Page, Part
from . import _redis_copies as copies
from . import _redis_scripts as scripts
from ._recent import Recent
from ._redis_owners import commit_entered
from ._redis_records import field_of, fields_of, is_ordinary, milliseconds, record_of, time_of
from ._redis_url import Settings
from ._redis_way import Client, Way

# A record stays for so long after it has expired, for requests whose clock is behind.
_MARGIN_SECONDS = 60.0

# Enough for every session, and within what Redis can count.
_LONGEST_SECONDS = 10 * 365 * 86400.0


class RedisStore:
    """A store in the Redis that `client` speaks to; every key in there begins with `prefix`.

    `client` is a `redis.Redis`, for sync callers (async ones are sent to a thread), or a `redis.asyncio.Redis`,
    for async callers on its own event loop. The latter's connections are used; of the former how it connects, over
    connections of the store's own. Retries are not: a change whose answer was lost is not sent again. The client is
    for its owner to close. A call takes `timeout` seconds at most, or a blocking client's `socket_timeout` if that is
    less. Of a `redis.RedisCluster` or a `redis.asyncio.RedisCluster` the hosts, user and TLS are used.

    `replicas` are clients of replicas, of the same kind as `client`: `load(weak=True)` asks one of them, and the
    primary where that fails. A replica that has failed is left alone for a second or more. A cluster's are found.

    `RedisStore.from_url` serves both kinds of callers, and any number of event loops one after the other.

    Raises `ConfigError` for a client of another kind; calls raise redis-py's own errors.
    """

    unavailable = (
        redis.ConnectionError,
        redis.TimeoutError,
        redis.ReadOnlyError,
        ClusterDownError,
        TryAgainError,
    )
    throttled = (redis.OutOfMemoryError,)
    max_bytes = 8 * 1024 * 1024

    def __init__(
        self,
        client: Client,
        *,
        prefix: str = "holdfast:",
        replicas: Iterable[redis.Redis | redis.asyncio.Redis | Settings] = (),
        timeout: float = 2.0,
    ) -> None:
        self._way = Way(client, replicas, timeout)
        self._prefix = prefix.encode()
        self._recent = Recent()  # what is stored by then is known from its tag
        self.colours = self._way.colours

    @classmethod
    def from_url(cls, url: str) -> RedisStore:
        """The store for `redis://user:password@host:6379/0`, or `rediss://` for TLS.

        Also `redis+cluster://host1,host2:6379` and `redis+sentinel://host1:26379,host2/service/0` (with
        `sentinel_user`, `sentinel_password`), which find the replicas by themselves.

        Options: `timeout` (seconds that a call waits for a Redis that does not answer, 2), `connections` (at
        most so many for an event loop, 64), `prefix`, `replica` (host:port, as often as there are replicas; their
        time limit is 0.25 seconds at most), and for TLS the files `ca`, `cert` and `key`. Raises
        `ConfigError`. Nothing is connected before it is used.
        """
        settings = Settings.from_url(url)
        return cls(settings, prefix=settings.prefix, replicas=settings.replicas())

    async def create(self, key: str, record: Record) -> bool:
        with self._way.one_call():
            if self._way.cluster is not None and record.owner is not None and not record.ended:
                await self.enter(record.owner, key, record.expires_at, record.created_at)
            created = await self._change(
                scripts.CREATE,
                key,
                self._dead(record.created_at),
                _life(record.expires_at - record.created_at),
                *fields_of(record),
            )
        return bool(created)

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        ask = self._way.ask_weak if weak else self._way.ask
        (reply,) = await ask((b"HGETALL", self._hash(key)))
        record = record_of(reply)
        if record is not None and not weak:
            self._recent.put(key, record, record.tag)
        return record

    async def commit(self, key: str, change: Change) -> Record:
        if self._way.cluster is not None and (change.expires_at is not None or change.owner is not None):
            held = self._recent.get(key)
            with self._way.one_call():
                return await commit_entered(self, key, change, held and held[0])
        return await self.commit_alone(key, change)

    async def commit_alone(self, key: str, change: Change) -> Record:
        """Commit; in a cluster without regard to the owner's list."""
        held, expires_at, owner = self._recent.get(key), change.expires_at, change.owner
        known = held and held[0]
        if known is not None and not is_ordinary(change, known):
            known = None
        fields = [b"v", b"" if known is None else b"%d" % (known.version + 1), b"t", change.tag]
        if expires_at is not None:
            fields += b"x", time_of(expires_at)
        if owner is not None:
            fields += b"o", owner.encode()
        for name, value in change.set.items():
            fields += field_of(name), value
        reply = await self._change(
            scripts.COMMIT,
            key,
            b"" if expires_at is None and owner is None else self._dead(change.now),
            b"" if expires_at is None else _life(expires_at - change.now),
            time_of(change.now),
            b"" if change.base is None else b"%d" % change.base,
            b"" if known is None else known.tag,
            b"%d" % len(change.unset),
            *fields,
            *map(field_of, change.unset),
        )
        if known is not None and reply == 1:
            changed = apply(known, change)
            return self._recent.put(key, changed, changed.tag)
        verdict, *stored = reply
        record = record_of(stored[0]) if stored else None
        if record is None:
            raise SessionGone("the session has ended or expired")
        self._recent.put(key, record, record.tag)
        if verdict == scripts.CONFLICT:
            raise Conflict(record)
        return record

    async def end(self, key: str, tombstone: Record) -> None:
        self._recent.forget(key)
        with self._way.one_call():
            held = await self._change(
                scripts.END,
                key,
                self._dead(tombstone.created_at),
                _life(tombstone.expires_at - tombstone.created_at),
                *fields_of(tombstone),
            )
            if self._way.cluster is not None and isinstance(held, bytes):
                await self._way.ask((b"ZREM", self._index(held), key.encode()))

    async def of(self, owner: str) -> dict[str, Record]:
        with self._way.one_call():
            return await self._of(owner)

    async def _of(self, owner: str) -> dict[str, Record]:
        index = self._index(owner.encode())
        (members,) = await self._way.ask((b"ZRANGE", index, b"0", b"-1"))
        if not members:
            return {}
        keys = [member.decode() for member in members]
        replies = await self._way.ask(*((b"HGETALL", self._hash(key)) for key in keys))
        records = dict(zip(keys, map(record_of, replies), strict=True))
        # A key is never used a second time. But in a cluster an entry is there before its record is.
        dead = [
            key.encode()
            for key, record in records.items()
            if (record is None and self._way.cluster is None) or (record is not None and record.ended)
        ]
        if dead:
            await self._way.ask((b"ZREM", index, *dead))
        return {
            key: record
            for key, record in records.items()
            if record is not None and record.owner == owner and not record.ended
        }

    def node_of(self, key: str) -> object:
        """What tells the server that holds copies of this key from others."""
        return None if self._way.cluster is None else self._way.cluster.node_of(self._copy(key))

    async def get_copy(self, key: str) -> bytes | None:
        (held,) = await self._way.ask((b"GET", self._copy(key)))
        return copies.data_of(held)

    async def claim_copy(self, key: str, claim: bytes, life: float) -> bool:
        place, lasting = self._copy(key), milliseconds(life)
        (reply,) = await self._way.ask((b"SET", place, copies.claimed(claim), b"NX", b"PX", lasting))
        return reply is not None

    async def fill_copy(self, key: str, claim: bytes, rank: int, data: bytes, life: float) -> bool:
        arguments = (copies.head(rank), data, milliseconds(life), copies.claimed(claim))
        return bool(await self._call(copies.FILL, self._copy(key), *arguments))

    async def put_copy(self, key: str, rank: int, data: bytes, life: float) -> bool:
        arguments = (copies.head(rank), data, milliseconds(life))
        return bool(await self._call(copies.PUT, self._copy(key), *arguments))

    async def scan(self, after: str | None, most: int) -> Page:
        from . import _redis_scan

        return await _redis_scan.scan(self._way, self._prefix + b"s:", after, most)

    async def count(self) -> int:
        from . import _redis_scan

        return await _redis_scan.count(self._way)

    async def provision(self, *, create: bool) -> list[Part]:
        """Whether Redis answers and is set up to keep sessions. There is nothing to create."""
        from ..provision import redis as engine

        return await engine.provision(self._way)

    def as_code(self, form: str) -> str:
        """A user with least rights, as "acl"."""
        from ..provision import redis as engine

        return engine.as_code(form, self._prefix.decode())

    async def aclose(self) -> None:
        """Close the connections that the store has made itself, those of other event loops excepted."""
        await self._way.aclose()

    def close(self) -> None:
        """Close the connections that the store has made itself for sync callers."""
        self._way.close()

    async def enter(self, owner: str, key: str, expires_at: float, now: float) -> None:
        """In a cluster: put the session into the owner's list, or let its entry live longer."""
        arguments = (
            time_of(now - _MARGIN_SECONDS),
            time_of(expires_at),
            key.encode(),
            _life(expires_at - now),
        )
        await self._call(scripts.ENTER, self._index(owner.encode()), *arguments)

    def _dead(self, now: float) -> bytes:
        """The expiry before which an owner's entries are dead; in a cluster the scripts do not touch these."""
        return b"" if self._way.cluster is not None else time_of(now - _MARGIN_SECONDS)

    def _index(self, owner: bytes) -> bytes:
        name = hashlib.sha1(owner, usedforsecurity=False).hexdigest()
        return b"%bo:%b" % (self._prefix, name.encode())

    def _hash(self, key: str) -> bytes:
        return b"%bs:%b" % (self._prefix, key.encode())

    def _copy(self, key: str) -> bytes:
        return b"%bc:%b" % (self._prefix, key.encode())

    async def _change(self, script: scripts.Script, key: str, *arguments: bytes) -> Any:
        return await self._call(script, self._hash(key), self._prefix, *arguments)

    async def _call(self, script: scripts.Script, place: bytes, *arguments: bytes) -> Any:
        rest = (b"1", place, *arguments)
        try:
            (reply,) = await self._way.ask((b"EVALSHA", script.sha, *rest))
        except NoScriptError:
            # This Redis has not run it yet, or was restarted: the text leaves it there for the next time.
            (reply,) = await self._way.ask((b"EVAL", script.text, *rest))
        return reply


def _life(seconds: float) -> bytes:
    """For how many milliseconds a hash is kept whose record lives for so many seconds."""
    return milliseconds(min(max(seconds, 0.0), _LONGEST_SECONDS) + _MARGIN_SECONDS)
