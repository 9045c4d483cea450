"""Reading a `RedisStore` from one end to the other.

In one Redis by SCAN, whose cursors mean something only to the process that gave them: a place names it, and for
another one it is the beginning. In a cluster slot after slot, for slots stay what they are when servers come and go.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import ConfigError
from ..record import Record
from . import Page
from ._redis_cluster import SLOTS, Cluster
from ._redis_records import record_of
from ._redis_way import Way

# More than a slot holds; Redis takes it for as many as there are.
_ALL = b"10000000"
_MOST_SLOTS_AT_ONCE = 512
_KEYS_AT_ONCE = 200


async def scan(way: Way, prefix: bytes, after: str | None, most: int) -> Page:
    """`Scans.scan` for the hashes whose keys begin with `prefix`."""
    if way.cluster is not None:
        return await _slots(way, way.cluster, prefix, after, most)
    noted, _, cursor = (after or "").rpartition(":")
    if not re.fullmatch(r"\d*", cursor, re.ASCII):
        raise ConfigError("that is no place in a Redis to go on from")
    pattern = re.sub(rb"([\\*?\[\]])", rb"\\\1", prefix) + b"*"
    options = (b"MATCH", pattern, b"COUNT", b"%d" % most)
    names: list[bytes] = []
    while True:
        about, (reached, found) = await way.ask(
            (b"INFO", b"server"), (b"SCAN", cursor.encode() or b"0", *options)
        )
        server = _server(about)
        if cursor not in ("", "0") and server != noted:
            noted, cursor, names = server, "0", []
            continue
        noted, cursor = server, reached.decode()
        names += found
        if cursor == "0" or names:
            break
    return Page(await _records(way, prefix, names), None if cursor == "0" else f"{server}:{cursor}")


async def count(way: Way) -> int:
    """About how many records there are: how many keys, which is more by copies and owners' lists."""
    if way.cluster is None:
        (size,) = await way.ask((b"DBSIZE",))
        return int(size)
    return sum(int(size) for (size,) in (await way.cluster.ask_each((b"DBSIZE",))).values())


async def _slots(way: Way, cluster: Cluster, prefix: bytes, after: str | None, most: int) -> Page:
    try:
        slot = int((after or "slot:0").removeprefix("slot:"))
    except ValueError:
        raise ConfigError("that is no place in a Redis Cluster to go on from") from None
    names: list[bytes] = []
    step = 16
    # A server that has lost a slot says that the slot is empty: so the map must be of now.
    await cluster.look()
    while slot < SLOTS and len(names) < most:
        last = min(slot + step, SLOTS)
        for found in await cluster.ask_slots(slot, last, b"CLUSTER GETKEYSINSLOT", _ALL):
            names += [name for name in found if name.startswith(prefix)]
        slot, step = last, min(2 * step, _MOST_SLOTS_AT_ONCE) if not names else step
    return Page(await _records(way, prefix, names), None if slot >= SLOTS else f"slot:{slot}")


async def _records(way: Way, prefix: bytes, names: list[bytes]) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for start in range(0, len(names), _KEYS_AT_ONCE):
        some = names[start : start + _KEYS_AT_ONCE]
        replies = await way.ask(*((b"HGETALL", name) for name in some))
        for name, reply in zip(some, replies, strict=True):
            if (record := record_of(reply)) is not None:
                records[name[len(prefix) :].decode()] = record
    return records


def _server(about: Any) -> str:
    text = about if isinstance(about, bytes) else str(about).encode()
    found = re.search(rb"run_id:(\w+)", text)
    return found[1].decode() if found else "unknown"
