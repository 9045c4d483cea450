"""Tokens whose seal is good, and whose claims are not: of another time, issuer, audience or shape (RFC 8725, 3.8-3.11).

Whoever shares a key (HS256; a JWE whose key was given away) can make them; and so can an older or newer application.
"""

from __future__ import annotations

import math
from datetime import datetime
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fuzz_targets import FORMATS, IDENTITY, NOW, RECORD, RING, VALUES
from msgpack import ExtType, packb

from holdfast import BadToken, Bearer, Keyring, Token, codec
from holdfast.stores.memory import MemoryStore
from holdfast.tokens.claims import LEEWAY_SECONDS
from holdfast.tokens.sealing import Sealing
from holdfast.tokens.texts import SealedText

NAMES = sorted(FORMATS)
# A time in a PASETO is text, so that numbers stand for nothing there, and what is no number can stand nowhere.
NOT_PASETO = [name for name in NAMES if not name.startswith("paseto")]


def sealing(name: str, keyring: Keyring = RING, purpose: str = "app") -> Sealing:
    return Sealing(FORMATS[name], keyring, purpose)


def claims(name: str) -> dict[str, Any]:
    """What a good token of the format says."""
    found: dict[str, Any] = sealing(name)._format.open(
        sealing(name).seal(IDENTITY, RECORD, frozenset(), NOW), NOW
    )
    return found


def refused(name: str, change: dict[str, Any], *without: str, now: float = NOW) -> str:
    """The reason why a token with changed claims is refused; being accepted, or another exception, fails the test."""
    said = {key: value for key, value in (claims(name) | change).items() if key not in without}
    token = sealing(name)._format.seal(said, NOW)
    with pytest.raises(BadToken) as caught:
        sealing(name).open(token, now)
    return caught.value.reason


@pytest.mark.parametrize("name", NAMES)
def test_asvs_9_2_1_a_token_has_its_time(name: str) -> None:
    """ASVS 9.2.1; RFC 7519, 4.1.4 and 4.1.5: until `exp` and not longer, from `nbf` on with a clock's leeway."""
    assert refused(name, {"exp": NOW}) == "expired"
    assert refused(name, {"exp": NOW - 1}) == "expired"
    assert refused(name, {"exp": 0}) == "expired"
    assert refused(name, {}, now=RECORD.expires_at) == "expired"
    assert refused(name, {"nbf": NOW + LEEWAY_SECONDS + 1}) == "not yet valid"
    token = sealing(name)._format.seal(claims(name) | {"nbf": NOW + LEEWAY_SECONDS - 1}, NOW)
    assert sealing(name).open(token, NOW).record == RECORD
    assert sealing(name).open(token, RECORD.expires_at - 0.01).record == RECORD


@pytest.mark.parametrize("name", NAMES)
def test_a_token_without_an_end_is_none(name: str) -> None:
    """A session that never ends was never issued."""
    assert refused(name, {}, "exp") == "malformed"


@pytest.mark.parametrize("name", NOT_PASETO)
@pytest.mark.parametrize("claim", ["exp", "nbf"])
@pytest.mark.parametrize(
    "time",
    [
        "1800000600",
        "9e9",
        None,
        True,
        [],
        {},
        [NOW + 600],
        10**400,
        -(10**400),
        2**63,
        1e308,
        "2099-01-01T00:00:00Z",
    ],
    ids=repr,
)
def test_a_time_is_a_number(name: str, claim: str, time: Any) -> None:
    """Neither text nor truth, nor a number that no clock shows (`float(10**400)` is an exception, not a time)."""
    if name == "jwe" and type(time) is int and not -(2**63) <= time < 2**64:
        time = float(2**64)  # MessagePack has no such number
    assert refused(name, {claim: time}) == "malformed"


