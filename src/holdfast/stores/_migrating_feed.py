"""The revoked feed while instances move from one store to another: told to both, so that each hears of each ending.

Instances that know only one of the stores read the feed there, and so do those of each stage: of its own authority.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..copies.revoked import FEED_KEY
from ..errors import SessionGone
from ..record import Change, Record
from . import Store


def is_of_feed(key: str) -> bool:
    """Whether the key is a place of the feed; no session has one like it."""
    return key.startswith(FEED_KEY)


class BothFeeds:
    """The feed in the store `read`, and what is told to it in `other` too."""

    def __init__(self, read: Store, other: Store) -> None:
        self._read = read
        self._other = other
        self._is_split = getattr(other, "writes_per_second", None) is not None

    async def create(self, key: str, record: Record) -> bool:
        for place, part in self._parts(record.values):
            await self._tell_other(place, Change(record.tag, record.created_at, set=part), record)
        return await self._read.create(key, record)

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        return await self._read.load(key, weak=weak)

    async def commit(self, key: str, change: Change) -> Record:
        for place, part in self._parts(change.set):
            gone = frozenset(name for name in change.unset if self._place(name) == place)
            told = change._replace(set=part, unset=gone, base=None)
            expires_at = change.now if change.expires_at is None else change.expires_at
            await self._tell_other(place, told, Record(1, change.tag, part, None, change.now, expires_at))
        return await self._read.commit(key, change)

    async def _tell_other(self, place: str, change: Change, otherwise: Record) -> None:
        fresh = otherwise._replace(version=1, values=dict(change.set))
        try:
            await self._other.commit(place, change)
        except SessionGone:
            if not await self._other.create(place, fresh):
                await self._other.commit(place, change._replace(tag=os.urandom(8)))

    def _parts(self, entries: Mapping[str, bytes]) -> list[tuple[str, dict[str, bytes]]]:
        """The entries by the place that they have in the other store."""
        parts: dict[str, dict[str, bytes]] = {}
        for name, at in entries.items():
            parts.setdefault(self._place(name), {})[name] = at
        return list(parts.items())

    def _place(self, name: str) -> str:
        """Where an entry stands in the other store: see `RevokedFeed`."""
        return f"{FEED_KEY}-{name[:1]}" if self._is_split else FEED_KEY
