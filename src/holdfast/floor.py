"""What a browser has seen: the floor under its reads, and the pin that makes them strong for a moment (design §7).

A copy of a session may be shown to a browser if it is at least as new as what that browser knows. The floor says
what it knows: the version and tag of the newest record that a response has shown or acknowledged, authenticated
and bound to the identity. Responses overtake each other, so an older floor can land last; the pin covers that. Its
value is constant, so no late response can turn it back: while it lives, reads are strong, and when it dies, every
copy that is older than the last write is older than copies may be.
"""

from __future__ import annotations

import struct
from base64 import urlsafe_b64encode
from typing import NamedTuple

from .cookies import unpack_token
from .errors import BadToken
from .keyring import Keyring
from .record import Record

_VERSION = b"\x01"
_BODY = struct.Struct(">Q8sdd")


class Floor(NamedTuple):
    """The newest record that a browser has seen. Times are seconds since the epoch.

    `expires_at` is that record's: until then the store has to have it, or one that came after it.
    `strong_until` says the same as the pin, for hosts that pass one cookie only.
    """

    version: int
    tag: bytes
    expires_at: float
    strong_until: float

    def is_below(self, record: Record) -> bool:
        """Whether the record is news to the browser."""
        return record.version > self.version or (record.version == self.version and record.tag != self.tag)

    def admits(self, record: Record) -> bool:
        """Whether showing the record would not take the browser back."""
        return record.version > self.version or (record.version == self.version and record.tag == self.tag)


class FloorToken:
    """Makes and reads the token that carries a floor. It is no credential: without it, reads are strong."""

    def __init__(self, keyring: Keyring, name: str) -> None:
        self._marker = keyring.marker(f"floor of {name}")

    def make(self, floor: Floor, identity: bytes) -> str:
        """The token for the browser that holds this identity."""
        body = _VERSION + _BODY.pack(floor.version, floor.tag, floor.expires_at, floor.strong_until)
        return urlsafe_b64encode(self._marker.mark(body, identity)).decode()

    def read(self, token: bytes | None, identity: bytes) -> Floor | None:
        """The floor in a token; None if there is none, or it is not ours or another identity's: never zero."""
        if token is None:
            return None
        try:
            body = self._marker.unmark(unpack_token(token), identity)
        except BadToken:
            return None
        if body[:1] != _VERSION or len(body) != 1 + _BODY.size:
            return None
        return Floor(*_BODY.unpack_from(body, 1))
