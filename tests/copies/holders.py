"""Holders of copies whose failures a test has in its hand."""

from __future__ import annotations

import os
from typing import Any

from holdfast.copies.cache import SharedCache
from holdfast.record import Record
from holdfast.stores import Caches
from holdfast.testing import FakeClock


class Switched:
    """Passes calls on to `holder` while it is on. Counts those that reach it, by name; a failing one too."""

    def __init__(self, holder: Caches) -> None:
        self.holder = holder
        self.on = True
        self.calls: list[str] = []
        self.lives: list[float] = []

    async def get_copy(self, key: str) -> bytes | None:
        return await self._pass("get", key)

    async def claim_copy(self, key: str, claim: bytes, life: float) -> bool:
        return bool(await self._pass("claim", key, claim, life))

    async def fill_copy(self, key: str, claim: bytes, rank: int, data: bytes, life: float) -> bool:
        self.lives.append(life)
        return bool(await self._pass("fill", key, claim, rank, data, life))

    async def put_copy(self, key: str, rank: int, data: bytes, life: float) -> bool:
        self.lives.append(life)
        return bool(await self._pass("put", key, rank, data, life))

    async def _pass(self, name: str, *arguments: Any) -> Any:
        self.calls.append(name)
        if not self.on:
            raise ConnectionError("switched off")
        return await getattr(self.holder, f"{name}_copy")(*arguments)


def record_at(clock: FakeClock, version: int = 1, **fields: Any) -> Record:
    """A live record of this version."""
    values = {"n": b"%d" % version}
    return Record(version, os.urandom(8), values, None, clock.now, clock.now + 1800)._replace(**fields)


def tombstone_at(clock: FakeClock, version: int) -> Record:
    """The record of a session that ended with this version."""
    return record_at(clock, version, values={}, ended=True)


async def filled(cache: SharedCache, key: str, record: Any, as_of: float) -> None:
    """Let a reader bring the record into an empty place."""
    look = await cache.look(key)
    assert look.claim is not None
    assert await cache.fill(key, look.claim, record, as_of)