@pytest.mark.parametrize("time", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("claim", ["exp", "nbf", "auth_time"])
def test_a_time_is_finite(claim: str, time: float) -> None:
    """Every comparison with nan is false: it must not make a token that never expires."""
    assert refused("jwe", {claim: time}) == "malformed"


@pytest.mark.parametrize("name", ["paseto local", "paseto public"])
@pytest.mark.parametrize(
    "text", ["1800000600", "never", "", "2099-01-01", "2099-01-01T00:00:00", "99999-01-01T00:00:00Z"]
)
def test_a_paseto_time_has_a_zone(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ISO 8601 as PASETO wants it; what could be meant in any zone is no time."""
    monkeypatch.setattr("holdfast.tokens.paseto._written", lambda _: text)
    token = sealing(name)._format.seal(claims_without_times(name), NOW)
    with pytest.raises(BadToken, match="malformed"):
        sealing(name).open(token, NOW)


def claims_without_times(name: str) -> dict[str, Any]:
    return {
        "exp": 0,
        "jti": IDENTITY.hex(),
        "auth_time": NOW,
        "ver": 1,
        "tag": "01" * 8,
        **({"ses": ""} if "local" in name else {}),
    }


@pytest.mark.parametrize("name", NAMES)
def test_rfc_8725_3_8_and_3_9_issuer_and_audience_are_ours(name: str) -> None:
    """RFC 8725, 3.8 and 3.9; ASVS 9.2.3 and 9.2.4: they have to be there and be exactly ours; a list is not."""
    for issuer in ("Holdfast", "holdfast ", "https://attacker.example", "", None, ["holdfast"], 1):
        assert refused(name, {"iss": issuer}) == "wrong issuer"
    for audience in ("App", "app2", "", None, ["app"], ["app", "other"], {"app": 1}):
        assert refused(name, {"aud": audience}) == "wrong audience"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("claim", "values"),
    [
        ("sub", [1, True, [], {}, ["user-42"]]),
        ("jti", ["", "zz", 1, None, [], "0"]),
        ("tag", ["", "01", "01" * 9, 1, None, "zz" * 8]),
        ("ver", [0, -1, 1.5, "1", True, None, [], 2**63]),
        ("auth_time", ["1", None, True, [], 2**60]),
        ("held", ["name", {"a": 1}, [1], [None], 1, [["a"]], None, 0, False, 0.0, "", {}]),
    ],
)
def test_each_claim_has_its_type(name: str, claim: str, values: list[Any]) -> None:
    """What is not what we write is refused as a whole: nothing is guessed, and no exception comes out."""
    for value in values:
        assert refused(name, {claim: value}) == "malformed", value


@pytest.mark.parametrize("claim", ["jti", "tag", "ver", "auth_time"])
@pytest.mark.parametrize("name", NAMES)
def test_each_claim_is_there(name: str, claim: str) -> None:
    """A token of another kind under the same key is no session."""
    assert refused(name, {}, claim) == "malformed"


@pytest.mark.parametrize("name", ["jwe", "jwe json", "paseto local"])
@pytest.mark.parametrize(
    "values", ["", "AAAA", "====", "ä", 1, [], None, [1], {"a": "b"}, "3gABoWGhYg", True]
)
def test_sealed_values_have_their_form(name: str, values: Any) -> None:
    """Base64 of a map of bytes, or the map: anything else is malformed."""
    assert refused(name, {"ses": values}) == "malformed"


UNDECODABLE = {
    "no MessagePack": b"\xc1",
    "nothing": b"",
    "two values": b"\x01\x02",
    "cut off": b"\x92\x01",
    "a type of nobody's": b"\xc7\x01\x63\x00",
    "a number of letters": b"\xc7\x03\x08abc",
    "a set of lists": b"\xc7\x04\x02\x91\xc4\x01\x90",
    "a tuple of nothing": b"\xc7\x00\x01",
    "a time of one part": b"\xc7\x02\x05\x91\xa0",
    "a zone that is a folder": codec.encode(
        datetime(2026, 1, 1, tzinfo=ZoneInfo("America/Anchorage")), "a"
    ).replace(b"Anchorage", b"Argentina"),
    "tuples, too deep": reduce(lambda data, _: packb(ExtType(1, b"\x91" + data)), range(101), b"\x01"),
}


@pytest.mark.parametrize("data", UNDECODABLE.values(), ids=UNDECODABLE)
class TestValuesThatNoSessionHolds:
    """In a good token: whoever else has the key can make them, and a handler that looks at one must not fail."""

    @pytest.mark.parametrize("name", ["jwe json", "paseto local"])
    def test_written_as_json(self, name: str, data: bytes) -> None:
        """In the formats that others can make."""
        assert refused(name, SealedText(binary=False).write({"a": data})) == "malformed"

    def test_written_as_messagepack(self, data: bytes) -> None:
        """Which is read too where tokens are JSON, with the same key."""
        here, there = sealing("jwe json"), sealing("jwe")._format
        assert here.open(there.seal(claims("jwe") | {"ses": {"a": b"\x01"}}, NOW), NOW).record.values
        with pytest.raises(BadToken, match="malformed"):
            here.open(there.seal(claims("jwe") | {"ses": {"a": data}}, NOW), NOW)

    @pytest.mark.parametrize("name", ["jwe", "jwe json", "paseto local"])
    def test_in_an_access_token(self, name: str, data: bytes) -> None:
        """A Bearer hands values out decoded: it refuses what it cannot decode."""
        bearer = Bearer(MemoryStore(), FORMATS[name], keys=RING, clock=lambda: NOW)
        made = Sealing(FORMATS[name], RING, "bearer api")
        found = made._format.open(made.seal(IDENTITY, RECORD, frozenset(), NOW), NOW)
        assert bearer.open(b"Bearer " + made._format.seal(found, NOW)).owner == "user-42"
        found |= SealedText(binary=name == "jwe").write({"a": data})
        with pytest.raises(BadToken, match="malformed"):
            bearer.open(b"Bearer " + made._format.seal(found, NOW))


@pytest.mark.parametrize("name", ["jwe json", "paseto local"])
def test_a_value_that_could_not_be_put_in_is_none(name: str) -> None:
    """Lists too deep to be written again: a handler that only looks at them must not fail when it is done."""
    assert refused(name, SealedText(binary=False).write({"a": b"\x91" * 101 + b"\x01"})) == "malformed"


@pytest.mark.parametrize("name", ["jwe json", "paseto local"])
def test_a_name_that_is_no_unicode_is_none(name: str) -> None:
    """Half of a surrogate pair, which no session's key has: a store that is to hold the value would raise."""
    assert refused(name, SealedText(binary=False).write({"\ud800": b"\x01"})) == "malformed"


@pytest.mark.parametrize("name", ["jws HS256", "jws EdDSA", "paseto public"])
def test_public_values_that_no_session_holds_are_refused(name: str) -> None:
    """Nested too deeply to be written again: no TypeError on the way of a request."""
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    assert refused(name, {"cart": deep}) == "malformed"


def test_text_that_is_no_unicode_is_no_owner() -> None:
    """Half of a surrogate pair, which JSON can spell: looking its owner up would raise."""
    from fuzz_targets import TARGETS

    from holdfast.tokens.compact import write_json

    text = write_json(claims("jws HS256") | {"sub": "x"}).replace(b'"sub":"x"', b'"sub":"\\ud800"')
    assert not TARGETS["claims in json"](text)
    assert TARGETS["claims in json"](text.replace(b"\\ud800", b"\\ud83c\\udf75"))


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}, ["\udfff"]])
def test_what_json_cannot_carry_is_refused_when_it_is_put_in(value: Any) -> None:
    """As a TypeError naming the key, like every value that a readable token does not take."""
    record = RECORD._replace(values={"name": codec.encode(value, "name")})
    with pytest.raises(TypeError, match="name"):
        sealing("jws HS256").seal(IDENTITY, record, frozenset(), NOW)


