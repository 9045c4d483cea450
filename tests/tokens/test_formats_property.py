"""Whatever bytes arrive, each parser accepts what was issued, refuses the rest, and raises nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from fuzz_targets import (
    IDENTITY,
    NAMES,
    NEVER_ACCEPT,
    NOW,
    RECORD,
    RING,
    SEALINGS,
    SEEDS,
    TARGETS,
    fire,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import Token, codec
from holdfast.tokens import Secrecy, claims
from holdfast.tokens.sealing import Sealing
from holdfast.tokens.snapshots import SnapshotToken

# A machine that is busy with something else is no failure.
few = settings(deadline=None, max_examples=50)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_issued_is_accepted(name: str) -> None:
    """Otherwise the tests below would prove that nothing is."""
    for seed in SEEDS[name]:
        assert TARGETS[name](seed) is (name not in NEVER_ACCEPT)


@pytest.mark.parametrize("name", NAMES)
def test_any_bytes(name: str) -> None:
    """From nowhere."""

    @few
    @given(st.binary(max_size=400))
    def check(data: bytes) -> None:
        TARGETS[name](data)

    check()


@pytest.mark.parametrize("name", NAMES)
def test_issued_tokens_in_any_way_spoilt(name: str) -> None:
    """Parts of good tokens, cut, repeated, put together anew, with other bytes between them."""
    pieces = [part for seed in SEEDS[name] for part in seed.replace(b".", b"|.|").split(b"|")]
    joined = st.lists(
        st.one_of(
            st.sampled_from([*pieces, *SEEDS[name]]),
            st.binary(max_size=3),
            st.builds(lambda part, at: part[:at], st.sampled_from(pieces), st.integers(-5, 40)),
        ),
        max_size=8,
    ).map(b"".join)

    @few
    @given(joined)
    def check(data: bytes) -> None:
        TARGETS[name](data)

    check()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@few
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=20), JSON, max_size=5))
def test_values_come_back_through_every_encrypted_format(values: dict[str, Any]) -> None:
    """As they were put in, with owner and times."""
    encoded = {name: codec.encode(value, name) for name, value in values.items()}
    record = RECORD._replace(values=encoded)
    for name in ("jwe", "jwe json", "paseto local"):
        said = SEALINGS[name].open(SEALINGS[name].seal(IDENTITY, record, frozenset(), NOW), NOW)
        assert said.record == record
        assert {key: codec.decode(data) for key, data in said.record.values.items()} == values


@few
@given(st.text(st.characters(codec="utf-8"), max_size=20), JSON)
def test_public_values_come_back_through_every_readable_format(name: str, value: Any) -> None:
    """Unless they are no JSON, or their name is a claim's own: then they are refused before they are sent."""
    from holdfast.tokens.texts import RESERVED

    if name in RESERVED or "*" in name or not name:
        return
    for kind, algorithm in (("jws", "EdDSA"), ("jws", "HS256"), ("paseto", "v4.public")):
        sealing = Sealing(Token(kind, algorithm=algorithm, public={name}), RING, "app")  # type: ignore[arg-type]  # listed
        try:
            record = RECORD._replace(values={name: codec.encode(value, name)})
            token = sealing.seal(IDENTITY, record, frozenset(), NOW)
        except TypeError:
            continue
        found = sealing.open(token, NOW).record.values[name]
        assert repr(codec.decode(found)) == repr(value)


@few
@given(st.one_of(st.none(), st.booleans(), st.text(), st.floats(), st.integers(), st.lists(st.integers())))
def test_a_time_is_a_number_that_clocks_show_or_none(value: Any) -> None:
    """Whatever stands in the place of a time."""
    good = type(value) in (int, float) and abs(value) <= 2**53
    assert claims.is_moment(value) is good


@few
@given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40))
def test_a_snapshot_is_one_identitys(one: bytes, other: bytes) -> None:
    """Whatever identities look like."""
    token = SnapshotToken(RING, "app", Secrecy((), "private"))
    made = (token.make(RECORD, NOW, one, NOW) or "").encode()
    assert (token.read(made, other, NOW) is not None) is (one == other)


def test_the_check_sees_what_it_looks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that lets another exception out, or takes what was never issued, does not get through."""
    token = SEEDS["jws HS256"][0]
    number = bytes([NAMES.index("jws HS256")])
    fire(number + token)
    spoilt = token[:-1] + (b"A" if token[-1:] != b"A" else b"E")
    from holdfast.tokens import jws

    known = SEALINGS["jws HS256"]._format._of  # type: ignore[attr-defined]  # a Jws
    lax = jws._Known(known(RING.newest.id).signer._replace(verify=lambda body, signature: True), b"")
    monkeypatch.setattr(SEALINGS["jws HS256"]._format, "_of", lambda key_id: lax)
    with pytest.raises(AssertionError, match="never issued"):
        fire(number + spoilt)
    monkeypatch.setattr(jws, "read_json", lambda data: {}["nothing"])
    with pytest.raises(KeyError):
        fire(number + token)
