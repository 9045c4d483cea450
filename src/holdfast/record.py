"""The values that pass between homes: a `Record` is what a home holds, a `Change` is what one request did.

Both are immutable, so that a copy can be handed to any number of requests at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .errors import Conflict, SessionGone


class Record(NamedTuple):
    """One session as a home holds it.

    `version` counts the changes from 1 on (64 bits); `tag` is 8 random bytes that name the last change.
    `values` maps the application's names to encoded bytes. `owner` is the user once signed in.
    `created_at` and `expires_at` are seconds since the epoch. `ended` makes it a tombstone: it has no
    values, was made at `created_at`, and may be forgotten after `expires_at`.
    """

    version: int
    tag: bytes
    values: Mapping[str, bytes]
    owner: str | None
    created_at: float
    expires_at: float
    ended: bool = False

    def __repr__(self) -> str:
        """Without the values themselves: error reports show what stands in variables."""
        return (
            f"Record(version={self.version}, tag={self.tag.hex()}, values={sizes_of(self.values)}, "
            f"owner={self.owner!r}, created_at={self.created_at}, expires_at={self.expires_at}, ended={self.ended})"
        )

    def is_live(self, now: float) -> bool:
        """Whether the session may still be used at `now` (seconds since the epoch)."""
        return not self.ended and now < self.expires_at


class Change(NamedTuple):
    """What one request did to a session.

    `set` and `unset` never share a name. `expires_at` and `owner` of None leave what is stored.
    `tag` is 8 fresh random bytes: a repeat of the same change is recognised by it. `now` is the time by
    which expiry is judged. `base`, if given, is the only version that the change may be applied to.
    """

    tag: bytes
    now: float
    set: Mapping[str, bytes] = {}
    unset: frozenset[str] = frozenset()
    expires_at: float | None = None
    owner: str | None = None
    base: int | None = None

    def __repr__(self) -> str:
        """Without the values themselves."""
        return (
            f"Change(tag={self.tag.hex()}, now={self.now}, set={sizes_of(self.set)}, unset={sorted(self.unset)}, "
            f"expires_at={self.expires_at}, owner={self.owner!r}, base={self.base})"
        )


def sizes_of(values: Mapping[str, bytes]) -> str:
    """Names of values with the bytes that each takes: what may be shown of them."""
    return "{" + ", ".join(f"{name}: {len(data)} bytes" for name, data in values.items()) + "}"


def merge(values: Mapping[str, bytes], change: Change) -> dict[str, bytes]:
    """`values` with the change applied; the argument is left as it was."""
    merged = {**values, **change.set}
    for name in change.unset:
        merged.pop(name, None)
    return merged


def judge(record: Record | None, change: Change) -> Record | None:
    """Say what the contract of `Store.commit` says of a change that meets `record`.

    Returns the record itself if the change was applied to it before, None if it may be applied now;
    raises `SessionGone` or `Conflict`. The one place where these rules stand for stores that decide in
    Python; a store that decides in its engine is held to the same by the conformance suite.
    """
    if record is not None and record.tag == change.tag:
        return record
    if record is None or not record.is_live(change.now):
        raise SessionGone("the session has ended or expired")
    if change.base is not None and change.base != record.version:
        raise Conflict(record)
    return None


def apply(record: Record, change: Change) -> Record:
    """The record that follows `record` when the change, already judged, is applied."""
    version, _, values, owner, created_at, expires_at, _ = record
    owner = owner if change.owner is None else change.owner
    expires_at = expires_at if change.expires_at is None else change.expires_at
    return Record(version + 1, change.tag, merge(values, change), owner, created_at, expires_at)
