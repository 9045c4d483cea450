"""Sessions in Redis or Valkey, over redis-py, and copies of sessions. Nearly everything is one command.

A session is one hash. What may be done to it is judged in Redis by a script, in the order of `record.judge`.
Expiry by Redis is rubbish collection only: it comes a while after the record's own, which `Sessions` judges.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import redis
import redis.asyncio
from redis.exceptions import NoScriptError

from ..errors import Conflict, SessionGone
from ..record import Change, Record, apply
from . import _redis_copies as copies
from . import _redis_scripts as scripts
from ._redis_replicas import Replicas
from ._redis_url import Settings
from ._redis_wire import Wire

# A record stays for so long after it has expired, for requests whose clock is behind.
_MARGIN_SECONDS = 60.0

# Enough for every session, and within what Redis can count.
_LONGEST_SECONDS = 10 * 365 * 86400.0

# So many records are remembered between loading and committing, if their values take no more than so many bytes.
_RECENT = 64
_RECENT_BYTES = 64 * 1024

_VALUE = ord("=")


class RedisStore:
    """A store in the Redis that `client` speaks to; every key in there begins with `prefix`.

    `client` is a `redis.Redis`, for sync callers (async ones are sent to a thread), or a `redis.asyncio.Redis`,
    for async callers on its own event loop. Its connections and timeouts are used, its retries are not: a
    change whose answer was lost is not sent again. It is for its owner to close.

    `replicas` are clients of replicas, of the same kind as `client`: `load(weak=True)` asks one of them, and the
    primary where that fails. A replica that has failed is left alone for a second or more.

    `RedisStore.from_url` serves both kinds of callers, and any number of event loops one after the other.

    Raises `ConfigError` for a client of another kind; calls raise redis-py's own errors.
    """

    unavailable = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError)
    throttled = (redis.OutOfMemoryError,)
    max_bytes = 8 * 1024 * 1024

    def __init__(
        self,
        client: redis.Redis | redis.asyncio.Redis | Settings,
        *,
        prefix: str = "holdfast:",
        replicas: Iterable[redis.Redis | redis.asyncio.Redis | Settings] = (),
    ) -> None:
        self._wire = Wire(client)
        self._replicas = Replicas([Wire(replica) for replica in replicas], self._wire)
        self._prefix = prefix.encode()
        self._recent: OrderedDict[str, Record] = OrderedDict()
        self.colours = self._wire.colours

    @classmethod
    def from_url(cls, url: str) -> RedisStore:
        """The store for `redis://user:password@host:6379/0`, or `rediss://` for TLS.

        Options: `timeout` (seconds that a call waits for a Redis that does not answer, 2), `connections` (at
        most so many for an event loop, 64), `prefix`, `replica` (host:port, as often as there are replicas; their
        time limit is 0.25 seconds at most), and for TLS the files `ca`, `cert` and `key`. Raises
        `ConfigError`. Nothing is connected before it is used.
        """
        settings = Settings.from_url(url)
        return cls(settings, prefix=settings.prefix, replicas=settings.replicas())

    async def create(self, key: str, record: Record) -> bool:
        created = await self._change(
            scripts.CREATE,
            key,
            _time(record.created_at - _MARGIN_SECONDS),
            _life(record.expires_at - record.created_at),
            *_fields(record),
        )
        return bool(created)

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        wire = self._replicas if weak else self._wire
        (reply,) = await wire.ask((b"HGETALL", self._hash(key)))
        record = _record(reply)
        if record is not None and not weak:
            self._remember(key, record)
        return record

    async def commit(self, key: str, change: Change) -> Record:
        known, expires_at, owner = self._recent.get(key), change.expires_at, change.owner
        if known is not None and not _is_ordinary(change, known):
            known = None
        fields = [b"v", b"" if known is None else b"%d" % (known.version + 1), b"t", change.tag]
        if expires_at is not None:
            fields += b"x", _time(expires_at)
        if owner is not None:
            fields += b"o", owner.encode()
        for name, value in change.set.items():
            fields += _field(name), value
        reply = await self._change(
            scripts.COMMIT,
            key,
            b"" if expires_at is None and owner is None else _time(change.now - _MARGIN_SECONDS),
            b"" if expires_at is None else _life(expires_at - change.now),
            _time(change.now),
            b"" if change.base is None else b"%d" % change.base,
            b"" if known is None else known.tag,
            b"%d" % len(change.unset),
            *fields,
            *map(_field, change.unset),
        )
        if known is not None and reply == 1:
            return self._remember(key, apply(known, change))
        verdict, *stored = reply
        record = _record(stored[0]) if stored else None
        if record is None:
            raise SessionGone("the session has ended or expired")
        self._remember(key, record)
        if verdict == scripts.CONFLICT:
            raise Conflict(record)
        return record

    async def end(self, key: str, tombstone: Record) -> None:
        self._recent.pop(key, None)
        await self._change(
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

    async def get_copy(self, key: str) -> bytes | None:
        (held,) = await self._wire.ask((b"GET", self._copy(key)))
        return copies.data_of(held)

    async def claim_copy(self, key: str, claim: bytes, life: float) -> bool:
        place, lasting = self._copy(key), _milliseconds(life)
        (reply,) = await self._wire.ask((b"SET", place, copies.claimed(claim), b"NX", b"PX", lasting))
        return reply is not None

    async def fill_copy(self, key: str, claim: bytes, rank: int, data: bytes, life: float) -> bool:
        arguments = (copies.head(rank), data, _milliseconds(life), copies.claimed(claim))
        return bool(await self._call(copies.FILL, self._copy(key), *arguments))

    async def put_copy(self, key: str, rank: int, data: bytes, life: float) -> bool:
        arguments = (copies.head(rank), data, _milliseconds(life))
        return bool(await self._call(copies.PUT, self._copy(key), *arguments))

    async def aclose(self) -> None:
        """Close the connections that the store has made itself, those of other event loops excepted."""
        await self._wire.aclose()
        await self._replicas.aclose()

    def close(self) -> None:
        """Close the connections that the store has made itself for sync callers."""
        self._wire.close()
        self._replicas.close()

    def _remember(self, key: str, record: Record) -> Record:
        """Keep the record for a moment: most changes are to a record that was loaded just before.

        Nothing relies on it. What is stored by then is known from its tag.
        """
        if sum(map(len, record.values.values())) <= _RECENT_BYTES:
            self._recent[key] = record
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
        return record

    def _hash(self, key: str) -> bytes:
        return b"%bs:%b" % (self._prefix, key.encode())

    def _copy(self, key: str) -> bytes:
        return b"%bc:%b" % (self._prefix, key.encode())

    async def _change(self, script: scripts.Script, key: str, *arguments: bytes) -> Any:
        return await self._call(script, self._hash(key), self._prefix, *arguments)

    async def _call(self, script: scripts.Script, place: bytes, *arguments: bytes) -> Any:
        rest = (b"1", place, *arguments)
        try:
            (reply,) = await self._wire.ask((b"EVALSHA", script.sha, *rest))
        except NoScriptError:
            # This Redis has not run it yet, or was restarted: the text leaves it there for the next time.
            (reply,) = await self._wire.ask((b"EVAL", script.text, *rest))
        return reply


def _is_ordinary(change: Change, known: Record) -> bool:
    """Whether the change sets some values and does nothing else, and may be applied to the known record."""
    return (
        change.expires_at is None
        and change.owner is None
        and not change.unset
        and len(change.set) < 1000  # that Lua passes at once
        and change.tag != known.tag
        and known.is_live(change.now)
        and change.base in (None, known.version)
    )


def _life(seconds: float) -> bytes:
    """For how many milliseconds a hash is kept whose record lives for so many seconds."""
    return _milliseconds(min(max(seconds, 0.0), _LONGEST_SECONDS) + _MARGIN_SECONDS)


def _milliseconds(seconds: float) -> bytes:
    return b"%d" % max(seconds * 1000, 1)


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
    values: dict[str, bytes] = {}
    owner, ended = None, False
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    for name, value in pairs:
        if name[0] == _VALUE:
            values[name[1:].decode()] = value
        elif name == b"v":
            version = int(value)
        elif name == b"t":
            tag = value
        elif name == b"c":
            created_at = float(value)
        elif name == b"x":
            expires_at = float(value)
        elif name == b"o":
            owner = value.decode()
        elif name == b"e":
            ended = True
    return Record(version, tag, values, owner, created_at, expires_at, ended)
