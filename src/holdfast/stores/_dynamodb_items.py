"""A record as a DynamoDB item, and a change as an update of one.

| attribute | type | holds |
|---|---|---|
| `id` | S | the key of the session, which is the partition key |
| `v`, `t` | N, B | version and tag |
| `d` | M of B | the values, each name with a `=` before it: DynamoDB has no empty names |
| `o` | S | the owner while the session has not ended, with a `=` before it; the key of the index `owners` |
| `w` | S | the owner where `o` cannot hold it: of an ended session, or one too long for the key of an index |
| `c`, `x` | N | when it was made and when it expires, every digit of it |
| `e` | BOOL | true if it has ended; otherwise absent |
| `ttl` | N | from which second on DynamoDB may delete it |
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

from ..record import Change, Record

Item = dict[str, Any]

# An item stays for so long after it has expired, for requests whose clock is behind. DynamoDB takes its time on top.
_MARGIN_SECONDS = 60

# An index takes keys of 2048 bytes at most.
_LONGEST_INDEXED = 1024

# An expression may have 4 KB and 300 operators: up to so many names it certainly stays below both.
_MOST_NAMES = 100

_CONDITION = "x > :now AND t <> :t AND attribute_not_exists(e)"
IS_FREE = "attribute_not_exists(id)"
IS_SAME = "v = :v AND t = :t"

_ONE = {"N": "1"}


def item_of(key: str, record: Record, now: float) -> Item:
    """The item for a record that is written at `now` (seconds since the epoch)."""
    item: Item = {
        "id": {"S": key},
        "v": {"N": str(record.version)},
        "t": {"B": record.tag},
        "d": {"M": {f"={name}": {"B": value} for name, value in record.values.items()}},
        "c": _number(record.created_at),
        "x": _number(record.expires_at),
        "ttl": _ttl(record.expires_at, now),
    }
    if record.ended:
        item["e"] = {"BOOL": True}
    if record.owner is not None:
        indexed = owner_key(record.owner)
        if not record.ended:
            item["o"] = {"S": indexed}
        if record.ended or indexed[0] != "=":
            item["w"] = {"S": record.owner}
    return item


def record_of(item: Item) -> Record:
    """The record in an item."""
    owner = None
    if "w" in item:
        owner = item["w"]["S"]
    elif "o" in item:
        owner = item["o"]["S"][1:]
    return Record(
        int(item["v"]["N"]),
        item["t"]["B"],
        {name[1:]: value["B"] for name, value in item["d"]["M"].items()},
        owner,
        float(item["c"]["N"]),
        float(item["x"]["N"]),
        "e" in item,
    )


def owner_key(owner: str) -> str:
    """What stands for the owner in the index: the owner itself, or a hash where it is too long."""
    plain = f"={owner}"
    if len(owner) * 4 <= _LONGEST_INDEXED or len(plain.encode()) <= _LONGEST_INDEXED:
        return plain
    return f"#{hashlib.sha256(owner.encode()).hexdigest()}"


def update_of(change: Change) -> dict[str, Any] | None:
    """The change as arguments of `UpdateItem`; None if it has more names than an expression can surely take."""
    if len(change.set) + len(change.unset) > _MOST_NAMES:
        return None
    sets, removes = ["v = v + :1", "t = :t"], []
    names: dict[str, str] = {}
    values: dict[str, Any] = {":1": _ONE, ":t": {"B": change.tag}, ":now": _number(change.now)}
    condition = _CONDITION
    if change.base is not None:
        condition += " AND v = :v"
        values[":v"] = {"N": str(change.base)}
    if change.expires_at is not None:
        sets.append("x = :x, #ttl = :ttl")
        names["#ttl"] = "ttl"  # a reserved word
        values[":x"], values[":ttl"] = _number(change.expires_at), _ttl(change.expires_at, change.now)
    if change.owner is not None:
        indexed = owner_key(change.owner)
        sets.append("o = :o")
        values[":o"] = {"S": indexed}
        if indexed[0] == "=":
            removes.append("w")
        else:
            sets.append("w = :w")
            values[":w"] = {"S": change.owner}
    for number, (name, value) in enumerate(change.set.items()):
        sets.append(f"d.#s{number} = :s{number}")
        names[f"#s{number}"] = f"={name}"
        values[f":s{number}"] = {"B": value}
    for number, name in enumerate(change.unset):
        removes.append(f"d.#u{number}")
        names[f"#u{number}"] = f"={name}"
    expression = f"SET {', '.join(sets)}"
    if removes:
        expression += f" REMOVE {', '.join(removes)}"
    arguments: dict[str, Any] = {
        "UpdateExpression": expression,
        "ConditionExpression": condition,
        "ExpressionAttributeValues": values,
    }
    if names:
        arguments["ExpressionAttributeNames"] = names
    return arguments


def identity_of(record: Record) -> dict[str, Any]:
    """The values for `IS_SAME`: the version, and the tag too, for a restored table counts its versions again."""
    return {":v": {"N": str(record.version)}, ":t": {"B": record.tag}}


def _number(seconds: float) -> dict[str, str]:
    return {"N": repr(float(seconds))}


def _ttl(expires_at: float, now: float) -> dict[str, str]:
    return {"N": str(math.ceil(max(expires_at, now)) + _MARGIN_SECONDS)}
