"""A record as a hash in Redis: the fields that are stored, what is read from an answer, which changes are simple."""

from __future__ import annotations

from typing import Any

from ..record import Change, Record
from ._recent import is_applicable

_VALUE = ord("=")


def time_of(seconds: float) -> bytes:
    """A time as text that Python reads back exactly."""
    return repr(float(seconds)).encode()


def milliseconds(seconds: float) -> bytes:
    """How long something is kept, as Redis takes it."""
    return b"%d" % max(seconds * 1000, 1)


def field_of(name: str) -> bytes:
    """The field of the value with this name."""
    return b"=" + name.encode()


def fields_of(record: Record) -> list[bytes]:
    """The record as fields and what they hold, by turns."""
    fields = [b"v", b"%d" % record.version, b"t", record.tag]
    fields += b"c", time_of(record.created_at), b"x", time_of(record.expires_at)
    if record.owner is not None:
        fields += b"o", record.owner.encode()
    if record.ended:
        fields += b"e", b"1"
    for name, value in record.values.items():
        fields += field_of(name), value
    return fields


def record_of(reply: Any) -> Record | None:
    """The record in an answer to HGETALL: a list of names and values, or a dictionary under RESP3."""
    if not reply:
        return None
    values: dict[str, bytes] = {}
    owner, ended = None, False
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    for name, value in pairs:
        if name[0] == _VALUE:
            values[name[1:].decode()] = value
        elif name == b"v":
            version = int(value)
        elif name == b"t":
            tag = value
        elif name == b"c":
            created_at = float(value)
        elif name == b"x":
            expires_at = float(value)
        elif name == b"o":
            owner = value.decode()
        elif name == b"e":
            ended = True
    return Record(version, tag, values, owner, created_at, expires_at, ended)


def is_ordinary(change: Change, known: Record) -> bool:
    """Whether the change sets some values and does nothing else, and may be applied to the known record."""
    return (
        change.expires_at is None
        and change.owner is None
        and not change.unset
        and len(change.set) < 1000  # that Lua passes at once
        and is_applicable(change, known)
    )
