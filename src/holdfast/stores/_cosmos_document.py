"""How a record looks as a document in Cosmos DB, and how a change looks as a patch of it.

    {"id": "…", "v": 7, "t": "0123456789abcdef", "d": {"ncart": "dGVh"},
     "o": "ann", "c": 1.5, "x": 9.5, "e": false, "ttl": 68}

`v` is the version, `t` the tag in hexadecimal, `d` the values in base64 by their encoded names, `o` the owner (null
if there is none), `c` and `x` when it was created and expires, `e` whether it has ended. `ttl` is for Cosmos DB, which
deletes the document so many seconds after it was last written: rubbish collection, a while after the record's expiry.

Numbers are doubles there. A version that is too large for one is kept as text, and is never patched.
"""

from __future__ import annotations

import math
import re
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from ..record import Change, Record

# A record stays for so long after it has expired, for requests whose clock is behind.
_MARGIN_SECONDS = 60

# What Cosmos DB counts at most.
_LONGEST_SECONDS = 2**31 - 1

# Versions below this are exact as doubles, and so is what one more makes of them.
_FIRST_INEXACT = 2**53 - 1

# As many operations as Cosmos DB takes in a patch.
_MOST_OPERATIONS = 10

_PLAIN = re.compile(r"[A-Za-z0-9_]+")


def document(key: str, record: Record) -> dict[str, Any]:
    """The document that holds the record."""
    return {
        "id": key,
        "v": record.version if record.version < _FIRST_INEXACT else str(record.version),
        "t": record.tag.hex(),
        "d": {_encoded(name): b64encode(value).decode() for name, value in record.values.items()},
        "o": record.owner,
        "c": record.created_at,
        "x": record.expires_at,
        "e": record.ended,
        "ttl": _life(record.expires_at - record.created_at),
    }


def changed(key: str, record: Record, change: Change, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The document that holds the record that a change has led to, from the document that was `stored`."""
    life = stored["ttl"] if change.expires_at is None else _life(change.expires_at - change.now)
    return document(key, record) | {"ttl": life}


def record(document: Mapping[str, Any]) -> Record:
    """The record in a document."""
    return Record(
        version=int(document["v"]),
        tag=bytes.fromhex(document["t"]),
        values={_decoded(name): b64decode(value) for name, value in document["d"].items()},
        owner=document["o"],
        created_at=float(document["c"]),
        expires_at=float(document["x"]),
        ended=document["e"],
    )


def patch(change: Change) -> tuple[list[dict[str, Any]], str] | None:
    """The change as operations and the condition for them, as `record.judge` has it; None if a patch cannot be it."""
    operations: list[dict[str, Any]] = [
        {"op": "incr", "path": "/v", "value": 1},
        {"op": "set", "path": "/t", "value": change.tag.hex()},
    ]
    if change.expires_at is not None:
        operations.append({"op": "set", "path": "/x", "value": change.expires_at})
        operations.append({"op": "set", "path": "/ttl", "value": _life(change.expires_at - change.now)})
    if change.owner is not None:
        operations.append({"op": "set", "path": "/o", "value": change.owner})
    if len(operations) + len(change.set) + len(change.unset) > _MOST_OPERATIONS:
        return None
    if change.base is not None and change.base >= _FIRST_INEXACT:
        return None
    for name, value in change.set.items():
        operations.append({"op": "set", "path": f"/d/{_encoded(name)}", "value": b64encode(value).decode()})
    # Text is not less than any number there: a version that is kept as text does not meet the condition.
    version = f"c.v < {_FIRST_INEXACT}" if change.base is None else f"c.v = {change.base}"
    condition = f"{version} and c.e = false and c.x > {change.now!r} and c.t != '{change.tag.hex()}'"
    for name in change.unset:
        # To remove what is not there is an error, so that it is made a part of the condition.
        operations.append({"op": "remove", "path": f"/d/{_encoded(name)}"})
        condition += f" and IS_DEFINED(c.d['{_encoded(name)}'])"
    return operations, f"from c where {condition}"


# A write that changes nothing, for the sake of its answer: the document as it is after every write before.
TOUCH = [{"op": "set", "path": "/n", "value": 0}]


def _encoded(name: str) -> str:
    """A name as a key that needs no escape in JSON, in the path of a patch or in a query."""
    if _PLAIN.fullmatch(name):
        return "n" + name
    return "b" + urlsafe_b64encode(name.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def _decoded(key: str) -> str:
    if key[0] == "n":
        return key[1:]
    return urlsafe_b64decode(key[1:] + "=" * (-(len(key) - 1) % 4)).decode("utf-8", "surrogatepass")


def _life(seconds: float) -> int:
    """For how many seconds a document is kept whose record lives for so many."""
    return min(math.ceil(max(seconds, 0.0)) + _MARGIN_SECONDS, _LONGEST_SECONDS)
