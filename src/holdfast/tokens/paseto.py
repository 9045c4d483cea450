"""PASETO version 4 (https://github.com/paseto-standard/paseto-spec): local, encrypted; public, signed with Ed25519.

The cryptography is pyseto's; the parts of a token are read here, each in its one spelling. The purpose of a token is
bound into it as implicit assertion, besides its key. The footer says which key it is, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from pyseto import Key, PysetoError

from ..errors import BadToken, ConfigError
from ..keyring import Keyring
from . import claims as rules
from .compact import pack, read_json, unpack, write_json

_TIMES = ("exp", "nbf", "iat")
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)
_MAX_FOOTER_BYTES = 128
_OVERHEAD_BYTES = {"local": 64, "public": 64}  # nonce and MAC; signature


class _Known(NamedTuple):
    """A key of the ring: pyseto's, and the footer of the tokens that are made with it."""

    key: Any
    footer: bytes


class Paseto:
    """Makes and opens the PASETO tokens of one purpose. Raises `ConfigError` for an unknown kind.

    The claims `exp`, `nbf` and `iat` are seconds here, and in a token what PASETO says: ISO 8601.
    """

    def __init__(
        self,
        keyring: Keyring,
        purpose: str,
        *,
        issuer: str,
        audience: str,
        kind: Literal["local", "public"] = "local",
    ) -> None:
        if kind not in _OVERHEAD_BYTES:
            raise ConfigError(f"kind={kind!r} is unknown: PASETO has 'local' and 'public'")
        self._keys = keyring.derived(f"paseto v4 {kind} {purpose}")
        self._issuer, self._audience, self._kind = issuer, audience, kind
        self.bound = f"holdfast {purpose}".encode()
        self._head = f"v4.{kind}.".encode()
        self._prepared: dict[bytes, _Known] = {}

    def seal(self, claims: Mapping[str, Any], now: float) -> bytes:
        """A token with these claims, and `iss` and `aud`."""
        key, footer = self._of(self._keys.newest()[0])
        whole = {"iss": self._issuer, "aud": self._audience, **claims}
        whole.update({name: _written(whole[name]) for name in _TIMES if name in whole})
        text = write_json(whole)
        if self._kind == "local":
            token: bytes = key.encrypt(text, footer, self.bound)
            return token
        return self._head + pack(text + key.sign(text, footer, self.bound)) + b"." + pack(footer)

    def open(self, token: bytes, now: float) -> dict[str, Any]:
        """The claims of a token that is good at `now`. Raises `BadToken` for anything else, and nothing more."""
        if not token.startswith(self._head):
            raise BadToken("wrong type" if token.startswith(b"v") else "malformed")
        body, dot, footer = token[len(self._head) :].partition(b".")
        if not dot or len(footer) > _MAX_FOOTER_BYTES:
            raise BadToken("malformed")
        sealed, said = unpack(body), unpack(footer)
        key, _ = self._of(self._key_id(said))
        if len(sealed) <= _OVERHEAD_BYTES[self._kind]:
            raise BadToken("malformed")
        try:
            text = (key.decrypt if self._kind == "local" else key.verify)(sealed, said, self.bound)
        except (PysetoError, ValueError):
            raise BadToken("bad mac" if self._kind == "local" else "bad signature") from None
        found = read_json(text)
        found.update({name: _read(found[name]) for name in _TIMES if name in found})
        rules.check(found, issuer=self._issuer, audience=self._audience, now=now)
        return found

    def is_newest(self, token: bytes) -> bool:
        """Whether a good token was made with the newest key of the ring."""
        return self._key_id(unpack(token.rpartition(b".")[2])) == self._keys.newest()[0]

    def public_keys(self) -> list[dict[str, str]]:
        """The public halves of all keys as PASERK (`k4.public.…`) with their ids, newest first; none if local."""
        if self._kind == "local":
            return []
        found = []
        for key_id in self._keys.all():
            public = self._of(key_id).key._key.public_key().public_bytes_raw()
            found.append({"kid": key_id.hex(), "paserk": f"k4.public.{pack(public).decode()}"})
        return found

    def _key_id(self, footer: bytes) -> bytes:
        """The key that a footer names, if it says nothing else. Raises `BadToken`."""
        newest = self._keys.newest()[0]
        known = self._prepared.get(newest)
        if known is not None and known.footer == footer:
            return newest
        said = read_json(footer)
        kid = said.get("kid")
        if said.keys() != {"kid"} or type(kid) is not str:
            raise BadToken("header not allowed")
        if not _KEY_ID.fullmatch(kid):
            raise BadToken("unknown key")
        return bytes.fromhex(kid)

    def _of(self, key_id: bytes) -> _Known:
        raw = self._keys.get(key_id)
        if raw is None:
            raise BadToken("unknown key")
        known = self._prepared.get(key_id)
        if known is None:
            key = _local(raw) if self._kind == "local" else _public(raw)
            known = self._prepared[key_id] = _Known(key, write_json({"kid": key_id.hex()}))
        return known


def _local(raw: bytes) -> Any:
    return Key.new(version=4, purpose="local", key=raw)


def _public(raw: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = Ed25519PrivateKey.from_private_bytes(raw)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Key.new(version=4, purpose="public", key=pem)


@lru_cache(maxsize=64)  # a token's `nbf` and `iat`, and those of all tokens of that second, are the same
def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _read(text: object) -> float:
    try:
        if isinstance(text, str) and (moment := datetime.fromisoformat(text)).tzinfo is not None:
            return moment.timestamp()
    except (ValueError, OverflowError):
        pass
    raise BadToken("malformed")
