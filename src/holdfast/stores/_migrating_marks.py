"""The mark that a session leaves in the store that it moves from, and what can be read from it."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from ..codec import decode, encode, pack_values
from ..record import Record

# The name of a value that no application uses. It is a value like any other, in the session's own encoding, so that
# instances which know nothing of the move can still read the record.
MARK = "\0holdfast-moved"

# What a store has to have room for besides the largest session: the name, and what stands under it.
ROOM_BYTES = 128

_MOVING = "moving"


class Moved(NamedTuple):
    """What the mark of a finished move says: which record the new store began with."""

    version: int
    digest: str


def moving() -> bytes:
    """The mark of a record that belongs to the new store from now on, and may have to be brought there yet."""
    return encode(_MOVING, MARK)


def moved(record: Record) -> bytes:
    """The mark that is left when `record` has arrived."""
    return encode(f"{record.version} {digest(record)}", MARK)


def digest(record: Record) -> str:
    """Names what the record holds, for comparing it with another."""
    data = pack_values(dict(sorted(record.values.items())))
    rest = repr((record.version, record.owner, float(record.created_at), float(record.expires_at)))
    return hashlib.sha256(record.tag + rest.encode() + data).hexdigest()[:32]


def is_marked(record: Record) -> bool:
    """Whether the record belongs to the new store, so that nothing may be done to it any more."""
    return MARK in record.values


def is_moving(record: Record) -> bool:
    """Whether the record may have to be brought to the new store yet; it is complete."""
    return is_marked(record) and decode(record.values[MARK]) == _MOVING


def arrival(record: Record) -> Moved | None:
    """What the mark says of the record that has arrived, if it has."""
    if not is_marked(record) or is_moving(record):
        return None
    version, _, name = decode(record.values[MARK]).partition(" ")
    return Moved(int(version), name)


def unmarked(record: Record) -> Record:
    """The record as it was sealed."""
    return record._replace(values={name: data for name, data in record.values.items() if name != MARK})


def has_ended(record: Record) -> bool:
    """Whether the record was ended or sealed on purpose: it did not just expire."""
    return record.ended or record.expires_at < 0
