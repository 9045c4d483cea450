"""Values to bytes and back, exactly: what a handler puts into a session comes out again with the same types.

The format is MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md) with extension types for
what it lacks. Equal values have equal bytes (the elements of a set are sorted by their encoding), so that a
nested change is found by comparing bytes. Never pickle: bytes from a store can make values, not run code.

Supported: None bool int float str bytes datetime date UUID Decimal list tuple set frozenset dict, and only
these very types. A subclass would come back as its parent, so it is refused like anything else unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any

from msgpack import ExtType, Packer, packb, unpackb

Value = Any  # one of the types above, nested at will; Python cannot say this recursively for exact types

# Extension codes are part of the format at rest: they are never given a second meaning.
_TUPLE, _SET, _FROZENSET, _BIG_INT, _DATETIME, _DATE, _UUID, _DECIMAL = range(1, 9)

# Deep enough for any session, and shallow enough to be read again from deep within a Python stack.
_MAX_DEPTH = 100

# Values that cannot change in place: handed out, they need not be compared at commit.
_IMMUTABLE = frozenset({type(None), bool, int, float, str, bytes, datetime, date})
_PLAIN = _IMMUTABLE - {datetime}
_CONTAINERS = frozenset({dict, list, tuple, set, frozenset})
# UUID and Decimal are told by name: their modules are slow to load, and whoever holds one has them.
_IMMUTABLE_BY_NAME = frozenset({("uuid", "UUID"), ("decimal", "Decimal")})


def encode(value: Value, key: str) -> bytes:
    """The bytes of a session's value. `key` is its name, for the error's text.

    Raises TypeError, naming the path to it, for a value that would not come back as it was.
    """
    if type(value) not in _PLAIN and not _is_sound(value, _MAX_DEPTH):
        raise TypeError(_flaw(value, f"session[{key!r}]", _MAX_DEPTH))
    return _pack(value, 0)


def is_same(value: Value, data: bytes) -> bool:
    """Whether the value, if it can be encoded at all, has these bytes."""
    try:
        return _pack(value, 0) == data
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return False


def check_key(key: object) -> None:
    """Raise TypeError for a name that is not text, or that cannot be written as UTF-8."""
    if not isinstance(key, str):
        raise TypeError(f"a session's keys are str, not {type(key).__name__}: {key!r}")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise TypeError(f"a session's keys are Unicode text, which {key!r} is not") from None


def decode(data: bytes) -> Value:
    """The value that `encode` made the bytes of. Raises ValueError for bytes that it made of no value."""
    try:
        # As `_unpack` does, without its call: this is on the way of every request.
        return unpackb(data, ext_hook=_RESTORE[0], strict_map_key=False, unicode_errors="surrogatepass")
    except ValueError:
        raise
    except Exception as error:  # each type has its own way to say that it was never written so
        raise ValueError(f"these bytes are no value of a session: {error!r}") from error


def is_value(value: Value) -> bool:
    """Whether a session holds the value, all of it: `decode` also reads what `encode` would refuse."""
    return _is_sound(value, _MAX_DEPTH)


def is_immutable(value: Value) -> bool:
    """Whether the value cannot change in place."""
    kind = type(value)
    return kind in _IMMUTABLE or (kind not in _CONTAINERS and _name(kind) in _IMMUTABLE_BY_NAME)


def pack_values(values: Mapping[str, bytes]) -> bytes:
    """A record's encoded values as one run of bytes, for stores that keep them in one field."""
    return _pack(values, 0)


def unpack_values(data: bytes) -> dict[str, bytes]:
    """What `pack_values` packed."""
    values: dict[str, bytes] = unpackb(data, unicode_errors="surrogatepass")
    return values


def _pack(value: Value, depth: int) -> bytes:
    # Not by packb, which takes half as long again to pass the options on. Few texts have lone surrogates, and for
    # the others the strict way is the quicker one.
    try:
        packed: bytes = Packer(default=_EXTEND[depth], strict_types=True).pack(value)
    except UnicodeEncodeError:
        packed = Packer(default=_EXTEND[depth], strict_types=True, unicode_errors="surrogatepass").pack(value)
    return packed


def _extension(depth: int) -> Callable[[Value], ExtType]:
    """The hook that encodes, at one level of nesting, what MessagePack has no type for."""

    def nested(value: Value) -> bytes:
        if depth == _MAX_DEPTH:
            raise ValueError("nested too deeply")
        return _pack(value, depth + 1)

    def extend(value: Value) -> ExtType:
        kind = type(value)
        if kind is tuple:
            return ExtType(_TUPLE, nested([*value]))
        if kind is set or kind is frozenset:
            elements = sorted(nested(element) for element in value)
            return ExtType(_SET if kind is set else _FROZENSET, packb(elements))
        if kind is int:  # only one beyond 64 bits comes here
            return ExtType(_BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
        if kind is datetime:
            return ExtType(_DATETIME, packb(_datetime_parts(value)))
        if kind is date:
            return ExtType(_DATE, value.isoformat().encode())
        if _name(kind) == ("uuid", "UUID"):
            return ExtType(_UUID, value.bytes)
        if _name(kind) == ("decimal", "Decimal"):
            return ExtType(_DECIMAL, str(value).encode())
        raise TypeError(f"a session does not hold {kind}")

    return extend


_EXTEND = [_extension(depth) for depth in range(_MAX_DEPTH + 1)]


def _datetime_parts(value: datetime) -> list[Any]:
    """Wall-clock text, fold, and the zone: None, [offset in µs, name or None], or an IANA key."""
    zone: Any = value.tzinfo
    if type(zone) is timezone:
        # A fixed zone's arguments, as its pickling support tells them: the offset and maybe a name.
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]  # typeshed leaves it out
        zone = [offset // timedelta(microseconds=1), name[0] if name else None]
    elif zone is not None:
        zone = zone.key
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, zone]


