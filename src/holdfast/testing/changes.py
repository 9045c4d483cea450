"""The law for what happens to a record: how it begins, changes, expires and ends."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from ..errors import Conflict, SessionGone
from ..record import merge
from ..stores import Store
from .law import change, expect, fresh, refused, same, together


async def put_if_free(store: Store) -> None:
    """`create` inserts if the key is free, and never overwrites."""
    key, record = fresh(owner="ann")
    expect(await store.load(key) is None, "loading an unknown key gives None")
    expect(await store.create(key, record) is True, "creating at a free key gives True")
    same(await store.load(key), record, "what was created is loaded exactly")
    expect(await store.create(key, fresh()[1]) is False, "creating at a taken key gives False")
    same(await store.load(key), record, "creating at a taken key changes nothing")

    key, _ = fresh()
    rivals = [fresh(values={"rival": b"%d" % number})[1] for number in range(8)]
    created = await together(*(store.create(key, rival) for rival in rivals))
    expect(created.count(True) == 1, "of rivals for a free key, exactly one gets it")
    same(
        await store.load(key), rivals[created.index(True)], "the key holds the record of the one that got it"
    )


async def a_change(store: Store) -> None:
    """`commit` applies the change to the stored record, version + 1, and returns the result."""
    key, record = fresh(version=7)
    await store.create(key, record)
    before = await store.load(key)
    first = change(set={"cart": b"tea", "new": b""}, unset=frozenset({"name", "unknown"}))
    expected = record._replace(version=8, tag=first.tag, values={"cart": b"tea", "new": b""})
    same(await store.commit(key, first), expected, "what is returned is the record after the change")
    same(await store.load(key), expected, "what is stored is the record after the change")
    same(before, record, "a record that was handed out earlier stays as it was")

    second = change(expires_at=record.expires_at + 0.1, owner="ann")
    expected = expected._replace(version=9, tag=second.tag, owner="ann", expires_at=record.expires_at + 0.1)
    same(await store.commit(key, second), expected, "expiry and owner are set if they are given")
    third = change()
    expected = expected._replace(version=10, tag=third.tag)
    same(await store.commit(key, third), expected, "expiry and owner stay if they are not given")


async def parallel_changes(store: Store) -> None:
    """Changes made side by side to different keys all survive."""
    key, record = fresh()
    await store.create(key, record)
    changes = [change(set={f"tab {number}": b"%d" % number}) for number in range(8)]
    changes.append(change(unset=frozenset({"name"})))
    results = await together(*(store.commit(key, each) for each in changes))
    values: Mapping[str, bytes] = record.values
    for each in changes:
        values = merge(values, each)
    final = await store.load(key)
    expect(final is not None and final.values == values, "no parallel change is lost")
    expect(final is not None and final.version == 10, "every parallel change adds one to the version")
    expect(
        sorted(result.version for result in results) == list(range(2, 11)),
        "every change returns the version that it made itself",
    )


async def conflict(store: Store) -> None:
    """If `base` is given and is not the stored version: `Conflict`, with the current record."""
    key, record = fresh(version=5)
    await store.create(key, record)
    for base in (4, 6):
        attempt = change(set={"name": b"Bob"}, base=base)
        clash = await refused(store.commit(key, attempt), Conflict, "another base is a Conflict")
        same(clash.current, record, "a Conflict carries what is stored")
        same(await store.load(key), record, "a Conflict changes nothing")
    right = change(set={"name": b"Bob"}, base=5)
    result = await store.commit(key, right)
    expect(
        result.version == 6 and result.values["name"] == b"Bob", "a change based on what is stored is applied"
    )


async def counting(store: Store) -> None:
    """Writers who base their change on what they have read, and try again at a `Conflict`, lose nothing."""
    key, record = fresh(values={"n": b"0"})
    await store.create(key, record)

    async def count() -> None:
        current = record
        for _ in range(100):
            more = {"n": b"%d" % (int(current.values["n"]) + 1)}
            try:
                current = await store.commit(key, change(set=more, base=current.version))
            except Conflict as clash:
                current = clash.current
            else:
                return
        expect(False, "a writer who follows every Conflict gets through")

    for _ in range(4):
        await together(*(count() for _ in range(5)))
    final = await store.load(key)
    expect(final is not None and final.values["n"] == b"20", "no increment is lost")


async def repeat(store: Store) -> None:
    """If the stored tag is already that of the change, it was applied before: what is stored is returned."""
    key, record = fresh()
    await store.create(key, record)
    for again in (change(set={"n": b"1"}), change(set={"n": b"2"}, base=2)):
        result = await store.commit(key, again)
        same(await store.commit(key, again), result, "a repeat returns what the change has made")
        same(await store.load(key), result, "a repeat is not applied a second time")


async def commit_after_end(store: Store) -> None:
    """If the record is missing or ended: `SessionGone`, and nothing is brought back."""
    key, record = fresh()
    await refused(
        store.commit(key, change(set={"n": b"1"})), SessionGone, "a missing record cannot be changed"
    )
    expect(await store.load(key) is None, "a change creates nothing")

    await store.create(key, record)
    grave = record._replace(version=2, tag=os.urandom(8), values={}, ended=True)
    await store.end(key, grave)
    ended = await store.load(key)
    for late in (
        change(set={"n": b"1"}),
        change(base=2),
        change(expires_at=record.expires_at + 60, owner="ann"),
    ):
        await refused(store.commit(key, late), SessionGone, "an ended record cannot be changed")
    expect(await store.load(key) == ended, "a late change leaves the tombstone as it was")


async def commit_after_expiry(store: Store) -> None:
    """If the record is expired at `change.now`: `SessionGone`, at the very second too."""
    now = time.time()
    key, record = fresh(created_at=now - 60, expires_at=now - 1)
    await store.create(key, record)
    for late in (change(now - 1), change(now), change(now, base=1), change(now, expires_at=now + 60)):
        await refused(store.commit(key, late), SessionGone, "an expired record cannot be changed")
    same(await store.load(key), record, "a late change leaves the expired record as it was")

    key, record = fresh()
    await store.create(key, record)
    sealed = await store.commit(key, change(expires_at=0.0))
    expect(sealed.expires_at == 0.0, "an expiry long past is stored like any other")
    await refused(store.commit(key, change()), SessionGone, "a record sealed that way cannot be changed")

    key, record = fresh()
    await store.create(key, record)
    await store.commit(key, change(expires_at=-now))
    found = await store.load(key)  # a store may put a tombstone in the place of a seal
    expect(found is not None and not found.is_live(now), "what a rotation has just sealed is still there")
    expect(await store.create(key, record) is False, "the key of what was sealed is taken")
    await refused(store.commit(key, change()), SessionGone, "what a rotation has sealed cannot be changed")


async def expired_present(store: Store) -> None:
    """A record that has just expired is loaded as it was, and its key is not free."""
    now = time.time()
    key, record = fresh(created_at=now - 60, expires_at=now - 2)
    await store.create(key, record)
    same(await store.load(key), record, "an expired record is still loaded")
    expect(await store.create(key, fresh()[1]) is False, "the key of an expired record is taken")


async def tombstone(store: Store) -> None:
    """`end` replaces whatever is there by the tombstone; missing is fine, and so is a repeat."""
    for exists in (True, False):
        key, record = fresh(owner="ann")
        if exists:
            await store.create(key, record)
        grave = record._replace(
            version=2, tag=os.urandom(8), values={}, expires_at=time.time() + 60, ended=True
        )
        await store.end(key, grave)
        same(await store.load(key), grave, "after the end the tombstone is loaded, exactly")
        await store.end(key, grave)
        same(await store.load(key), grave, "an end can be repeated")
        expect(await store.create(key, record) is False, "the key of a tombstone is taken")


async def weak_negative(store: Store) -> None:
    """What a weak read did not find, a strong one does; a weak read gives nothing that never was."""
    key, record = fresh()
    expect(await store.load(key, weak=True) is None, "a weak read of an unknown key gives None")
    await store.create(key, record)
    same(await store.load(key), record, "a strong read finds what a weak one has not")
    expect(await store.load(key, weak=True) in (None, record), "a weak read gives an earlier record or none")
    newer = await store.commit(key, change(set={"n": b"1"}))
    expect(
        await store.load(key, weak=True) in (None, record, newer),
        "a weak read gives a record that was stored",
    )
    same(await store.load(key), newer, "a strong read gives the newest record after a weak one")
    grave = newer._replace(version=3, tag=os.urandom(8), values={}, ended=True)
    await store.end(key, grave)
    expect(
        await store.load(key, weak=True) in (None, record, newer, grave),
        "a weak read of an ended session gives a record that was stored",
    )
    same(await store.load(key), grave, "a strong read gives the tombstone after a weak one")


async def clock_skew(store: Store) -> None:
    """Expiry is judged by the change's own time, order by the version: no clock of the store's comes in."""
    now = time.time()
    key, record = fresh(created_at=now - 60, expires_at=now - 2)
    await store.create(key, record)
    by_slow_clock = await store.commit(key, change(now - 30, set={"n": b"slow"}))
    expect(by_slow_clock.version == 2, "what has not expired at the change's time can be changed")
    await refused(store.commit(key, change(now)), SessionGone, "what has expired at the change's time cannot")

    key, record = fresh()
    await store.create(key, record)
    for version, (offset, value) in enumerate([(30, b"fast"), (-30, b"slow"), (0, b"right")], start=2):
        result = await store.commit(key, change(now + offset, set={"n": value}))
        expect((result.version, result.values["n"]) == (version, value), "the later commit wins on any clock")
