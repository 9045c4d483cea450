"""Published vectors, through the parts of ours that read, check and make tokens, with the keys printed there.

The formats themselves take no foreign key: theirs are derived from the ring, one for each purpose and algorithm.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast import BadToken, Keyring
from holdfast.tokens import jws, paseto
from holdfast.tokens.ciphers import HourKey, HourlyCiphers
from holdfast.tokens.compact import pack, unpack

VECTORS = Path(__file__).parent / "vectors"


def read(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text())


JWS, GCM, PASETO = read("jws"), read("gcm_256"), read("paseto_v4")
RING = Keyring.generate()


def signer(algorithm: str) -> jws._Signer:
    vector = JWS[algorithm]
    if algorithm == "HS256":
        return jws._hs256(unpack(vector["key"].encode()))
    if algorithm == "EdDSA":
        return jws._ed25519(unpack(vector["d"].encode()))
    return jws._on_p256(int.from_bytes(unpack(vector["d"].encode()), "big"))


@pytest.mark.parametrize("algorithm", ["HS256", "ES256", "EdDSA"])
def test_the_signatures_of_rfc_7515_and_8037_are_good(algorithm: str) -> None:
    """Their tokens are read to the byte and verified; each changed byte of the signature is noticed."""
    token = JWS[algorithm]["token"].encode()
    body, _, signature = token.rpartition(b".")
    assert unpack(body.partition(b".")[2]).decode() == JWS[algorithm]["payload"]
    verify, raw = signer(algorithm).verify, unpack(signature)
    assert verify(body, raw)
    for place in range(len(raw)):
        assert not verify(body, raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
    assert not verify(body, raw[:-1])
    assert not verify(body, raw + b"\0")
    assert not verify(body, b"")


@pytest.mark.parametrize("algorithm", ["HS256", "EdDSA"])
def test_ours_makes_the_same_signatures(algorithm: str) -> None:
    """HS256 and EdDSA are deterministic: the token comes out as it is printed."""
    body = JWS[algorithm]["token"].encode().rpartition(b".")[0]
    assert body + b"." + pack(signer(algorithm).sign(body)) == JWS[algorithm]["token"].encode()


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_the_public_halves_are_those_that_are_printed(algorithm: str) -> None:
    """So the JSON Web Keys that other services get are right, leading zeros and all."""
    vector, public = JWS[algorithm], signer(algorithm).public
    assert public is not None
    assert public["x"] == vector["x"]
    assert public.get("y") == vector.get("y")


@pytest.mark.parametrize("algorithm", ["HS256", "ES256", "EdDSA"])
def test_a_token_of_the_rfc_is_none_of_ours(algorithm: str) -> None:
    """Its header names no key and no type, so no key is tried."""
    maker = jws.Jws(RING, "p", issuer="joe", audience="a", algorithm=algorithm)  # type: ignore[arg-type]  # listed
    with pytest.raises(BadToken, match="header not allowed"):
        maker.open(JWS[algorithm]["token"].encode(), 0)


@pytest.mark.parametrize("vector", GCM["vectors"], ids=lambda vector: vector["name"])
def test_aes_256_gcm(vector: dict[str, str]) -> None:
    """Sealing and opening agree with the vectors; a changed bit anywhere is noticed."""
    key, nonce, plain, bound, sealed, tag = (
        bytes.fromhex(vector[name]) for name in ("key", "nonce", "plain", "bound", "sealed", "tag")
    )
    ciphers, used = HourlyCiphers(RING, "p"), HourKey(b"none", 0, AESGCM(key))
    assert used.cipher.encrypt(nonce, plain, bound) == sealed + tag
    assert ciphers.open(used, nonce, sealed + tag, bound) == plain
    for place in range(len(sealed + tag)):
        flipped = bytearray(sealed + tag)
        flipped[place] ^= 0x80
        with pytest.raises(BadToken, match="bad mac"):
            ciphers.open(used, nonce, bytes(flipped), bound)
    with pytest.raises(BadToken, match="bad mac"):
        ciphers.open(used, nonce, sealed + tag, bound + b"\0")


@pytest.mark.parametrize("vector", PASETO["local"], ids=lambda vector: vector["name"])
def test_paseto_v4_local(vector: dict[str, Any]) -> None:
    """Tokens are read strictly and decrypted to the payload; with the vector's nonce the same token is made."""
    key, footer, bound = (
        paseto._local(bytes.fromhex(vector["key"])),
        vector["footer"].encode(),
        vector["implicit"].encode(),
    )
    body, _, said = vector["token"].encode().removeprefix(b"v4.local.").partition(b".")
    assert unpack(said) == footer
    text = key.decrypt(unpack(body), footer, bound)
    assert json.loads(text) == vector["payload"]
    assert key.encrypt(text, footer, bound, bytes.fromhex(vector["nonce"])) == vector["token"].encode()
    with pytest.raises(paseto.PysetoError):
        key.decrypt(unpack(body), footer, bound + b"x")


@pytest.mark.parametrize("vector", PASETO["public"], ids=lambda vector: vector["name"])
def test_paseto_v4_public(vector: dict[str, Any]) -> None:
    """Signatures are good, and come out as they are printed."""
    key, footer, bound = (
        paseto._public(bytes.fromhex(vector["secret"])),
        vector["footer"].encode(),
        vector["implicit"].encode(),
    )
    body, _, said = vector["token"].encode().removeprefix(b"v4.public.").partition(b".")
    assert unpack(said) == footer
    text = key.verify(unpack(body), footer, bound)
    assert json.loads(text) == vector["payload"]
    assert text + key.sign(text, footer, bound) == unpack(body)
    with pytest.raises(paseto.PysetoError):
        key.verify(unpack(body), footer, bound + b"x")
