"""Our JOSE tokens in the hands of joserfc and PyJWT, and theirs in ours."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwe, jws, jwt
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey
from joserfc.jwt import JWTClaimsRegistry

from holdfast import BadToken, Keyring, Record, Token, codec
from holdfast.jwks import jwks
from holdfast.tokens.compact import read_header
from holdfast.tokens.jwe import Jwe
from holdfast.tokens.jws import Jws
from holdfast.tokens.sealing import Sealing

# RFC 9864 prefers the name Ed25519 for what RFC 8037 and every library call EdDSA.
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")

RING = Keyring([Keyring.new_secret(), Keyring.new_secret()])
NOW = float(int(time.time()))  # the peers look at the real clock
EXPIRY = NOW + 86_400  # later than these tests can last
CLAIMS = {"exp": EXPIRY, "nbf": int(NOW), "sub": "user-42", "role": "admin", "text": "Grüße 🍵"}
ABOUT = {"iss": "holdfast", "aud": "app"}
ENCRYPTED = jwe.JWERegistry(algorithms=["dir", "A256GCM"])
SIGNED = ["EdDSA", "ES256", "HS256"]


def ours(algorithm: str) -> Jws:
    return Jws(RING, "p", issuer="holdfast", audience="app", algorithm=algorithm)  # type: ignore[arg-type]  # of SIGNED


def private(maker: Jws, algorithm: str) -> Any:
    """The key as a peer takes it: one that shares it, for HS256, or that has stolen it, for the others."""
    raw = maker._keys.newest()[1]
    if algorithm == "HS256":
        return raw
    if algorithm == "EdDSA":
        return Ed25519PrivateKey.from_private_bytes(raw)
    from hashlib import blake2b

    from holdfast.tokens.jws import _P256_ORDER

    wide = int.from_bytes(blake2b(raw, digest_size=48, person=b"holdfast-p256").digest(), "big")
    return ec.derive_private_key(wide % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def as_jwk(key: Any) -> Any:
    if isinstance(key, bytes):
        return OctKey.import_key(key)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (OKPKey if isinstance(key, Ed25519PrivateKey) else ECKey).import_key(pem)


def header(maker: Jws, algorithm: str) -> dict[str, str]:
    return {"alg": algorithm, "kid": RING.key_ids[0], "typ": "holdfast+jws"}


@pytest.mark.parametrize("algorithm", SIGNED)
def test_joserfc_reads_our_jws(algorithm: str) -> None:
    """With an allow-list of the one algorithm, and the claims checked as it checks them."""
    maker = ours(algorithm)
    token = maker.seal(CLAIMS, NOW).decode()
    found = jwt.decode(token, as_jwk(private(maker, algorithm)), algorithms=[algorithm])
    assert found.claims == ABOUT | CLAIMS
    JWTClaimsRegistry(iss={"essential": True, "value": "holdfast"}, aud={"value": "app"}).validate(
        found.claims
    )


@pytest.mark.parametrize("algorithm", SIGNED)
def test_we_read_a_jws_of_joserfc(algorithm: str) -> None:
    """The same claims, its own order of the header's members."""
    maker = ours(algorithm)
    key = as_jwk(private(maker, algorithm))
    token = jwt.encode(header(maker, algorithm), ABOUT | CLAIMS, key, algorithms=[algorithm])
    assert maker.open(token.encode(), NOW) == ABOUT | CLAIMS
    compact = jws.serialize_compact(
        dict(reversed(header(maker, algorithm).items())),
        json.dumps(ABOUT | CLAIMS),
        key,
        algorithms=[algorithm],
    )
    assert maker.open(compact.encode(), NOW) == ABOUT | CLAIMS


@pytest.mark.parametrize("algorithm", SIGNED)
def test_pyjwt_reads_our_jws(algorithm: str) -> None:
    """With audience, issuer and the required claims."""
    maker = ours(algorithm)
    key = private(maker, algorithm)
    found = pyjwt.decode(
        maker.seal(CLAIMS, NOW),
        key if algorithm == "HS256" else key.public_key(),
        algorithms=[algorithm],
        audience="app",
        issuer="holdfast",
        options={"require": ["exp", "nbf", "iss", "aud"]},
    )
    assert found == ABOUT | CLAIMS


