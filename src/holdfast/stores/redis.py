"""Sessions in Redis or Valkey, over redis-py. Loading, creating, changing and ending are one command each.

A session is one hash. What may be done to it is judged in Redis by a script, in the order of `record.judge`.
Expiry by Redis is rubbish collection only: it comes a while after the record's own, which `Sessions` judges.
"""

from __future__ import annotations

import hashlib
from itertools import chain
from typing import Any

import redis
import redis.asyncio
from redis.exceptions import NoScriptError

from ..errors import Conflict, SessionGone
from ..record import Change, Record
from . import _redis_scripts as scripts
from ._redis_url import Settings
from ._redis_wire import Wire

# A record stays for so long after it has expired, for requests whose clock is behind.
_MARGIN_SECONDS = 60.0

# Enough for every session, and within what Redis can count.
_LONGEST_SECONDS = 10 * 365 * 86400.0


class RedisStore:
    """A store in the Redis that `client` speaks to; every key in there begins with `prefix`.

    `client` is a `redis.Redis`, for sync callers (async ones are sent to a thread), or a `redis.asyncio.Redis`,
    for async callers on its own event loop. Its connections and timeouts are used, its retries are not: a
    change whose answer was lost is not sent again. It is for its owner to close.

    `RedisStore.from_url` serves both kinds of callers, and any number of event loops one after the other.

    Raises `ConfigError` for a client of another kind; calls raise redis-py's own errors.
    """

    unavailable = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError)
    throttled = (redis.OutOfMemoryError,)
    max_bytes = 8 * 1024 * 1024

    def __init__(
        self, client: redis.Redis | redis.asyncio.Redis | Settings, *, prefix: str = "holdfast:"
    ) -> None:
        self._wire = Wire(client)
        self._prefix = prefix.encode()
        self.colours = self._wire.colours

    @classmethod
    def from_url(cls, url: str) -> RedisStore:
        """The store for `redis://user:password@host:6379/0`, or `rediss://` for TLS.

        Options: `timeout` (seconds that a call waits for a Redis that does not answer, 2), `connections` (at
        most so many for an event loop, 64), `prefix`, and for TLS the files `ca`, `cert` and `key`. Raises
        `ConfigError`. Nothing is connected before it is used.
        """
        settings = Settings.from_url(url)
        return cls(settings, prefix=settings.prefix)

    async def create(self, key: str, record: Record) -> bool:
        created = await self._call(
            scripts.CREATE,
            key,
            _time(record.created_at - _MARGIN_SECONDS),
            _life(record.expires_at - record.created_at),
            *_fields(record),
        )
        return bool(created)

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        (reply,) = await self._wire.ask((b"HGETALL", self._hash(key)))
        return _record(reply)

    async def commit(self, key: str, change: Change) -> Record:
        fields = [b"t", change.tag]
        if change.expires_at is not None:
            fields += b"x", _time(change.expires_at)
        if change.owner is not None:
            fields += b"o", change.owner.encode()
        verdict, *reply = await self._call(
            scripts.COMMIT,
            key,
            _time(change.now - _MARGIN_SECONDS),
            b"" if change.expires_at is None else _life(change.expires_at - change.now),
            change.tag,
            _time(change.now),
            b"" if change.base is None else b"%d" % change.base,
            b"%d" % len(change.unset),
            *(_field(name) for name in change.unset),
            *fields,
            *chain.from_iterable((_field(name), value) for name, value in change.set.items()),
        )
        record = _record(reply[0]) if reply else None
        if record is None:
            raise SessionGone("the session has ended or expired")
        if verdict == scripts.CONFLICT:
            raise Conflict(record)
        return record

    async def end(self, key: str, tombstone: Record) -> None:
        await self._call(
            scripts.END,
            key,
            _time(tombstone.created_at - _MARGIN_SECONDS),
            _life(tombstone.expires_at - tombstone.created_at),
            *_fields(tombstone),
        )

    async def of(self, owner: str) -> dict[str, Record]:
        index = b"%bo:%b" % (
            self._prefix,
            hashlib.sha1(owner.encode(), usedforsecurity=False).hexdigest().encode(),
        )
        (members,) = await self._wire.ask((b"ZRANGE", index, b"0", b"-1"))
        if not members:
            return {}
        keys = [member.decode() for member in members]
        replies = await self._wire.ask(*((b"HGETALL", self._hash(key)) for key in keys))
        records = dict(zip(keys, map(_record, replies), strict=True))
        dead = [key.encode() for key, record in records.items() if record is None]
        if dead:
            # A key is never used a second time, so none of these can have come back meanwhile.
            await self._wire.ask((b"ZREM", index, *dead))
        return {
            key: record
            for key, record in records.items()
            if record is not None and record.owner == owner and not record.ended
        }

    async def aclose(self) -> None:
        """Close the connections that the store has made itself, those of other event loops excepted."""
        await self._wire.aclose()

    def close(self) -> None:
        """Close the connections that the store has made itself for sync callers."""
        self._wire.close()

    def _hash(self, key: str) -> bytes:
        return b"%bs:%b" % (self._prefix, key.encode())

    async def _call(self, script: scripts.Script, key: str, *arguments: bytes) -> Any:
        rest = (b"1", self._hash(key), self._prefix, *arguments)
        try:
            (reply,) = await self._wire.ask((b"EVALSHA", script.sha, *rest))
        except NoScriptError:
            # This Redis has not run it yet, or was restarted: the text leaves it there for the next time.
            (reply,) = await self._wire.ask((b"EVAL", script.text, *rest))
        return reply


def _life(seconds: float) -> bytes:
    """For how many milliseconds a hash is kept whose record lives for so many seconds."""
    return b"%d" % ((min(max(seconds, 0.0), _LONGEST_SECONDS) + _MARGIN_SECONDS) * 1000)


def _time(seconds: float) -> bytes:
    return repr(float(seconds)).encode()


def _field(name: str) -> bytes:
    return b"=" + name.encode()


def _fields(record: Record) -> list[bytes]:
    fields = [b"v", b"%d" % record.version, b"t", record.tag]
    fields += b"c", _time(record.created_at), b"x", _time(record.expires_at)
    if record.owner is not None:
        fields += b"o", record.owner.encode()
    if record.ended:
        fields += b"e", b"1"
    for name, value in record.values.items():
        fields += _field(name), value
    return fields


def _record(reply: Any) -> Record | None:
    """The record in an answer to HGETALL: a list of names and values, or a dictionary under RESP3."""
    if not reply:
        return None
    if isinstance(reply, list):
        parts = iter(reply)
        reply = dict(zip(parts, parts, strict=True))
    pop = reply.pop
    version, tag, owner = int(pop(b"v")), pop(b"t"), pop(b"o", None)
    created_at, expires_at, ended = float(pop(b"c")), float(pop(b"x")), pop(b"e", None) is not None
    return Record(
        version,
        tag,
        {name[1:].decode(): value for name, value in reply.items()},
        None if owner is None else owner.decode(),
        created_at,
        expires_at,
        ended,
    )
