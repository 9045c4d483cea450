"""What a `Bearer` hands to its clients: an access token that says whose session it is, and a refresh token.

An access token holds what others may know of the session. A refresh token holds nothing but the family's secret and
the number of its generation, marked by a key that is used for nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from .. import codec
from ..cookies import key_of
from ..errors import BadToken, SessionTooLarge
from ..keyring import KEY_ID_BYTES, MAC_BYTES, Keyring
from ..record import Record
from . import Secrecy, Token
from .carriers import InAuthorization
from .compact import pack, unpack
from .refresh import STATE
from .sealing import Sealing

_BODY = struct.Struct(">B32sQ")  # form, family, generation
_FORM = 1
_CHARACTERS = -(-(KEY_ID_BYTES + _BODY.size + MAC_BYTES) * 4 // 3)


class Pair(NamedTuple):
    """What a client gets: `expires_in` is the life of the access token, in seconds."""

    access: str
    refresh: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105 - what RFC 6750 calls it

    def __repr__(self) -> str:
        # Error reports show variables: these would be somebody's session.
        return f"<Pair for {self.expires_in} seconds>"

    def answer(self) -> dict[str, str | int]:
        """The body of the response, in the words of RFC 6749, 5.1; it is sent with `Cache-Control: no-store`."""
        return {
            "access_token": self.access,
            "token_type": self.token_type,
            "expires_in": self.expires_in,
            "refresh_token": self.refresh,
        }


class Claims(NamedTuple):
    """A session as an access token or the store has it: whose it is, its handle, its values, and its end (epoch)."""

    owner: str | None
    handle: str
    values: Mapping[str, Any]
    expires_at: float

    def __repr__(self) -> str:
        return f"<Claims of session {self.handle}>"


class Presented(NamedTuple):
    """What a refresh token says."""

    family: bytes
    generation: int


class Pairs:
    """Makes and reads the tokens of the Bearer of this `name`. `life` is an access token's, in seconds."""

    def __init__(self, token: Token, keyring: Keyring, name: str, *, private: Secrecy, life: float) -> None:
        self._public = token.public if token.is_readable else None
        self._private = private
        self._most = token.max_bytes
        self._sealing = Sealing(token, keyring, f"bearer {name}")
        self._marker = keyring.marker(f"refresh token {name}")
        self._carrier = InAuthorization()
        self._life = life

    def make(self, family: bytes, record: Record, generation: int, now: float) -> Pair:
        """The tokens of a generation. Raises what `access` raises."""
        access, life = self.access(key_of(family), record, now)
        refresh = pack(self._marker.mark(_BODY.pack(_FORM, family, generation)))
        return Pair(access.decode(), refresh.decode(), int(life))

    def access(self, handle: str, record: Record, now: float) -> tuple[bytes, float]:
        """An access token and its life. Raises TypeError and `SessionTooLarge` for values that cannot stand in it."""
        life = min(self._life, record.expires_at - now)
        said = record._replace(values=self._told(record.values), expires_at=now + life)
        # The family's secret stands in no access token: that names the session by its handle.
        token = self._sealing.seal(bytes.fromhex(handle), said, frozenset(), now)
        if (size := self._carrier.sent_size(token)) > self._most:
            raise SessionTooLarge(_too_large(said.values, size, self._most))
        return token, life

    def open(self, authorization: str | bytes | None, now: float) -> Claims:
        """What the access token in an `Authorization` header says. Raises `BadToken`."""
        sent = self._carrier.read([(b"authorization", _bytes(authorization or b""))])
        if sent is None:
            raise BadToken("no bearer token")
        said = self._sealing.open(sent.token, now)
        return claims_of(said.identity.hex(), said.record)

    def read(self, refresh: str | bytes) -> Presented:
        """What a refresh token says. Raises `BadToken`: "malformed", "unknown key", "bad mac"."""
        text = _bytes(refresh)
        if len(text) != _CHARACTERS:
            raise BadToken("malformed")
        body = self._marker.unmark(unpack(text))
        if body[0] != _FORM:
            raise BadToken("unknown version")
        _, family, generation = _BODY.unpack(body)
        return Presented(family, generation)

    def _told(self, values: Mapping[str, bytes]) -> dict[str, bytes]:
        """The values that an access token tells."""
        return {
            name: data
            for name, data in values.items()
            if name != STATE and name not in self._private and (self._public is None or name in self._public)
        }


def claims_of(handle: str, record: Record) -> Claims:
    """A record as its readers see it."""
    values = {name: codec.decode(data) for name, data in record.values.items() if name != STATE}
    return Claims(record.owner, handle, values, record.expires_at)


def _bytes(text: str | bytes) -> bytes:
    return text.encode("latin-1", "replace") if isinstance(text, str) else text


def _too_large(values: Mapping[str, bytes], size: int, most: int) -> str:
    largest = sorted(values, key=lambda name: -len(values[name]))[:3]
    parts = ", ".join(f"{name[:40]!r} ({len(name.encode()) + len(values[name])} bytes)" for name in largest)
    return (
        f"the access token would take {size} bytes of a request, {most} are allowed (max_bytes=); the largest keys are "
        f"{parts}. Name in private= what can stay in the store"
    )