@pytest.mark.parametrize("algorithm", SIGNED)
def test_we_read_a_jws_of_pyjwt(algorithm: str) -> None:
    """Type and key id in its header, as we want them."""
    maker = ours(algorithm)
    head = header(maker, algorithm)
    token = pyjwt.encode(ABOUT | CLAIMS, private(maker, algorithm), algorithm=algorithm, headers=head)
    assert maker.open(token.encode(), NOW) == ABOUT | CLAIMS
    bare = pyjwt.encode(ABOUT | CLAIMS, private(maker, algorithm), algorithm=algorithm)
    with pytest.raises(BadToken, match="header not allowed"):
        maker.open(bare.encode(), NOW)


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256"])
def test_peers_read_a_session_with_the_published_keys(algorithm: str) -> None:
    """What a service does that has nothing but the JSON Web Key Set: both peers pick the key by its id."""
    token = Token("jws", algorithm=algorithm, public={"role"}, audience="reports")
    sealing = Sealing(token, RING, "__Host-session")
    record = Record(1, b"\1" * 8, {"role": codec.encode("admin", "role")}, "user-42", NOW, EXPIRY)
    sealed = sealing.seal(bytes(16), record, frozenset(), NOW).decode()
    published = json.loads(jwks(RING, token))
    keys = KeySet.import_key_set(published)
    assert jwt.decode(sealed, keys, algorithms=[algorithm]).claims["role"] == "admin"
    by_id = {key.key_id: key for key in pyjwt.PyJWKSet.from_dict(published).keys}
    key = by_id[pyjwt.get_unverified_header(sealed)["kid"]]
    found = pyjwt.decode(sealed, key, algorithms=[algorithm], audience="reports", issuer="holdfast")
    assert (found["sub"], found["role"], found["exp"]) == ("user-42", "admin", EXPIRY)


def test_joserfc_reads_our_jwe() -> None:
    """As a JWT, with a key that it was given: the only algorithms that it may use are ours."""
    maker = Jwe(RING, "p", issuer="holdfast", audience="app", text="json")
    token = maker.seal(CLAIMS, NOW).decode()
    found = jwe.decrypt_compact(token, jwe_key(maker, token), algorithms=["dir", "A256GCM"])
    assert json.loads(found.plaintext or b"") == ABOUT | CLAIMS
    assert found.headers()["typ"] == "holdfast+jwe"
    assert jwt.decode(token, jwe_key(maker, token), registry=ENCRYPTED).claims == ABOUT | CLAIMS


def test_joserfc_opens_our_msgpack_too() -> None:
    """What is in it says the header's `cty`; a JWT it is not."""
    from msgpack import unpackb

    maker = Jwe(RING, "p", issuer="holdfast", audience="app")
    token = maker.seal(CLAIMS, NOW).decode()
    found = jwe.decrypt_compact(token, jwe_key(maker, token), algorithms=["dir", "A256GCM"])
    assert found.headers()["cty"] == "application/msgpack"
    assert unpackb(found.plaintext or b"") == ABOUT | CLAIMS


@pytest.mark.parametrize("text", ["json", "msgpack"])
def test_we_read_a_jwe_of_joserfc(text: Any) -> None:
    """Whatever we write ourselves, a JWT under our key is read: its header says that it is one."""
    maker = Jwe(RING, "p", issuer="holdfast", audience="app", text=text)
    own = maker.seal(CLAIMS, NOW).decode()
    head = {"alg": "dir", "enc": "A256GCM", "kid": kid_of(own), "typ": "holdfast+jwe"}
    token = jwt.encode(head, ABOUT | CLAIMS, jwe_key(maker, own), registry=ENCRYPTED)
    assert maker.open(token.encode(), NOW) == ABOUT | CLAIMS


def test_a_whole_session_goes_through_joserfc() -> None:
    """A session that we have sealed as JSON is opened and sealed anew there, and is the same session here."""
    sealing = Sealing(Token(text="json"), RING, "app")
    record = Record(3, b"\1" * 8, {"seen": codec.encode((1, b"\0"), "seen")}, None, NOW, EXPIRY)
    own = sealing.seal(bytes(range(16)), record, frozenset({"held"}), NOW).decode()
    key = jwe_key(sealing._format, own)  # type: ignore[arg-type]  # a Jwe, as the token says
    found = jwt.decode(own, key, registry=ENCRYPTED)
    theirs = jwt.encode(found.header, found.claims, key, registry=ENCRYPTED)
    assert theirs != own
    said = sealing.open(theirs.encode(), NOW)
    assert (said.identity, said.record, said.held) == (bytes(range(16)), record, {"held"})
    assert codec.decode(said.record.values["seen"]) == (1, b"\0")


def test_peers_refuse_what_we_refuse() -> None:
    """A token with a changed signature is nothing to them either: nobody is laxer than the others."""
    maker = ours("EdDSA")
    token = maker.seal(CLAIMS, NOW)
    bad = token[:-10] + (b"A" if token[-10:-9] != b"A" else b"B") + token[-9:]
    with pytest.raises(BadToken):
        maker.open(bad, NOW)
    key = private(maker, "EdDSA")
    with pytest.raises(pyjwt.InvalidSignatureError):
        pyjwt.decode(bad, key.public_key(), algorithms=["EdDSA"], audience="app")
    with pytest.raises(Exception, match="bad_signature"):
        jwt.decode(bad.decode(), as_jwk(key), algorithms=["EdDSA"])


def kid_of(token: str) -> str:
    return read_header(token.partition(".")[0].encode()).kid


def jwe_key(maker: Jwe, token: str) -> OctKey:
    return OctKey.import_key(maker.key(kid_of(token)))
