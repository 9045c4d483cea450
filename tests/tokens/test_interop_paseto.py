"""Our PASETO tokens in the hands of pyseto's public interface, and its tokens in ours."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pyseto
import pytest
from pyseto import Key

from holdfast import BadToken, Keyring
from holdfast.tokens.paseto import Paseto, _public

RING = Keyring([Keyring.new_secret(), Keyring.new_secret()])
NOW = float(int(time.time()))  # pyseto looks at the real clock
EXPIRY = NOW + 86_400.5  # later than these tests can last
CLAIMS = {"exp": EXPIRY, "nbf": NOW, "iat": NOW, "sub": "user-42", "role": "admin"}
ABOUT = {"iss": "holdfast", "aud": "app"}
BOUND = b"holdfast p"  # the purpose, as implicit assertion
KINDS: Any = ["local", "public"]


def ours(kind: Any, ring: Keyring = RING) -> Paseto:
    return Paseto(ring, "p", issuer="holdfast", audience="app", kind=kind)


def key_of(maker: Paseto, kind: str, *, reads: bool) -> Any:
    """pyseto's key; for reading a public token, from nothing but the PASERK that we publish."""
    raw = maker._keys.newest()[1]
    if kind == "local":
        return Key.new(version=4, purpose="local", key=raw)
    return Key.from_paserk(maker.public_keys()[0]["paserk"]) if reads else _public(raw)


@pytest.mark.parametrize("kind", KINDS)
def test_pyseto_reads_our_tokens(kind: Any) -> None:
    """Times are what PASETO says they are, so that it checks `exp` and `nbf` itself."""
    maker = ours(kind)
    key = key_of(maker, kind, reads=True)
    found = pyseto.decode(
        key, maker.seal(CLAIMS, NOW), implicit_assertion=BOUND, deserializer=json, aud="app"
    )
    assert isinstance(found.payload, dict)
    assert found.footer == {"kid": RING.key_ids[0]}
    assert datetime.fromisoformat(found.payload["exp"]) == datetime.fromtimestamp(EXPIRY, UTC)
    assert found.payload["role"] == "admin"
    with pytest.raises(pyseto.VerifyError, match="expired"):
        pyseto.decode(
            key,
            maker.seal(CLAIMS | {"exp": NOW - 60}, NOW),
            implicit_assertion=BOUND,
            deserializer=json,
            aud="app",
        )


@pytest.mark.parametrize("kind", KINDS)
def test_we_read_tokens_of_pyseto(kind: Any) -> None:
    """Claims, footer and implicit assertion as we want them; the token without the assertion is another purpose's."""
    maker = ours(kind)
    key = key_of(maker, kind, reads=False)
    said = ABOUT | CLAIMS
    said |= {name: datetime.fromtimestamp(said[name], UTC).isoformat() for name in ("exp", "nbf", "iat")}
    footer = {"kid": RING.key_ids[0]}
    token = pyseto.encode(key, said, footer=footer, implicit_assertion=BOUND, serializer=json)
    assert maker.open(token, NOW) == ABOUT | CLAIMS
    unbound = pyseto.encode(key, said, footer=footer, serializer=json)
    with pytest.raises(BadToken, match="bad mac" if kind == "local" else "bad signature"):
        maker.open(unbound, NOW)
    nameless = pyseto.encode(key, said, implicit_assertion=BOUND, serializer=json)
    with pytest.raises(BadToken, match="malformed"):
        maker.open(nameless, NOW)


@pytest.mark.parametrize("kind", KINDS)
def test_another_ring_is_refused_by_both(kind: Any) -> None:
    """pyseto refuses a token under another key, and so do we."""
    other = ours(kind, Keyring.generate())
    token = other.seal(CLAIMS, NOW)
    with pytest.raises(BadToken, match="unknown key"):
        ours(kind).open(token, NOW)
    with pytest.raises(pyseto.PysetoError):
        pyseto.decode(
            key_of(ours(kind), kind, reads=True), token, implicit_assertion=BOUND, deserializer=json
        )
