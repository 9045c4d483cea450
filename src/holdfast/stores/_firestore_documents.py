"""What a `FirestoreStore` keeps: a record as a document, and a change as writes of a document.

The fields are `v` (version), `t` (tag), `d` (the values, a map), `o` (owner, if there is one), `c` and `x` (when it was
created and when it expires, in seconds), `e` (true for a tombstone) and `ttl` (when Firestore may delete it).

Messages are protobuf's own: the client's wrapper around them takes longer than all that is done here.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from google.cloud.firestore_v1 import types

from ..errors import SessionTooLarge
from ..record import Change, Record

Document: Any = types.Document.pb()
Value: Any = types.Value.pb()
Write: Any = types.Write.pb()

# A record stays for so long after it has expired, for requests whose clock is behind.
_MARGIN_SECONDS = 60.0

# The last whole second that Firestore's timestamps can say.
_LATEST_SECONDS = 253_402_300_799

# Firestore's limit for a path to a field is 1,500 bytes, and each begins with "d.".
_MAX_NAME_BYTES = 1_498

_ODD = re.compile(rb"[^A-Za-z0-9]")
_ESCAPE = re.compile(rb"_([0-9A-F]{2})")


class Stored(NamedTuple):
    """A record with the document that it is in: its name, and when it was updated, which no other state shares."""

    record: Record
    name: str
    updated: Any


def stored(document: Any) -> Stored:
    """The record in a document."""
    fields = document.fields
    values = fields["d"].map_value.fields
    record = Record(
        version=fields["v"].integer_value,
        tag=fields["t"].bytes_value,
        values={_decoded(name): value.bytes_value for name, value in values.items()},
        owner=fields["o"].string_value if "o" in fields else None,
        created_at=fields["c"].double_value,
        expires_at=fields["x"].double_value,
        ended="e" in fields,
    )
    return Stored(record, document.name, document.update_time)


def replacing(name: str, record: Record, now: float, **precondition: Any) -> Any:
    """The write that makes the record all that is in the document."""
    document = Document(name=name)
    fields = document.fields
    fields["v"].integer_value = record.version
    fields["t"].bytes_value = record.tag
    fields["c"].double_value = record.created_at
    fields["x"].double_value = record.expires_at
    fields["ttl"].timestamp_value.seconds = _kept_until(record.expires_at, now)
    if record.owner is not None:
        fields["o"].string_value = record.owner
    if record.ended:
        fields["e"].boolean_value = True
    values = fields["d"].map_value
    values.SetInParent()  # an empty map is a map
    for key, value in record.values.items():
        values.fields[_encoded(key)].bytes_value = value
    return Write(update=document, current_document=precondition or None)


def adding(name: str, change: Change) -> Any:
    """The write that sets and removes the change's values and adds one to the version, whatever else is there.

    Firestore then says which version that is, and when the record expires: to add 0 to that is a way to ask.
    """
    write = _changing(name, change, {"exists": True})
    version, expires_at = write.update_transforms.add(), write.update_transforms.add()
    version.field_path, version.increment.integer_value = "v", 1
    expires_at.field_path, expires_at.increment.double_value = "x", 0.0
    return write


def updating(known: Stored, change: Change) -> Any:
    """The write that applies the change to the known state of a document, and to no other."""
    write = _changing(known.name, change, {"update_time": known.updated})
    fields, paths = write.update.fields, write.update_mask.field_paths
    fields["v"].integer_value = known.record.version + 1
    paths.append("v")
    if change.expires_at is not None:
        fields["x"].double_value = change.expires_at
        fields["ttl"].timestamp_value.seconds = _kept_until(change.expires_at, change.now)
        paths.extend(("x", "ttl"))
    if change.owner is not None:
        fields["o"].string_value = change.owner
        paths.append("o")
    return write


def deleting(name: str, **precondition: Any) -> Any:
    """The write that deletes the document."""
    return Write(delete=name, current_document=precondition or None)


def document_id(key: str) -> str:
    """The last part of the document's name. A session's key is its own."""
    name = quote(key, safe="")
    if not name or name[0] in "._":  # "", "." and ".." are no names, and "__…__" is Firestore's own
        return f"%{ord(name[0]):02X}{name[1:]}" if name else "%"
    return name


def key_of(name: str) -> str:
    """The key of the record that is in the document of this name."""
    last = name.rsplit("/", 1)[1]
    return "" if last == "%" else unquote(last)


def _changing(name: str, change: Change, precondition: Any) -> Any:
    write = Write(current_document=precondition)
    write.update.name = name
    fields = write.update.fields
    fields["t"].bytes_value = change.tag
    paths = ["t"]
    if change.set:
        values = fields["d"].map_value.fields
        for key, value in change.set.items():
            encoded = _encoded(key)
            values[encoded].bytes_value = value
            paths.append(f"d.{encoded}")
    if change.unset:
        paths += [f"d.{_encoded(key)}" for key in change.unset]
    write.update_mask.field_paths.extend(paths)
    return write


def _kept_until(expires_at: float, now: float) -> int:
    return math.ceil(min(max(expires_at, now) + _MARGIN_SECONDS, _LATEST_SECONDS))


def _encoded(name: str) -> str:
    """The value's name as one that needs no quotes in a field path: letters first, then digits and _ too.

    Any other begins with _ and has _ and two hexadecimal digits in the place of each odd byte, so that none is empty
    and none is one of Firestore's own (`__…__`).
    """
    if name.isascii() and name.isidentifier() and name[0] != "_":
        encoded = name
    else:
        encoded = "_" + _ODD.sub(lambda odd: b"_%02X" % ord(odd.group()), name.encode()).decode()
    if len(encoded) > _MAX_NAME_BYTES:
        raise SessionTooLarge(
            f"the key {name[:40]!r}… is too long: Firestore takes {_MAX_NAME_BYTES} bytes, in which each that is no "
            "ASCII letter or digit may count as three"
        )
    return encoded


def _decoded(name: str) -> str:
    if name[:1] != "_":
        return name
    return _ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), name[1:].encode()).decode()
