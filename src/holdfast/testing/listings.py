"""The law for stores that list the sessions of an owner, and for those that have to be swept."""

from __future__ import annotations

import os
import secrets
import time
from typing import Any

from ..record import Record
from ..stores import Owned
from .law import change, expect, fresh, same


async def owner_index(store: Any) -> None:
    """`of` gives the owner's records by key: none is missed, and none outlives its session."""
    ann, bob = f"Ann Ó/🛒 {secrets.token_hex(8)}", f"bob {secrets.token_hex(8)}"
    expect(await store.of(ann) == {}, "an unknown owner has no records")
    keys = [fresh()[0] for _ in range(4)]
    for key, owner in zip(keys, (ann, ann, bob, None), strict=True):
        await store.create(key, fresh(owner=owner)[1])
    expect(await store.of(ann) == {key: await store.load(key) for key in keys[:2]}, "created ones are listed")

    await store.commit(keys[3], change(owner=ann, expires_at=time.time() + 7200))
    await store.commit(keys[0], change(owner=bob))
    await store.commit(keys[1], change(set={"n": b"1"}))
    for owner, expected in ((ann, [keys[1], keys[3]]), (bob, [keys[0], keys[2]])):
        listed = {key: await store.load(key) for key in expected}
        expect(
            await store.of(owner) == listed, "a change of owner moves the entry, and records are the newest"
        )

    grave = Record(9, os.urandom(8), {}, ann, time.time(), time.time() + 60, ended=True)
    await store.end(keys[1], grave)
    live = {key for key, record in (await store.of(ann)).items() if not record.ended}
    expect(live == {keys[3]}, "an ended session is not listed as a live one")


async def sweeping(store: Any) -> None:
    """`sweep` deletes the records, tombstones too, that expired before `now`, and says how many."""
    now = time.time()
    owner = secrets.token_hex(8)
    old, expired = fresh(created_at=now - 60, expires_at=now - 5, owner=owner)
    gone, _ = fresh()
    kept, alive = fresh()
    await store.create(old, expired)
    await store.end(gone, expired._replace(values={}, ended=True))
    await store.create(kept, alive)
    await store.sweep(now - 10)
    same(await store.load(old), expired, "what expires later than `now` is kept")
    expect(await store.sweep(now) >= 2, "the number of deleted records is returned")
    expect(await store.load(old) is None, "an expired record is deleted")
    expect(await store.load(gone) is None, "an expired tombstone is deleted")
    same(await store.load(kept), alive, "a live record is kept")
    if isinstance(store, Owned):
        expect(await store.of(owner) == {}, "the owner's entry goes with the record")

    for seconds, stays in ((1, True), (59, True), (61, False)):
        key, moved = fresh(created_at=now - 120)
        await store.create(key, moved)
        await store.commit(key, change(now - seconds, expires_at=seconds - now))
        await store.sweep(now)
        found = await store.load(key)  # a store may put a tombstone in the place of a seal
        if stays:
            law = "what a rotation has sealed is kept for a minute, whatever its expiry says"
            expect(found is not None and not found.is_live(now), law)
        else:
            expect(found is None or found.ended, "what a rotation has sealed is deleted after a minute")
