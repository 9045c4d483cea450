"""Signed tokens that others can read: JWS with EdDSA, ES256 or HS256 (RFC 7515; RFC 7518, 3.2 and 3.4; RFC 8037).

One token format has one algorithm, fixed when the application starts, and its keys are used for nothing else: a token
that says otherwise is refused before a key is touched (RFC 8725, 3.1). Other services get the public keys as a JSON
Web Key Set; with HS256 whoever can check tokens can make them.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from ..errors import BadToken, ConfigError
from ..keyring import Keyring
from . import claims as rules
from .compact import Header, pack, read_header, read_json, unpack, write_json

Algorithm = Literal["EdDSA", "ES256", "HS256"]

_TYP = "holdfast+jws"
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)


class _Signer(NamedTuple):
    """One key, ready for use. `verify` raises, or returns False, for what the key has not signed."""

    sign: Callable[[bytes], bytes]
    verify: Callable[[bytes, bytes], bool]
    public: Mapping[str, str] | None  # its public half as a JSON Web Key (RFC 7517)


class _Known(NamedTuple):
    """A key of the ring: its signer, and the header of the tokens that it signs."""

    signer: _Signer
    header: bytes


class Jws:
    """Makes and opens the signed tokens of one purpose. Raises `ConfigError` for an unknown algorithm."""

    def __init__(
        self,
        keyring: Keyring,
        purpose: str,
        *,
        issuer: str,
        audience: str,
        algorithm: Algorithm = "EdDSA",
        typ: str = _TYP,
    ) -> None:
        if algorithm not in _MAKE:
            raise ConfigError(f"algorithm={algorithm!r} is unknown: it is {' or '.join(map(repr, _MAKE))}")
        self._keys = keyring.derived(f"jws {algorithm} {purpose}")
        self._algorithm, self._issuer, self._audience, self._typ = algorithm, issuer, audience, typ
        self._prepared: dict[bytes, _Known] = {}

    def seal(self, claims: Mapping[str, Any], now: float) -> bytes:
        """A token with these claims, and `iss` and `aud`."""
        known = self._of(self._keys.newest()[0])
        whole = {"iss": self._issuer, "aud": self._audience, **claims}
        body = known.header + b"." + pack(write_json(whole))
        return body + b"." + pack(known.signer.sign(body))

    def open(self, token: bytes, now: float) -> dict[str, Any]:
        """The claims of a token that is good at `now`. Raises `BadToken` for anything else, and nothing more."""
        body, dot, signature = token.rpartition(b".")
        header, first_dot, text = body.partition(b".")
        if not dot or not first_dot or b"." in text:
            raise BadToken("malformed")
        if not self._of(self._key_id(header)).signer.verify(body, unpack(signature)):
            raise BadToken("bad signature")
        found = read_json(unpack(text))
        rules.check(found, issuer=self._issuer, audience=self._audience, now=now)
        return found

    def is_newest(self, token: bytes) -> bool:
        """Whether a good token was signed by the newest key of the ring."""
        return self._key_id(token.partition(b".")[0]) == self._keys.newest()[0]

    def public_keys(self) -> list[dict[str, str]]:
        """The public halves of all keys as JSON Web Keys, newest first; none with HS256."""
        return [
            {**public, "kid": key_id.hex(), "use": "sig", "alg": self._algorithm}
            for key_id in self._keys.all()
            if (public := self._of(key_id).signer.public) is not None
        ]

    def _key_id(self, header: bytes) -> bytes:
        """The key that a header names, if it says nothing but what ours say. Raises `BadToken`."""
        newest = self._keys.newest()[0]
        known = self._prepared.get(newest)
        if known is not None and known.header == header:
            return newest
        said = read_header(header)
        if said.alg != self._algorithm or said.enc is not None:
            raise BadToken("wrong algorithm")
        if said.typ != self._typ:
            raise BadToken("wrong type")
        if said.cty is not None:
            raise BadToken("header not allowed")  # a token in a token (RFC 8725, 3.11)
        if not _KEY_ID.fullmatch(said.kid):
            raise BadToken("unknown key")
        return bytes.fromhex(said.kid)

    def _of(self, key_id: bytes) -> _Known:
        key = self._keys.get(key_id)
        if key is None:
            raise BadToken("unknown key")
        known = self._prepared.get(key_id)
        if known is None:
            header = Header(self._algorithm, key_id.hex(), self._typ).packed()
            known = self._prepared[key_id] = _Known(_MAKE[self._algorithm](key), header)
        return known


def _hs256(key: bytes) -> _Signer:
    def sign(body: bytes) -> bytes:
        return hmac.digest(key, body, sha256)

    return _Signer(sign, lambda body, signature: hmac.compare_digest(sign(body), signature), None)


def _ed25519(key: bytes) -> _Signer:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    private = Ed25519PrivateKey.from_private_bytes(key)
    public = private.public_key()

    def verify(body: bytes, signature: bytes) -> bool:
        try:
            public.verify(signature, body)
        except InvalidSignature:
            return False
        return True

    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return _Signer(private.sign, verify, {"kty": "OKP", "crv": "Ed25519", "x": pack(raw).decode()})


def _es256(key: bytes) -> _Signer:
    from hashlib import blake2b

    # A number below the group's order, with 128 bits to spare: none is likelier than others (FIPS 186-5, A.2.1).
    wide = int.from_bytes(blake2b(key, digest_size=48, person=b"holdfast-p256").digest(), "big")
    return _on_p256(wide % (_P256_ORDER - 1) + 1)


def _on_p256(secret: int) -> _Signer:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    private = ec.derive_private_key(secret, ec.SECP256R1())
    public = private.public_key()
    algorithm = ec.ECDSA(SHA256())

    def sign(body: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(body, algorithm))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def verify(body: bytes, signature: bytes) -> bool:
        if len(signature) != 64:
            return False
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        try:
            public.verify(encode_dss_signature(r, s), body, algorithm)
        except InvalidSignature:
            return False
        return True

    numbers = public.public_numbers()
    x, y = (pack(number.to_bytes(32, "big")).decode() for number in (numbers.x, numbers.y))
    return _Signer(sign, verify, {"kty": "EC", "crv": "P-256", "x": x, "y": y})


_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

_MAKE: dict[str, Callable[[bytes], _Signer]] = {"EdDSA": _ed25519, "ES256": _es256, "HS256": _hs256}