def test_a_change_of_text_logs_nobody_out() -> None:
    """A jwe sealed as MessagePack is read by an application that now writes JSON, and the other way round."""
    for name, other in (("jwe", "jwe json"), ("jwe json", "jwe")):
        token = sealing(name).seal(IDENTITY, RECORD, frozenset(), NOW)
        assert sealing(other).open(token, NOW).record == RECORD


# Swapped: between formats, purposes, applications, keys


@pytest.mark.parametrize("name", NAMES)
def test_a_token_of_another_application_is_none(name: str) -> None:
    """RFC 8725, 3.8; ASVS 9.2.2: one ring, two cookies: another name is another key, not only another claim."""
    token = sealing(name, purpose="other").seal(IDENTITY, RECORD, frozenset(), NOW)
    with pytest.raises(BadToken) as caught:
        sealing(name).open(token, NOW)
    assert caught.value.reason in ("bad mac", "bad signature")


@pytest.mark.parametrize("name", NAMES)
def test_a_token_of_another_audience_is_none(name: str) -> None:
    """The same key and name, another audience or issuer."""
    settings = FORMATS[name]
    for about in ({"audience": "reports"}, {"issuer": "other"}):
        other = Token(
            settings.format,
            algorithm=settings.algorithm,
            text=settings.text,
            public=settings.public.names,
            **about,
        )
        token = Sealing(other, RING, "app").seal(IDENTITY, RECORD, frozenset(), NOW)
        with pytest.raises(BadToken, match=f"wrong {next(iter(about))}"):
            sealing(name).open(token, NOW)


