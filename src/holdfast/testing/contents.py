"""The law for what a record holds: it comes back as it was, however odd or large."""

from __future__ import annotations

import os
import time

from ..errors import Conflict
from ..stores import Store
from .law import change, expect, fresh, refused, same

ODD_NAMES = (
    *("", " ", "\0", "a\0b", "\n", "a.b", "a:b", "a/b", "a[0]", "$set", "#", "%s", "*", "="),
    *("`", "'", '"', "\\"),
    *("a", "A", "1", "01", "-", "None", "null", "__name__", "key", "version", "tag", "owner", "ended", "ttl"),
    *("v", "t", "o", "c", "x", "e", "d", "\u00e9", "e\u0301", "日本語", "\U0001f6d2", "\uffff", "n" * 500),
)
ODD_VALUES = (b"", b"\0", b"\xff\xfe", b"0", b"None", bytes(range(256)), b"\r\n*1\r\n$1\r\n", b"x" * 3_000)


async def size_limit(store: Store) -> None:
    """A record of `max_bytes`, names and values together, is kept whole."""
    limit = getattr(store, "max_bytes", None) or 65_536
    half = os.urandom(limit // 2)
    key, record = fresh(values={"1": half[1:]})
    await store.create(key, record)
    same(await store.load(key), record, "half of max_bytes is kept whole")
    rest = os.urandom(limit - len(half) - 1)
    full = await store.commit(key, change(set={"2": rest}))
    expect(full.values == {"1": half[1:], "2": rest}, "a change that fills max_bytes returns all of it")
    same(await store.load(key), full, "max_bytes are kept whole")


async def odd_keys_and_values(store: Store) -> None:
    """Any text is a name, the empty one too, and any bytes a value; unequal names stay apart."""
    pairs = {
        name: ODD_VALUES[index % len(ODD_VALUES)] + b"%d" % index for index, name in enumerate(ODD_NAMES)
    }
    pairs |= {f"value {index}": value for index, value in enumerate(ODD_VALUES)}
    key, record = fresh(values=pairs, owner="Zoë\0 O'Brien: 🛒")
    await store.create(key, record)
    same(await store.load(key), record, "odd names and values are created as they are")
    swapped = dict(zip(pairs, reversed(pairs.values()), strict=True))
    result = await store.commit(key, change(set=swapped))
    expect(result.values == swapped, "odd names and values are changed as they are")
    await store.commit(key, change(unset=frozenset(ODD_NAMES[::2])))
    final = await store.load(key)
    left = {name: value for name, value in swapped.items() if name not in ODD_NAMES[::2]}
    expect(final is not None and final.values == left, "odd names are removed, and only they")
    emptied = await store.commit(key, change(unset=frozenset(pairs)))
    expect(emptied.values == {}, "a record may be empty")
    same(await store.load(key), emptied, "an empty record is a record")


async def large_versions(store: Store) -> None:
    """A version is a 64-bit integer; times keep every digit."""
    for version in (2**53, 2**63 - 10):
        now = time.time()
        key, record = fresh(version=version, created_at=now + 0.1 + 0.2, expires_at=now + 3600.1 + 0.2)
        await store.create(key, record)
        same(await store.load(key), record, "large versions and long fractions are kept exactly")
        await refused(
            store.commit(key, change(base=version + 1)), Conflict, "large versions that differ by one differ"
        )
        result = await store.commit(key, change(base=version, expires_at=now + 0.7))
        expect(result.version == version + 1, "one more than a large version is exact")
        expect(result.expires_at == now + 0.7, "a changed expiry is kept exactly")
