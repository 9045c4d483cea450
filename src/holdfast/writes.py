"""The write path: how what a request did becomes what the store holds (design §8).

Nothing here is acknowledged before the store has accepted it, and nothing brings an ended session back: a
change is only ever applied to a record that is there.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from contextlib import suppress

from . import _colour, deadline
from .errors import Conflict, SessionGone, SessionTooLarge, StoreError, StoreThrottled
from .record import Change, Record
from .stores.guard import Guard
from .work import Work

# How often a change is based anew on what another writer has stored meanwhile. Each round, one writer wins.
ROUNDS = 64

# A tombstone outlives every request that could still hold the session: the longest that a platform lets a
# request run is an hour (Cloud Run).
_TOMBSTONE_SECONDS = 3600.0

# The tag of a tombstone whose session lives on under another identity.
ROTATED = b"rotated\0"


def new_tag() -> bytes:
    """8 random bytes that name one change."""
    return os.urandom(8)


def tombstone(record: Record, now: float, tag: bytes | None = None) -> Record:
    """The record that takes the place of an ended one, at least for as long as that would have been there."""
    return Record(
        version=record.version + 1,
        tag=tag or new_tag(),
        values={},
        owner=record.owner,
        created_at=now,
        expires_at=max(now + _TOMBSTONE_SECONDS, record.expires_at),
        ended=True,
    )


def seal(record: Record, now: float) -> Change:
    """The change after which a record takes no other, because its session goes on under another identity.

    It has a base, so that it fails if there is something newer. Its expiry is over for every clock, and says when it
    was: a request that meets the record before the tombstone has taken its place must know that the session lives
    on (see `ended_at`).
    """
    return Change(
        tag=new_tag(), now=now, unset=frozenset(record.values), expires_at=-now, base=record.version
    )


def ended_at(record: Record) -> float | None:
    """When a session was ended or went on under another identity; None if it was not, but may have expired."""
    if record.ended:
        return record.created_at
    return -record.expires_at if record.expires_at < 0 else None


def goes_on(record: Record) -> bool:
    """Whether the session of an ended or sealed record lives on under another identity."""
    return not record.ended or record.tag == ROTATED


async def create(store: Guard, key: str, record: Record) -> None:
    """Store a new session under a fresh random key."""
    check_size(store, record.values)
    if not await store.create(key, record):
        raise StoreError("the store says that a fresh random key is taken")


async def change(
    store: Guard,
    key: str,
    record: Record,
    work: Work,
    now: float,
    expires_at: float | None,
    on_conflict: Callable[[Record], object],
    *,
    is_based: bool = False,  # `on_conflict` decides, by raising, whether the work may be done: it has to see all
    on_fork: Callable[[], object] = lambda: None,
) -> Record:
    """Commit the work to the record, altering anew whatever another writer was faster with.

    `on_fork` is called if the store turns out to have held another state of the very version that this is based on.
    """
    for attempt in deadline.rounds(ROUNDS):
        if work.set:
            check_size(store, applied(record.values, work))
        wanted = Change(
            tag=new_tag(),
            now=now,
            set=work.set,
            unset=work.unset,
            expires_at=expires_at,
            owner=None if expires_at is None else record.owner,
            base=record.version if is_based or work.alterations else None,
        )
        try:
            kept = await store.commit(key, wanted)
        except Conflict as conflict:
            record = conflict.current
            on_conflict(record)
            work = work.on(record.values)
            await give_way(attempt)
        else:
            # Nobody can have come in between: what is not as it was read has been lost, and was made up for in number.
            if wanted.base is not None and not applied(record.values, work).items() <= kept.values.items():
                on_fork()
            return kept
    raise overtaken(attempt)


async def rotate(
    store: Guard,
    old_key: str,
    record: Record,
    new_key: str,
    successor: Record,
    work: Work,
    now: float,
    on_conflict: Callable[[Record], object],
    on_fork: Callable[[], object],
) -> Record:
    """Move the session to `new_key`: same values, the work applied, nothing acknowledged is left behind.

    The new record is made first, while nobody knows its name. Then the old one is sealed, on condition that
    it is still the one that was copied; what another writer committed meanwhile is carried over before the
    seal is tried again. A crash before the seal leaves the old session as it was.
    """
    moved = successor._replace(values=applied(record.values, work))
    await create(store, new_key, moved)
    for attempt in deadline.rounds(ROUNDS):
        try:
            sealed = await store.commit(old_key, seal(record, now))
        except Conflict as conflict:
            record = conflict.current
            work = work.on(record.values)
            on_conflict(record)
            values = applied(record.values, work)
            moved = await store.commit(new_key, _difference(moved, values, now))
            await give_way(attempt)
        except SessionGone:
            await store.end(new_key, tombstone(moved, now))
            raise
        else:
            if left := {name: data for name, data in sealed.values.items() if name not in moved.values}:
                # The store went back and on again, to another state of the same version: what only that one had
                # comes along.
                on_fork()
                moved = await store.commit(new_key, Change(tag=new_tag(), now=now, set=left))
            # The seal is as good as the tombstone for everybody who could be late, while a successor that its browser
            # does not hear of would be a session lost.
            with suppress(StoreError):
                await store.end(
                    old_key, tombstone(sealed._replace(expires_at=record.expires_at), now, ROTATED)
                )
            return moved
    await store.end(new_key, tombstone(moved, now))
    raise overtaken(attempt)


def overtaken(attempt: int) -> StoreThrottled:
    """What is raised once other writers were faster so often."""
    return StoreThrottled(f"{attempt + 1} other changes to this session were faster; nothing was written")


def applied(values: Mapping[str, bytes], work: Work) -> dict[str, bytes]:
    """`values` with the work done; the argument is left as it was."""
    return {**{name: data for name, data in values.items() if name not in work.unset}, **work.set}


def _difference(record: Record, values: Mapping[str, bytes], now: float) -> Change:
    """The change that makes the record hold exactly these values."""
    changed = {name: data for name, data in values.items() if record.values.get(name) != data}
    return Change(tag=new_tag(), now=now, set=changed, unset=frozenset(record.values).difference(values))


def check_size(store: Guard, values: Mapping[str, bytes]) -> None:
    """Raise `SessionTooLarge`, naming the largest keys, for values that the store does not take."""
    sizes = {name: len(name.encode()) + len(data) for name, data in values.items()}
    total = sum(sizes.values())
    if store.max_bytes is not None and total > store.max_bytes:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
        parts = ", ".join(f"{name[:40]!r} ({sizes[name]} bytes)" for name in largest)
        raise SessionTooLarge(
            f"the session would have {total} bytes, {store.name} takes {store.max_bytes}; "
            f"the largest keys are {parts}"
        )


async def give_way(attempt: int) -> None:
    """Wait a random moment, longer each time, once several rounds were lost."""
    if attempt >= 3:
        longest = min(0.001 * 2 ** (attempt - 3), 0.05)
        await _colour.pause(random.uniform(0, longest))  # noqa: S311 - spreads writers out, guards nothing
