"""What is read by one call instead of several is the same, or refused for the same; what is kept is kept in time."""

from __future__ import annotations

import os

import pytest
from fuzz_targets import IDENTITY, NOW, RECORD, SEALINGS
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast import BadToken, Keyring, Record, StoreThrottled, codec
from holdfast.tokens import Secrecy, ciphers, compact, snapshots
from holdfast.tokens.ciphers import HourlyCiphers
from holdfast.tokens.snapshots import SnapshotToken
from holdfast.tokens.texts import is_json

_ODD = st.sampled_from([bytes([byte]) for byte in b"ABQgw048-_+/=. \n\0\xff"])


def _by_parts(text: bytes) -> tuple[bytes, bytes] | None:
    try:
        return compact.unpack(text[:16]), compact.unpack(text[17:-23]) + compact.unpack(text[-22:])
    except BadToken:
        return None


def _at_once(text: bytes) -> tuple[bytes, bytes] | None:
    try:
        return compact.unpack_sealed(text)
    except BadToken:
        return None


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=12), st.lists(st.tuples(st.integers(0, 60), _ODD), max_size=3))
@example(b"abc", [(0, b"+")])
@example(b"abc", [(18, b"/")])
@example(b"abc", [(15, b"=")])
@example(b"abc", [(14, b"="), (15, b"=")])
@example(b"abcd", [(22, b"=")])
@example(b"abcdef", [(23, b"="), (24, b"=")])
@example(b"ab", [(19, b"B")])
@example(b"a", [(18, b"B")])
def test_a_sealed_text_is_read_at_once_as_by_its_parts(text: bytes, changes: list[tuple[int, bytes]]) -> None:
    """Nonce, text and tag, each in its one spelling; with the quick reader, and with the standard library's."""
    good = b".".join(map(compact.pack, (os.urandom(12), text, os.urandom(16))))
    spoilt = bytearray(good)
    for place, byte in changes:
        place %= len(good)
        if good[place] != ord("."):  # where the dots are has been looked at before
            spoilt[place : place + 1] = byte
    assert _at_once(good) == _by_parts(good) is not None
    assert _at_once(bytes(spoilt)) == _by_parts(bytes(spoilt))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact, "pybase64", None)
        assert _at_once(good) == _by_parts(good) is not None
        assert _at_once(bytes(spoilt)) == _by_parts(bytes(spoilt))


@pytest.mark.parametrize("last", range(1, 65))
def test_the_end_of_a_tag_has_one_spelling(last: int) -> None:
    """Of the 64 characters that a tag may end with to a lax reader, 4 have no bits left over."""
    sign = compact._ALPHABET[last - 1 : last]
    text = compact.pack(bytes(12)) + b"." + compact.pack(b"text") + b"." + b"A" * 21 + sign
    assert (_at_once(text) is not None) is (sign in b"AQgw")