def _unpack(data: bytes, depth: int) -> Value:
    return unpackb(data, ext_hook=_RESTORE[depth], strict_map_key=False, unicode_errors="surrogatepass")


def _restoration(depth: int) -> Callable[[int, bytes], Value]:
    """The hook that makes values of extension types, at one level of nesting."""

    def nested(data: bytes) -> Value:
        # Each level takes 40 KB of the C stack: bytes that were made to nest deeper would end the process.
        if depth == _MAX_DEPTH:
            raise ValueError("nested too deeply")
        return _unpack(data, depth + 1)

    def restore(code: int, data: bytes) -> Value:
        if code == _TUPLE:
            return tuple(nested(data))
        if code == _SET:
            return {nested(element) for element in unpackb(data)}
        if code == _FROZENSET:
            return frozenset(nested(element) for element in unpackb(data))
        if code == _BIG_INT:
            return int.from_bytes(data, "big", signed=True)
        if code == _DATETIME:
            return _restore_datetime(*unpackb(data))
        if code == _DATE:
            return date.fromisoformat(data.decode())
        if code == _UUID:
            from uuid import UUID

            return UUID(bytes=data)
        if code == _DECIMAL:
            from decimal import Decimal

            return Decimal(data.decode())
        raise ValueError(f"extension type {code} was written by a newer Holdfast")

    return restore


_RESTORE = [_restoration(depth) for depth in range(_MAX_DEPTH + 1)]


def _restore_datetime(text: str, fold: int, zone: Any) -> datetime:
    value = datetime.fromisoformat(text)
    if zone is None:
        return value.replace(fold=fold)
    if isinstance(zone, str):
        from zoneinfo import ZoneInfo

        return value.replace(fold=fold, tzinfo=ZoneInfo(zone))
    offset, name = timedelta(microseconds=zone[0]), zone[1]
    return value.replace(fold=fold, tzinfo=timezone(offset) if name is None else timezone(offset, name))


def _is_sound(value: Value, depth: int) -> bool:
    """Whether a session holds the value, all of it. MessagePack alone would let bytearray and others pass."""
    kind = type(value)
    # Most parts are plain: asking here saves them the call.
    if kind is dict:
        if depth == 0:
            return False
        for key, part in value.items():
            if type(key) not in _PLAIN and not _is_sound(key, depth - 1):
                return False
            if type(part) not in _PLAIN and not _is_sound(part, depth - 1):
                return False
        return True
    if kind in _CONTAINERS:
        if depth == 0:
            return False
        for part in value:
            if type(part) not in _PLAIN and not _is_sound(part, depth - 1):
                return False
        return True
    if kind is datetime:
        return _is_known_zone(value.tzinfo)
    return kind in _PLAIN or _name(kind) in _IMMUTABLE_BY_NAME


def _flaw(value: Value, path: str, depth: int) -> str | None:
    """What about the value at `path` a session does not hold, in words, or None."""
    kind = type(value)
    if kind in _IMMUTABLE:
        return (
            None
            if kind is not datetime or _is_known_zone(value.tzinfo)
            else _unknown(path, type(value.tzinfo))
        )
    if kind not in _CONTAINERS:
        return None if _name(kind) in _IMMUTABLE_BY_NAME else _unknown(path, kind)
    if depth == 0:
        return f"{path.partition(']')[0]}] contains itself or is nested more than {_MAX_DEPTH} levels deep"
    if kind is dict:
        for key, part in value.items():
            flaw = _flaw(key, f"a key of {path}", depth - 1) or _flaw(part, f"{path}[{key!r}]", depth - 1)
            if flaw:
                return flaw
        return None
    for index, part in enumerate(value):
        step = f"{path}[{index}]" if kind in (list, tuple) else f"an element of {path}"
        if flaw := _flaw(part, step, depth - 1):
            return flaw
    return None


def _is_known_zone(zone: Any) -> bool:
    return zone is None or type(zone) is timezone or (_name(type(zone))[1] == "ZoneInfo" and bool(zone.key))


def _unknown(path: str, kind: type) -> str:
    return (
        f"{path} is a {kind.__module__}.{kind.__qualname__}, which a session does not hold; it holds None, "
        "bool, int, float, str, bytes, datetime, date, UUID, Decimal, list, tuple, set, frozenset and dict"
    )


def _name(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__name__
