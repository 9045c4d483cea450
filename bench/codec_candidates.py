"""The codecs that could carry a session's values, as they come, and with all the hooks that they offer."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import cbor2
import msgpack
import msgspec
import ormsgpack

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]


class Candidate(NamedTuple):
    """One codec: how it is imported, used as it comes, and used with all options and hooks that help."""

    name: str
    statement: str
    plain: tuple[Encode, Decode]
    hooked: tuple[Encode, Decode]


TUPLE, SET, FROZENSET, BIG_INT, DATETIME, DATE, UUID_CODE, DECIMAL = range(1, 9)


def reduce(value: Any) -> tuple[int, Any]:
    """The code of a type that a format lacks, and a plain value to make it of again; TypeError if unknown."""
    match value:
        case tuple():
            return TUPLE, list(value)
        case set():
            return SET, list(value)
        case frozenset():
            return FROZENSET, list(value)
        case int():
            return BIG_INT, str(value)
        case datetime():
            zone = value.tzinfo
            name = zone.key if isinstance(zone, ZoneInfo) else None
            return DATETIME, [
                value.replace(fold=0).isoformat() if name is None else naive(value),
                value.fold,
                name,
            ]
        case date():
            return DATE, value.isoformat()
        case UUID():
            return UUID_CODE, value.bytes
        case Decimal():
            return DECIMAL, str(value)
    raise TypeError(f"unknown: {type(value)}")


def naive(value: datetime) -> str:
    """The wall-clock time alone."""
    return value.replace(tzinfo=None, fold=0).isoformat()


def restore(code: int, plain: Any) -> Any:
    """What `reduce` was given."""
    return RESTORE[code](plain)


def restore_datetime(plain: list[Any]) -> datetime:
    """A datetime from its text, its fold and the name of its zone."""
    text, fold, name = plain
    value = datetime.fromisoformat(text)
    return value.replace(fold=fold) if name is None else value.replace(fold=fold, tzinfo=ZoneInfo(name))


RESTORE: dict[int, Callable[[Any], Any]] = {
    TUPLE: tuple,
    SET: set,
    FROZENSET: frozenset,
    BIG_INT: int,
    DATETIME: restore_datetime,
    DATE: date.fromisoformat,
    UUID_CODE: lambda plain: UUID(bytes=plain),
    DECIMAL: Decimal,
}


def with_msgpack() -> Candidate:
    """msgpack: strict types send tuples to the hook, and every extension is bytes packed again."""

    def extend(value: Any) -> msgpack.ExtType:
        code, plain = reduce(value)
        return msgpack.ExtType(code, encode(plain))

    def encode(value: Any) -> bytes:
        return msgpack.packb(value, default=extend, strict_types=True, unicode_errors="surrogatepass")  # type: ignore[no-any-return]  # msgpack has no types

    def decode(data: bytes) -> Any:
        return msgpack.unpackb(
            data,
            ext_hook=lambda code, data: restore(code, decode(data)),
            strict_map_key=False,
            unicode_errors="surrogatepass",
        )

    return Candidate("msgpack", "import msgpack", (msgpack.packb, msgpack.unpackb), (encode, decode))


def with_ormsgpack() -> Candidate:
    """ormsgpack: options pass on what it would otherwise convert."""
    options = (
        ormsgpack.OPT_NON_STR_KEYS
        | ormsgpack.OPT_PASSTHROUGH_BIG_INT
        | ormsgpack.OPT_PASSTHROUGH_DATETIME
        | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
        | ormsgpack.OPT_PASSTHROUGH_TUPLE
        | ormsgpack.OPT_PASSTHROUGH_UUID
    )

    def extend(value: Any) -> ormsgpack.Ext:
        code, plain = reduce(value)
        return ormsgpack.Ext(code, encode(plain))

    def encode(value: Any) -> bytes:
        return ormsgpack.packb(value, default=extend, option=options)

    def decode(data: bytes) -> Any:
        return ormsgpack.unpackb(
            data,
            ext_hook=lambda code, data: restore(code, decode(data)),
            option=ormsgpack.OPT_NON_STR_KEYS,
        )

    return Candidate("ormsgpack", "import ormsgpack", (ormsgpack.packb, ormsgpack.unpackb), (encode, decode))


def with_msgspec() -> Candidate:
    """msgspec: its hook is asked about types that it does not know, and it knows tuples and sets."""

    def extend(value: Any) -> msgspec.msgpack.Ext:
        code, plain = reduce(value)
        return msgspec.msgpack.Ext(code, encoder.encode(plain))

    encoder = msgspec.msgpack.Encoder(enc_hook=extend)
    decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(
        ext_hook=lambda code, data: restore(code, decoder.decode(data))
    )
    return Candidate(
        "msgspec",
        "import msgspec.msgpack",
        (msgspec.msgpack.encode, msgspec.msgpack.decode),
        (encoder.encode, decoder.decode),
    )


def with_cbor2() -> Candidate:
    """cbor2: has tags for most types, and can be told to give others, tuples too, tags of our own."""
    first = 40_000  # any run of free tags would do

    def extend(encoder: cbor2.CBOREncoder, value: Any) -> None:
        code, plain = reduce(value)
        encoder.encode(cbor2.CBORTag(first + code, plain))

    def restorer(code: int) -> Callable[[Any, bool], Any]:
        return lambda plain, immutable: RESTORE[code](plain)

    encoders = dict.fromkeys((tuple, set, frozenset, datetime, date, Decimal), extend)
    decoders = {first + code: restorer(code) for code in RESTORE}
    return Candidate(
        "cbor2",
        "import cbor2",
        (cbor2.dumps, cbor2.loads),
        (
            lambda value: cbor2.dumps(value, encoders=encoders),
            lambda data: cbor2.loads(data, semantic_decoders=decoders),
        ),
    )


def with_json() -> Candidate:
    """json: its hook is asked about unknown types alone, so a walk ahead of it tags what it would lose."""

    def tag(value: Any) -> Any:
        kind = type(value)
        if kind in (str, int, float, bool, type(None)):
            return value
        if kind is list:
            return [tag(part) for part in value]
        if kind is dict:
            if all(type(key) is str and not key.startswith("$") for key in value):
                return {key: tag(part) for key, part in value.items()}
            return {"$dict": [[tag(key), tag(part)] for key, part in value.items()]}
        if kind is bytes:
            return {"$bytes": value.decode("latin-1")}
        code, plain = reduce(value)
        return {f"${code}": tag(plain)}

    def untag(found: dict[str, Any]) -> Any:
        if len(found) != 1:
            return found
        ((key, plain),) = found.items()
        if not key.startswith("$"):
            return found
        if key == "$dict":
            return dict(plain)
        return plain.encode("latin-1") if key == "$bytes" else restore(int(key[1:]), plain)

    compact = json.JSONEncoder(separators=(",", ":"))
    decoder = json.JSONDecoder(object_hook=untag)
    return Candidate(
        "json, tagged",
        "import json",
        (lambda value: json.dumps(value).encode(), json.loads),
        (lambda value: compact.encode(tag(value)).encode(), lambda data: decoder.decode(data.decode())),
    )


CANDIDATES = [with_msgpack(), with_ormsgpack(), with_msgspec(), with_cbor2(), with_json()]
