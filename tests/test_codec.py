"""Values come back exactly as they were put in, and nothing else is accepted."""

from __future__ import annotations

import enum
import math
import random
from collections import OrderedDict, defaultdict, namedtuple
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgpack import ExtType, packb

from holdfast import codec

ZONES = st.one_of(
    st.none(),
    st.just(UTC),
    st.builds(
        timezone,
        st.timedeltas(timedelta(hours=-23), timedelta(hours=23)),
        st.text(st.characters(codec="utf-8"), max_size=5),
    ),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kathmandu"]).map(ZoneInfo),
)
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**300), max_value=2**300),
    st.floats(),
    st.text(),
    st.text(st.characters(categories=["Cs"]), max_size=3),
    st.binary(),
    st.dates(),
    st.datetimes(timezones=ZONES),
    st.builds(lambda moment: moment.replace(fold=1), st.datetimes()),
    st.uuids(),
    st.decimals(allow_nan=False),  # a signalling NaN cannot be hashed: see below
)
KEYS = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3)
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(KEYS, max_size=4)
        | st.frozensets(KEYS, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=20,
)


def same(left: Any, right: Any) -> bool:
    """Equal in type, value, order, sign of zero, zone and fold; NaN is itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            same(a, b) and same(left[a], right[b]) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, set | frozenset):
        return sorted(map(describe, left)) == sorted(map(describe, right))
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or (left, math.copysign(1, left)) == (
            right,
            math.copysign(1, right),
        )
    if isinstance(left, datetime):
        return (left.replace(tzinfo=None), left.fold, repr(left.tzinfo)) == (
            right.replace(tzinfo=None),
            right.fold,
            repr(right.tzinfo),
        )
    if isinstance(left, Decimal):
        return left.as_tuple() == right.as_tuple()
    return bool(left == right)


def describe(value: Any) -> str:
    """A text that tells apart what `same` tells apart."""
    if isinstance(value, tuple):
        return f"tuple({', '.join(map(describe, value))})"
    if isinstance(value, frozenset):
        return f"frozenset({', '.join(sorted(map(describe, value)))})"
    return f"{type(value).__name__} {value!r}"


@settings(max_examples=500, deadline=None)
@given(VALUES)
def test_every_supported_value_comes_back_exactly(value: Any) -> None:
    """Whatever is nested in whatever, type and value are the same after a round trip, as are its bytes."""
    data = codec.encode(value, "key")
    back = codec.decode(data)
    assert same(value, back)
    assert codec.encode(back, "key") == data, "an unchanged value must not look changed"
    assert codec.is_same(back, data)


def test_sets_have_the_same_bytes_in_any_order() -> None:
    """The order of a set depends on hashes and history; its bytes must not."""
    members = [f"member {number}" for number in range(200)]
    first = set(members)
    random.Random(1).shuffle(members)
    second: set[str] = set()
    for member in members:
        second.add(member)
    assert codec.encode(first, "key") == codec.encode(second, "key")


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


class Somewhere(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=1)


Point = namedtuple("Point", "x y")

REFUSED = {
    "an object": object(),
    "a function": len,
    "a class": int,
    "an IntEnum": Colour.RED,
    "a str subclass": Text("x"),
    "a named tuple": Point(1, 2),
    "an OrderedDict": OrderedDict(),
    "a defaultdict": defaultdict(list),
    "a bytearray": bytearray(b"x"),
    "a memoryview": memoryview(b"x"),
    "complex": 1j,
    "a range": range(3),
    "an exception": ValueError(),
    "a generator": (x for x in ()),
    "a foreign zone": datetime(2026, 1, 1, tzinfo=Somewhere()),
    "a timedelta": timedelta(1),
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED.keys())
def test_anything_else_is_refused_with_its_path(value: Any) -> None:
    """A value that would not come back as it was raises TypeError that says where it is."""
    with pytest.raises(
        TypeError, match=r"^session\['cart'\]\[1\]\['price'\] is a .*, which a session does not hold"
    ):
        codec.encode([{}, {"price": value}], "cart")
    with pytest.raises(TypeError, match=r"^session\['cart'\] is a "):
        codec.encode(value, "cart")
    with pytest.raises(TypeError, match=r"^session\['cart'\]\[0\] is a "):
        codec.encode((value,), "cart")
    assert not codec.is_same([value], b"")


def test_refused_keys_and_elements_are_named() -> None:
    """A bad key of a dict or element of a set has no index: the text says what it is part of."""
    with pytest.raises(TypeError, match=r"a key of session\['cart'\]\['a'\] is a .*Colour"):
        codec.encode({"a": {Colour.RED: 1}}, "cart")
    with pytest.raises(TypeError, match=r"an element of session\['cart'\] is a .*Colour"):
        codec.encode({Colour.RED}, "cart")


def test_a_value_that_contains_itself_is_refused() -> None:
    """A cycle ends in an error that names the key, not in a crash."""
    cycle: list[Any] = []
    cycle.append({"again": (cycle,)})
    with pytest.raises(TypeError, match=r"session\['cart'\] contains itself or is nested more than"):
        codec.encode(cycle, "cart")


@pytest.mark.parametrize(
    "wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, lambda x: frozenset([x])]
)
def test_the_deepest_value_that_is_accepted_can_be_read(wrap: Any) -> None:
    """What was accepted is readable, from deep within a stack too; one level more is refused."""
    value: Any = 1
    for _ in range(100):
        value = wrap(value)
    data = codec.encode(value, "key")

    def deep(levels: int) -> Any:
        return codec.decode(data) if levels == 0 else deep(levels - 1)

    assert codec.encode(deep(500), "key") == data
    with pytest.raises(TypeError, match="nested more than"):
        codec.encode(wrap(value), "key")


@given(
    st.binary(max_size=40)
    | st.builds(
        lambda code, data: bytes((0xC7, len(data), code)) + data, st.integers(0, 12), st.binary(max_size=20)
    )
)
def test_other_bytes_are_a_value_error(data: bytes) -> None:
    """Whatever they are, nothing but ValueError says that they are no value."""
    try:
        value = codec.decode(data)
    except ValueError:
        return
    if codec.is_value(value):
        codec.encode(value, "key")
    else:
        with pytest.raises(TypeError):
            codec.encode(value, "key")


def test_bytes_that_nest_too_deeply_are_refused() -> None:
    """Each tuple in a tuple takes much of the stack: a hundred fit, and thousands would end the process."""
    data = b"\x01"
    for _ in range(100):
        data = packb(ExtType(1, b"\x91" + data))
    assert codec.is_value(codec.decode(data))
    with pytest.raises(ValueError, match="nested too deeply"):
        codec.decode(packb(ExtType(1, b"\x91" + data)))


def test_known_values_keep_their_bytes() -> None:
    """The format at rest: these bytes are in databases, and have to stay readable."""
    assert codec.encode({"a": (1, {2}, None)}, "k").hex() == "81a161c709019301d60291c40102c0"
    assert codec.decode(bytes.fromhex("81a161c709019301d60291c40102c0")) == {"a": (1, {2}, None)}
    assert codec.encode(2**64, "k").hex() == "c70904010000000000000000"
    assert codec.encode(date(2026, 11, 23), "k") == b"\xc7\x0a\x062026-11-23"
    assert codec.encode(UUID(int=7), "k") == b"\xd8\x07" + bytes(15) + b"\x07"
    assert codec.encode(Decimal("1.10"), "k") == b"\xd6\x081.10"


@pytest.mark.parametrize("text", ["NaN", "sNaN", "-sNaN123", "-0E+7", "Infinity", "1." + "0" * 60])
def test_unusual_decimals_come_back_exactly(text: str) -> None:
    """Signs, payloads, exponents and trailing zeros are part of a Decimal."""
    value = Decimal(text)
    assert codec.decode(codec.encode([value], "k"))[0].as_tuple() == value.as_tuple()


def test_equal_uuids_are_equal_bytes() -> None:
    """One more type that is told by its name."""
    value = uuid4()
    assert codec.encode(value, "k") == codec.encode(UUID(str(value)), "k")
