"""Copies of records outside the store: here is how one is written down, as bytes.

The shared cache keeps copies in this form, and so does the instance: one object of bytes costs a fraction of
the memory of a record's own objects, and nobody can change it.
"""

from __future__ import annotations

from msgpack import packb, unpackb

from ..record import Record

# Instances of an earlier and a later release share a cache while one follows the other: what this number does
# not stand at the head of is not a copy to this release.
_FORM = 1


def pack(record: Record, as_of: float) -> bytes:
    """The copy of a record that was the newest one at `as_of` (seconds since the epoch)."""
    version, tag, values, owner, created_at, expires_at, ended = record
    if type(values) is not dict:
        values = dict(values)
    data: bytes = packb((_FORM, version, tag, values, owner, created_at, expires_at, ended, as_of))
    return data


def unpack(data: bytes) -> tuple[Record, float]:
    """The record and the `as_of` that `pack` made the bytes of. Raises ValueError for any other bytes."""
    try:
        form, version, tag, values, owner, created_at, expires_at, ended, as_of = unpackb(data)
    except (ValueError, TypeError) as error:
        raise ValueError("these bytes are no copy") from error
    if form != _FORM or type(values) is not dict or type(version) is not int:
        raise ValueError("these bytes are no copy of a form that is known here")
    return Record(version, tag, values, owner, created_at, expires_at, ended), as_of