@pytest.mark.parametrize("name", NAMES)
def test_a_token_under_another_ring_is_none(name: str) -> None:
    """Its key is not known; and a key of ours that is called alike is not its."""
    token = sealing(name, Keyring.generate()).seal(IDENTITY, RECORD, frozenset(), NOW)
    with pytest.raises(BadToken, match="unknown key"):
        sealing(name).open(token, NOW)


@pytest.mark.parametrize("name", NAMES)
def test_a_token_of_another_format_is_none(name: str) -> None:
    """Each format, kind and algorithm refuses what the others have made for the very same session."""
    token = sealing(name).seal(IDENTITY, RECORD, frozenset(), NOW)
    for other in NAMES:
        if other == name or {other, name} == {"jwe", "jwe json"}:
            continue
        with pytest.raises(BadToken) as caught:
            sealing(other).open(token, NOW)
        assert caught.value.reason in ("malformed", "wrong algorithm", "wrong type", "header not allowed")


@pytest.mark.parametrize("name", NAMES)
def test_a_removed_key_opens_nothing(name: str) -> None:
    """What was prepared for a key while it was in the ring is forgotten with it, by an instance that has used it."""
    old, new = Keyring.new_secret(), Keyring.new_secret()
    ring = Keyring([new, old])
    token = Sealing(FORMATS[name], Keyring([old]), "app").seal(IDENTITY, RECORD, frozenset(), NOW)
    here = sealing(name, ring)
    said = here.open(token, NOW)
    assert said.stale_key
    assert here.open(token, NOW).record == RECORD
    ring._replace([new])
    with pytest.raises(BadToken, match="unknown key"):
        here.open(token, NOW)
    fresh = here.seal(IDENTITY, RECORD, frozenset(), NOW)
    assert not here.open(fresh, NOW).stale_key


@pytest.mark.parametrize("name", NAMES)
def test_a_huge_token_is_refused_by_its_length(name: str) -> None:
    """Before anything is looked at: the work is bounded by what the application allows."""
    token = sealing(name).seal(IDENTITY, RECORD, frozenset(), NOW)
    for huge in (token + b"A" * 20_000, b"A" * 10_000_000, b"." * 1_000_000):
        with pytest.raises(BadToken, match="too large"):
            sealing(name).open(huge, NOW)


@pytest.mark.parametrize("name", ["jwe json", "paseto local"])
def test_values_by_somebody_else_are_read(name: str) -> None:
    """Whoever else has the key: what is refused above is refused for what the values are."""
    made = claims(name) | SealedText(binary=False).write({"a": b"\x91" * 100 + b"\x01", "é": b"\x01"})
    said = sealing(name).open(sealing(name)._format.seal(made, NOW), NOW)
    assert set(said.record.values) == {"a", "é"}


def test_these_values_are_the_ones_in_the_token() -> None:
    """The base of this file: what is changed above is good unchanged, in every format."""
    for name in NAMES:
        said = sealing(name).open(sealing(name).seal(IDENTITY, RECORD, frozenset({"kept"}), NOW), NOW)
        assert (said.identity, said.record, said.held) == (IDENTITY, RECORD, {"kept"})
        assert said.record.values == VALUES