def test_a_new_key_seals_at_once_and_an_old_one_is_counted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else changes in the ring, a key seals no more than it may; another newest key begins by itself."""
    monkeypatch.setattr(ciphers, "MOST_USES", 100)
    one, two, older = (Keyring.new_secret() for _ in range(3))
    ring = Keyring([one])
    hourly = HourlyCiphers(ring, "p")
    first = [hourly.to_seal(NOW).key_id for _ in range(60)]
    ring._replace([one, older])
    first += [hourly.to_seal(NOW).key_id for _ in range(40)]
    assert set(first) == {ring.newest.id}
    with pytest.raises(StoreThrottled):
        hourly.to_seal(NOW)
    ring._replace([two, one])
    assert hourly.to_seal(NOW).key_id == ring.newest.id != first[0]


def test_a_key_whose_time_comes_seals_from_then_on() -> None:
    """Without any news of the ring: its own clock says so."""
    now = [NOW]
    later = f"{Keyring.new_secret()}@2099-01-01T00:00:00Z"
    ring = Keyring([later, Keyring.new_secret()], clock=lambda: now[0])
    hourly = HourlyCiphers(ring, "p")
    before = hourly.to_seal(now[0]).key_id
    now[0] = 4_100_000_000.0
    assert hourly.to_seal(now[0]).key_id not in (before, None)
    assert hourly.is_newest(hourly.to_seal(now[0]).key_id)


def test_a_token_becomes_stale_when_another_key_is_added() -> None:
    """An instance that has recognised its header before says so too: such a token is sealed anew on the way."""
    from holdfast import Token
    from holdfast.tokens.sealing import Sealing

    old = Keyring.new_secret()
    ring = Keyring([old])
    sealing = Sealing(Token(), ring, "app")
    token = sealing.seal(IDENTITY, RECORD, frozenset(), NOW)
    assert [sealing.open(token, NOW).stale_key for _ in range(2)] == [False, False]
    ring._replace([Keyring.new_secret(), old])
    assert [sealing.open(token, NOW).stale_key for _ in range(2)] == [True, True]


def test_names_and_tags_travel_as_bytes_where_the_text_takes_them() -> None:
    """Each byte of a token is sent with every request: hexadecimal digits are for JSON."""
    for name, kind in (("jwe", bytes), ("jwe json", str), ("jws HS256", str)):
        claims = SEALINGS[name]._format.open(SEALINGS[name].seal(IDENTITY, RECORD, frozenset(), NOW), NOW)
        assert (type(claims["jti"]), type(claims["tag"])) == (kind, kind)


@pytest.mark.parametrize("form", [0, 1, 2, 3, 255])
@pytest.mark.parametrize("private", [(), ("name",)])
def test_a_snapshot_of_another_form_is_none(
    form: int, private: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a later release, or with a form that is not what was sealed: as none, without an exception."""
    token = SnapshotToken(Keyring.generate(), "app", Secrecy(private, "private"))
    monkeypatch.setattr(snapshots, "_WHOLE", form)
    monkeypatch.setattr(snapshots, "_PARTIAL", form)
    made = (token.make(RECORD, NOW, IDENTITY, NOW) or "").encode()
    monkeypatch.undo()
    assert (token.read(made, IDENTITY, NOW) is not None) is (form == (2 if private else 1))


def test_a_removed_key_opens_no_snapshot() -> None:
    """Nor does one that has opened some before: what was prepared for it is forgotten with it."""
    old, new = Keyring.new_secret(), Keyring.new_secret()
    ring = Keyring([old])
    token = SnapshotToken(ring, "app", Secrecy((), "private"))
    made = (token.make(RECORD, NOW, IDENTITY, NOW) or "").encode()
    ring._replace([new, old])
    assert [token.read(made, IDENTITY, NOW) is not None for _ in range(2)] == [True, True]
    ring._replace([new])
    assert token.read(made, IDENTITY, NOW) is None


def test_what_a_snapshot_withholds_is_told() -> None:
    """By name; and one that withholds nothing says so."""
    ring = Keyring.generate()
    values = {name: codec.encode(1, name) for name in ("a", "secret_b", "secret_c")}
    record = Record(1, bytes(8), values, None, NOW, NOW + 60)
    for private, withheld in (((), frozenset()), (("secret_*",), {"secret_b", "secret_c"})):
        token = SnapshotToken(ring, "app", Secrecy(private, "private"))
        found = token.read((token.make(record, NOW, IDENTITY, NOW) or "").encode(), IDENTITY, NOW)
        assert found is not None
        assert found.withheld == withheld
        assert found.record.values.keys() == values.keys() - withheld


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ({"a": ["b", {"c": None}]}, True),
        ([[True, 1.5, "é"]], True),
        ([2**53], True),
        ([2**53 + 1], False),
        ({"a": {"b": float("nan")}}, False),
        ({"a": "\ud800"}, False),
        ({"\ud800": "a"}, False),
        ([["\udfff"]], False),
        ({1: "a"}, False),
        ({"a": (1,)}, False),
        ([b"a"], False),
        ({"a": [{1}]}, False),
    ],
)
def test_what_json_gives_back_as_it_was(value: object, good: bool) -> None:
    """However deep it stands: text in UTF-8, numbers that every reader has, lists, and names that are text."""
    assert is_json(value) is good
