"""The law for stores that can hold copies: an older copy never takes a newer one's place."""

from __future__ import annotations

import os
from typing import Any

from .law import expect, fresh, same, together

_LIFE_SECONDS = 60.0


async def copies(store: Any) -> None:
    """A copy of a lower rank, and one whose claim was voided, never takes the place of another."""
    key, record = fresh()
    await store.create(key, record)
    expect(await store.get_copy(key) is None, "there is no copy before one was put, though there is a record")
    expect(
        await store.put_copy(key, 7, b"seven", _LIFE_SECONDS) is True,
        "putting into an empty place gives True",
    )
    expect(await store.get_copy(key) is None, "and leaves it empty: what was there may have been newer")
    await _fill(store, key, 7, b"seven")
    same(await store.load(key), record, "a copy and a record of the same key do not touch each other")
    for rank, data, held in (
        (6, b"six", b"seven"),
        (7, b"again", b"again"),
        (2**53, b"", b""),
        (2**53 + 1, b"\0\r\n?=\xff", b"\0\r\n?=\xff"),
        (2**53, b"old", b"\0\r\n?=\xff"),
        (2**63 - 1, b"last", b"last"),
        (2**63 - 2, b"late", b"last"),
    ):
        expect(await store.put_copy(key, rank, data, _LIFE_SECONDS) is True, "a copy of this rank was there")
        expect(
            await store.get_copy(key) == held, "the copy of the highest rank stays, the last of equal ones"
        )

    key, _ = fresh()
    large = os.urandom(min(getattr(store, "max_bytes", None) or 65_536, 1_000_000))
    await _fill(store, key, 0, b"0")
    await together(
        *(store.put_copy(key, rank, b"%d" % rank, _LIFE_SECONDS) for rank in (3, 8, 1, 7, 2, 6, 4, 5))
    )
    expect(await store.get_copy(key) == b"8", "of copies put at once the one of the highest rank stays")
    await store.put_copy(key, 9, large, _LIFE_SECONDS)
    expect(await store.get_copy(key) == large, "a copy of max_bytes is kept whole")


async def claims(store: Any) -> None:
    """One reader at a time may fill an empty place, and only while nobody has put a copy there."""
    key, _ = fresh()
    rivals = [os.urandom(8) for _ in range(8)]
    claimed = await together(*(store.claim_copy(key, claim, _LIFE_SECONDS) for claim in rivals))
    expect(claimed.count(True) == 1, "of rivals for an empty place, exactly one gets it")
    holder, other = rivals[claimed.index(True)], rivals[claimed.index(False)]
    expect(await store.get_copy(key) is None, "a claim is no copy")
    expect(not await store.fill_copy(key, other, 9, b"other", _LIFE_SECONDS), "another claim fills nothing")
    expect(
        not await store.fill_copy(key, holder[:-1], 9, b"cut", _LIFE_SECONDS),
        "a part of the claim fills nothing",
    )
    expect(
        await store.fill_copy(key, holder, 1, b"filled", _LIFE_SECONDS) is True, "the claim fills its place"
    )
    expect(await store.get_copy(key) == b"filled", "what was filled in is the copy")
    expect(not await store.fill_copy(key, holder, 2, b"twice", _LIFE_SECONDS), "a claim fills its place once")
    expect(not await store.claim_copy(key, other, _LIFE_SECONDS), "the place of a copy cannot be claimed")

    key, _ = fresh()
    expect(await store.claim_copy(key, holder, _LIFE_SECONDS) is True, "an empty place can be claimed")
    expect(await store.put_copy(key, 0, b"put", _LIFE_SECONDS) is True, "putting where a claim is gives True")
    expect(
        not await store.fill_copy(key, holder, 9, b"late", _LIFE_SECONDS),
        "a copy that was put voids the claim",
    )
    expect(await store.get_copy(key) is None, "and leaves the place empty")
    expect(await store.claim_copy(key, other, _LIFE_SECONDS) is True, "so that it can be claimed anew")
    key, _ = fresh()
    expect(
        not await store.fill_copy(key, holder, 9, b"late", _LIFE_SECONDS), "without a claim nothing is filled"
    )
    expect(await store.get_copy(key) is None, "a claim that is not there changes nothing")


async def _fill(store: Any, key: str, rank: int, data: bytes) -> None:
    claim = os.urandom(8)
    expect(await store.claim_copy(key, claim, _LIFE_SECONDS), "an empty place can be claimed")
    expect(await store.fill_copy(key, claim, rank, data, _LIFE_SECONDS), "and filled under the claim")
