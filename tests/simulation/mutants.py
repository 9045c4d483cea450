"""Ways to break the mechanism: each takes one rule out of the real code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast.copies import cache
from holdfast.copies.cache import SharedCache
from holdfast.copies.revoked import RevokedFeed
from holdfast.floor import Floor, FloorToken
from holdfast.homes import Homes
from holdfast.ladder import Question
from holdfast.record import Record
from holdfast.stores.guard import Guard

Mutation = Callable[[pytest.MonkeyPatch], None]


def pin_off(patch: pytest.MonkeyPatch) -> None:
    """No response makes the next reads strong."""
    patch.setattr(Homes, "pin_seconds", lambda self, confirmed: 0.0)


def floor_on_writes_only(patch: pytest.MonkeyPatch) -> None:
    """What a read has shown that is new leaves no floor."""
    patch.setattr(Question, "is_news", lambda self, record: False)


def absent_floor_as_zero(patch: pytest.MonkeyPatch) -> None:
    """A browser without a floor is taken for one that has seen nothing."""
    read = FloorToken.read
    zero = Floor(0, bytes(8), 0.0, 0.0)
    patch.setattr(FloorToken, "read", lambda self, token, identity: read(self, token, identity) or zero)


def delete_instead_of_tombstone(patch: pytest.MonkeyPatch) -> None:
    """An ended session leaves nothing behind."""

    async def end(self: Any, key: str, tombstone: Record) -> None:
        await self._call(self.store.delete(key))

    patch.setattr(Guard, "end", end)


def cache_set_without_guard(patch: pytest.MonkeyPatch) -> None:
    """Whoever writes to the cache last wins."""
    patch.setattr(cache, "_rank", lambda record: 0)


def no_revoked_feed(patch: pytest.MonkeyPatch) -> None:
    """Nobody is told that a session has ended."""

    async def tell(self: Any, key: str) -> None:
        return

    patch.setattr(RevokedFeed, "tell", tell)


def refill_without_claim(patch: pytest.MonkeyPatch) -> None:
    """Whoever has read the store fills the cache, though a commit in between has voided his claim."""
    fill = SharedCache.fill

    async def fill_anyway(self: Any, key: str, claim: bytes, record: Record, as_of: float) -> bool:
        if await fill(self, key, claim, record, as_of):
            return True
        late = claim[::-1]
        taken = await self._try(key, self._store.claim_copy(key, late, 2.0))
        return taken is True and await fill(self, key, late, record, as_of)

    patch.setattr(SharedCache, "fill", fill_anyway)


MUTATIONS: dict[str, Mutation] = {
    "pin off": pin_off,
    "floor on writes only": floor_on_writes_only,
    "absent floor as zero": absent_floor_as_zero,
    "delete instead of tombstone": delete_instead_of_tombstone,
    "cache set without version guard": cache_set_without_guard,
    "no revoked feed": no_revoked_feed,
    "refill without claim": refill_without_claim,
}
