"""Sessions in memcached, and copies of sessions. Made for `cache=`; as a store it forgets, and has to be accepted.

Everything is one item, replaced by compare-and-set. What is decided is decided in Python, by `record.judge`.
Expiry by memcached is rubbish collection only: it comes a while after the record's own, which `Sessions` judges.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from msgpack import packb, unpackb

from .. import deadline
from ..errors import ConfigError, SessionTooLarge
from ..record import Change, Record, apply, judge
from ._compare_and_set import settle
from ._memcached_expiry import MARGIN_SECONDS, expire_after, expire_before
from ._memcached_wire import Item, Node
from ._options import options, positive
from ._recent import Recent, is_applicable

# An item takes 1 MiB at most, with its key and memcached's own head.
_ITEM_BYTES = 1024 * 1024 - 1024
_KEYS_AT_ONCE = 100
_PORT, _PORTS = 11211, range(1, 65536)

_server = re.compile(r"(?:\[([^\[\]/?#@\s]+)\]|([^\[\]:/?#@\s]+))(?::(\d{0,5}))?").fullmatch
_fits = re.compile(r"[\w.-]{1,128}", re.ASCII).fullmatch
_RECORD_FORM, _COPY, _CLAIM = 1, b"=", b"?"


class MemcachedStore:
    """A store in the memcached servers `hosts` ("cache-1", "cache-2:11211", "[::1]:11211").

    Every key has one server, by rendezvous hashing over `hosts` as they are written. One that fails is not
    replaced by another: its keys raise errors until it is back, so that no old record is taken for the newest
    one when it returns. It needs the same list on every instance.

    `timeout` is in seconds, for a call as a whole. `prefix` stands at the beginning of every key.
    `forgets_accepted` says that sessions may be lost at any time, if it is the only home of sessions.

    The connections are its own: one set for each event loop, and one for the threads of sync callers. Raises
    `ConfigError`; calls raise OSError or pymemcache's errors, `SessionTooLarge`, and `StoreThrottled`.
    """

    colours = frozenset({"sync", "async"})
    max_bytes = 1_000_000

    def __init__(
        self,
        *hosts: str,
        timeout: float = 2.0,
        connections: int = 64,
        prefix: str = "holdfast:",
        forgets_accepted: bool = False,
    ) -> None:
        if not re.fullmatch(r"[!-~]{0,64}", prefix):
            raise ConfigError(f"prefix={prefix!r}: memcached takes up to 64 visible ASCII characters")
        positive(timeout, "timeout")
        positive(connections, "connections")
        addresses = [_address(host) for host in hosts]
        if not addresses:
            raise ConfigError("name at least one memcached server: memcached://cache:11211")
        if len(set(addresses)) < len(addresses):
            raise ConfigError("a memcached server is named twice")
        self.forgets = not forgets_accepted
        self._timeout = timeout
        self._prefix = prefix.encode()
        self._names = [f"{host}:{port}".encode() for host, port in addresses]
        self._recent = Recent()
        self._nodes = [
            Node(*address, timeout=timeout, connections=connections, on_connect=self._recent.clear)
            for address in addresses
        ]

    @classmethod
    def from_url(cls, url: str) -> MemcachedStore:
        """The store for `memcached://host:port` or `memcached://host1,host2`.

        Options: `timeout` (seconds that a call takes at most, 2), `connections`
        (at most so many for an event loop and a server, 64), `prefix`, and `forgets=accepted`. Raises
        `ConfigError`. Nothing is connected before it is used.
        """
        from urllib.parse import urlsplit  # as `stores.from_url`

        parts = urlsplit(url)
        if parts.path.strip("/") or parts.fragment or "@" in parts.netloc:
            raise ConfigError(
                "the memcached:// URL names servers and options only: memcached://host1:11211,host2"
            )
        chosen = options(url, {"timeout": float, "connections": int, "prefix": str, "forgets": _accepted})
        forgets_accepted = chosen.pop("forgets", False)
        return cls(*parts.netloc.split(","), forgets_accepted=forgets_accepted, **chosen)

    def node_of(self, key: str) -> int:
        """Which of the servers holds what belongs to this key, counted from 0."""
        if len(self._names) == 1:
            return 0
        text = key.encode()
        scores = [hashlib.blake2b(name + b"/" + text, digest_size=8).digest() for name in self._names]
        return scores.index(max(scores))

    async def create(self, key: str, record: Record) -> bool:
        data = _encoded(record)
        with deadline.within(self._timeout):
            if record.owner is not None and not record.ended:
                await self._list(record.owner, key, record.expires_at, record.created_at)
            expire = expire_after(record.expires_at - record.created_at + MARGIN_SECONDS)
            return await self._store("add", b"s", key, data, expire)

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        item = await self._fetch(b"s", key)
        return (
            None if item is None else self._recent.put(key, _decoded(item.data), item.token, len(item.data))
        )

    async def commit(self, key: str, change: Change) -> Record:
        with deadline.within(self._timeout):
            known = self._recent.get(key)
            if known is not None and is_applicable(change, known[0]):
                try:
                    changed = await self._replace(key, *known, change, known)
                except SessionTooLarge:
                    changed = None  # what is stored by now may have room for the change
                if changed is not None:
                    return changed

            async def attempt() -> Record | None:
                item = await self._fetch(b"s", key)
                record = None if item is None else _decoded(item.data)
                if (applied := judge(record, change)) is not None:
                    return applied
                assert item is not None and record is not None  # noqa: S101, PT018 - judge has raised otherwise
                return await self._replace(key, record, item.token, change)

            return await settle(attempt)

    async def _replace(
        self, key: str, record: Record, token: bytes, change: Change, known: object = None
    ) -> Record | None:
        """The record that follows this one, if this is what the token says is stored; None if it is not.

        `known`: what has to be remembered still, when there is a connection.
        """
        changed = apply(record, change)
        data = _encoded(changed)
        is_listed = (changed.owner, changed.expires_at) == (record.owner, record.expires_at)
        if changed.owner is not None and not is_listed:
            await self._list(changed.owner, key, changed.expires_at, change.now)
        expire = expire_after(changed.expires_at - change.now + MARGIN_SECONDS)
        place, node = self._place(b"s", key), self._nodes[self.node_of(key)]
        is_valid = lambda: known is None or self._recent.get(key) is known  # noqa: E731
        fresh = await node.replace(place, data, expire, token, is_valid)
        if fresh:
            return self._recent.put(key, changed, fresh, len(data))
        self._recent.forget(key)
        return None if fresh is None else changed

    async def end(self, key: str, tombstone: Record) -> None:
        self._recent.forget(key)
        expire = expire_after(tombstone.expires_at - tombstone.created_at + MARGIN_SECONDS)
        await self._store("set", b"s", key, _encoded(tombstone), expire)

    async def of(self, owner: str) -> dict[str, Record]:
        with deadline.within(self._timeout):
            item = await self._fetch(b"o", _index(owner))
            records = {} if item is None else await self._load_many(list(unpackb(item.data)))
        # An entry is there before its record is, or is the owner's: so what is missing may be about to come.
        return {key: record for key, record in records.items() if record.owner == owner and not record.ended}

    async def get_copy(self, key: str) -> bytes | None:
        item = await self._fetch(b"c", key)
        return item.data[9:] if item is not None and item.data.startswith(_COPY) else None

    async def claim_copy(self, key: str, claim: bytes, life: float) -> bool:
        return await self._store("add", b"c", key, _CLAIM + claim, expire_before(life))

    async def fill_copy(self, key: str, claim: bytes, rank: int, data: bytes, life: float) -> bool:
        with deadline.within(self._timeout):
            item = await self._fetch(b"c", key)
            if item is None or item.data != _CLAIM + claim:
                return False
            return await self._store("cas", b"c", key, _ranked(rank) + data, expire_before(life), item.token)

    async def put_copy(self, key: str, rank: int, data: bytes, life: float) -> bool:
        copy, expire = _ranked(rank) + data, expire_before(life)

        async def attempt() -> bool | None:
            item = await self._fetch(b"c", key)
            if item is None or (item.data.startswith(_COPY) and item.data[:9] > copy[:9]):
                return True
            if not item.data.startswith(_COPY):
                # A claim: what dies at once in its place leaves the place empty.
                return await self._store("cas", b"c", key, b"", -1, item.token) or None
            return await self._store("cas", b"c", key, copy, expire, item.token) or None

        with deadline.within(self._timeout):
            return await settle(attempt)

    async def aclose(self) -> None:
        """Close the connections, those of other event loops excepted."""
        for node in self._nodes:
            await node.aclose()

    def close(self) -> None:
        """The same for sync callers."""
        for node in self._nodes:
            node.close()

    async def _fetch(self, kind: bytes, key: str) -> Item | None:
        place = self._place(kind, key)
        return (await self._nodes[self.node_of(key)].fetch([place])).get(place)

    async def _store(
        self,
        verb: Literal["set", "add", "cas"],
        kind: bytes,
        key: str,
        data: bytes,
        expire: int,
        token: bytes = b"",
    ) -> bool:
        place = self._place(kind, key)
        return await self._nodes[self.node_of(key)].store(verb, place, data, expire, token)

    async def _load_many(self, keys: list[str]) -> dict[str, Record]:
        records = {}
        for node in {self.node_of(key) for key in keys}:
            names = {self._place(b"s", key): key for key in keys if self.node_of(key) == node}
            places = list(names)
            for start in range(0, len(places), _KEYS_AT_ONCE):
                items = await self._nodes[node].fetch(places[start : start + _KEYS_AT_ONCE])
                records.update({names[place]: _decoded(item.data) for place, item in items.items()})
        return records

    async def _list(self, owner: str, key: str, expires_at: float, now: float) -> None:
        """Enter the session under its owner, and take out those that have expired."""
        index = _index(owner)

        async def attempt() -> bool | None:
            item = await self._fetch(b"o", index)
            entries: dict[str, float] = {} if item is None else unpackb(item.data)
            entries = {name: at for name, at in entries.items() if at + MARGIN_SECONDS > now}
            entries[key] = expires_at
            data = packb(entries)
            if len(data) > _ITEM_BYTES:
                raise SessionTooLarge(f"the owner has {len(entries)} sessions, more than memcached can list")
            expire = expire_after(max(entries.values()) - now + MARGIN_SECONDS)
            if item is None:
                return await self._store("add", b"o", index, data, expire) or None
            return await self._store("cas", b"o", index, data, expire, item.token) or None

        await settle(attempt)

    def _place(self, kind: bytes, key: str) -> bytes:
        """The key in memcached, which takes 250 visible ASCII characters: any other key is hashed."""
        if not _fits(key):
            key = "#" + hashlib.sha256(key.encode()).hexdigest()
        return b"%b%b:%b" % (self._prefix, kind, key.encode())


def _address(host: str) -> tuple[str, int]:
    if (parts := _server(host)) is not None:
        bracketed, name, port = parts.groups()
        if (number := int(port or _PORT)) in _PORTS:
            return (bracketed or name).lower(), number
    raise ConfigError(f"{host!r} is no server: write cache, cache:11211 or [::1]:11211")


def _accepted(text: str) -> bool:
    if text != "accepted":
        raise ConfigError("write forgets=accepted if sessions may be lost at any time")
    return True


def _index(owner: str) -> str:
    return hashlib.sha256(owner.encode()).hexdigest()


def _ranked(rank: int) -> bytes:
    return _COPY + rank.to_bytes(8, "big")


def _encoded(record: Record) -> bytes:
    version, tag, values, *others = record
    data: bytes = packb((_RECORD_FORM, version, tag, dict(values), *others))
    if len(data) > _ITEM_BYTES:
        raise SessionTooLarge(f"the session takes {len(data)} bytes, and memcached holds {_ITEM_BYTES}")
    return data


def _decoded(data: bytes) -> Record:
    form, *fields = unpackb(data)
    if form != _RECORD_FORM:
        raise ValueError(f"memcached holds a record of the form {form}, which is not known here")
    return Record(*fields)
