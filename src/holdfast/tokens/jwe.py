"""Encrypted tokens: JWE with `dir` and A256GCM (RFC 7516; RFC 7518, 4.5 and 5.3). The default for sessions.

The `kid` of a token is `<key of the ring>.<hour>`, both in hexadecimal digits: see `ciphers`.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from msgpack import packb, unpackb

from ..errors import BadToken
from ..keyring import Keyring
from . import claims as rules
from .ciphers import TAG_BYTES, HourKey, HourlyCiphers, new_nonce
from .compact import (
    AROUND_CHARACTERS,
    FIRST_DOT,
    SECOND_DOT,
    Header,
    pack,
    read_header,
    read_json,
    unpack_sealed,
    write_json,
)

_TYP = "holdfast+jwe"
_CONTENT = {"msgpack": "application/msgpack", "json": None}
_KEY_ID = re.compile(r"([0-9a-f]{8})\.([0-9a-f]{1,8})", re.ASCII)
_DOT = ord(".")
_KEPT = 64  # headers that are recognised as a whole


class _Known(NamedTuple):
    """A header that has been read: the key it names, and how the claims are written."""

    text: bytes
    key: HourKey
    is_json: bool
    is_newest: bool  # of the ring's keys, as long as that is as it is


class Jwe:
    """Makes and opens the encrypted tokens of one purpose.

    `text` is how claims are written in a token: "msgpack", which is smaller and quicker and also carries bytes, or
    "json", which makes the token a JWT (RFC 7519) that others can read who are given its key. Both are read.
    """

    def __init__(
        self,
        keyring: Keyring,
        purpose: str,
        *,
        issuer: str,
        audience: str,
        text: Literal["msgpack", "json"] = "msgpack",
        typ: str = _TYP,
    ) -> None:
        self._ciphers = HourlyCiphers(keyring, f"jwe dir A256GCM {purpose}")
        self._look = keyring.look
        self._issuer, self._audience, self._text, self._typ = issuer, audience, text, typ
        self._about = {"iss": issuer, "aud": audience}
        self._made: _Known | None = None
        self._known: dict[bytes, _Known] = {}
        self._known_in = -1  # the ring's state

    def seal(self, claims: dict[str, Any], now: float) -> bytes:
        """A token with these claims, and `iss` and `aud`. `now` is in seconds since the epoch."""
        key, made = self._ciphers.to_seal(now), self._made
        if made is None or made.key is not key:
            kid = f"{key.key_id.hex()}.{key.hour:x}"
            header = Header("dir", kid, self._typ, "A256GCM", _CONTENT[self._text]).packed()
            made = self._made = _Known(header, key, self._text == "json", True)
        whole = self._about | claims
        text: bytes = write_json(whole) if made.is_json else packb(whole)
        nonce = new_nonce()
        sealed = key.cipher.encrypt(nonce, text, made.text)
        parts = pack(nonce), pack(sealed[:-TAG_BYTES]), pack(sealed[-TAG_BYTES:])
        return b"%b..%b.%b.%b" % (made.text, *parts)

    def open(self, token: bytes, now: float) -> dict[str, Any]:
        """The claims of a token that is good at `now`. Raises `BadToken` for anything else, and nothing more."""
        if self._look() != self._known_in:
            # A header that names a removed key is not recognised any more.
            self._known, self._known_in = {}, self._ciphers.state()
        # The key that others would find wrapped between these two dots is ours already (RFC 7518, 4.5).
        header, _, rest = token.partition(b"..")
        if len(rest) <= AROUND_CHARACTERS or rest[FIRST_DOT] != _DOT or rest[SECOND_DOT] != _DOT:
            raise BadToken("malformed")
        headers = self._known
        known = headers.get(header)
        if known is not None:
            plain = known.key.open(*unpack_sealed(rest), header)
        else:
            known = self._read(header, now)
            plain = self._ciphers.open(known.key, *unpack_sealed(rest), header)
            if len(headers) >= _KEPT:
                headers.clear()
            headers[header] = known
        found = read_json(plain) if known.is_json else _unpacked(plain)
        rules.check(found, issuer=self._issuer, audience=self._audience, now=now)
        return found

    def is_newest(self, token: bytes) -> bool:
        """Whether a good token was made under the newest key of the ring, of whatever hour."""
        known = self._known.get(token[: token.find(b".")])
        return known is not None and known.is_newest

    def key(self, kid: str) -> bytes:
        """The key with this id, 32 bytes, for whoever else is to open tokens. Raises `BadToken`."""
        return self._ciphers.key(*_parts_of(kid))

    def _read(self, text: bytes, now: float) -> _Known:
        header = read_header(text)
        if header.alg != "dir" or header.enc != "A256GCM":
            raise BadToken("wrong algorithm")
        if header.typ != self._typ:
            raise BadToken("wrong type")
        if header.cty not in _CONTENT.values():
            raise BadToken("header not allowed")
        key = self._ciphers.to_open(*_parts_of(header.kid), now)
        return _Known(text, key, header.cty is None, self._ciphers.is_newest(key.key_id))


def _parts_of(kid: str) -> tuple[bytes, int]:
    match = _KEY_ID.fullmatch(kid)
    if match is None:
        raise BadToken("unknown key")
    return bytes.fromhex(match[1]), int(match[2], 16)


def _unpacked(plain: bytes) -> dict[str, Any]:
    # Only what was sealed with our key gets here.
    try:
        found = unpackb(plain)
    except (ValueError, TypeError):
        raise BadToken("malformed") from None
    if type(found) is not dict:
        raise BadToken("malformed")
    return found
