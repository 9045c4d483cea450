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
from holdfast.record import Change, Record
from holdfast.stores.guard import Guard
from holdfast.tokens.snapshots import Snapshots
from holdfast.work import Work

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


def pin_as_for_other_copies(patch: pytest.MonkeyPatch) -> None:
    """The pin lives as long as it would if browsers carried nothing."""
    patch.setattr(Homes, "pin_seconds", lambda self, confirmed: self._ladder._copy_age + 1.0)


def age_from_the_response(patch: pytest.MonkeyPatch) -> None:
    """A snapshot counts as taken when the response leaves."""
    make = Snapshots.make
    patch.setattr(
        Snapshots,
        "make",
        lambda self, record, as_of, identity, now: make(self, record, now, identity, now),
    )


def no_age_check(patch: pytest.MonkeyPatch) -> None:
    """The browser is trusted to throw a snapshot away in time."""
    patch.setattr(Snapshots, "open", lambda self, *sent: self._token.read(*sent))


def no_feed_for_snapshots(patch: pytest.MonkeyPatch) -> None:
    """Nobody asks which sessions have ended while a snapshot lives."""
    patch.setattr(Snapshots, "trusted", property(lambda self: 1e9, lambda self, seconds: None), raising=False)


def write_upon_what_is_carried(patch: pytest.MonkeyPatch) -> None:
    """What was made of the values in a snapshot is stored, whatever is stored by then."""
    commit = Guard.commit

    async def commit_anyway(self: Any, key: str, change: Change) -> Record:
        is_seal = change.expires_at is not None and change.expires_at < 0
        return await commit(self, key, change if is_seal else change._replace(base=None))

    patch.setattr(Guard, "commit", commit_anyway)


def forget_what_was_counted_elsewhere(patch: pytest.MonkeyPatch) -> None:
    """A login takes the results of alterations along as they are."""
    patch.setattr(Work, "on", lambda self, values: self)


# Each is caught by schedules in which a browser carries snapshots, and there are no other copies.
SNAPSHOT_MUTATIONS: dict[str, Mutation] = {
    "no longer pin for snapshots": pin_as_for_other_copies,
    "age from the response": age_from_the_response,
    "no age check": no_age_check,
    "no feed for snapshots": no_feed_for_snapshots,
    "the snapshot as the base of a write": write_upon_what_is_carried,
    "a login forgets what was counted elsewhere": forget_what_was_counted_elsewhere,
}
