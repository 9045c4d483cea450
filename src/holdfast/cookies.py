"""The tokens that travel with requests and responses: read from `Cookie`, written to `Set-Cookie` (RFC 6265bis).

Any byte of a request is hostile. What is not exactly a token of ours, for this purpose and by one of our
keys, is refused here, before a store hears of it.
"""

from __future__ import annotations

import os
import re
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from hashlib import sha256
from math import ceil
from typing import NamedTuple

from .errors import BadToken, ConfigError
from .keyring import KEY_ID_BYTES, MAC_BYTES, Keyring

_IDENTITY_BYTES = 32
_VERSION = b"\x01"
# Identity and floor are of one size, 69 bytes: whole groups of base64, without padding.
_TOKEN_BYTES = KEY_ID_BYTES + len(_VERSION) + _IDENTITY_BYTES + MAC_BYTES
_TOKEN_CHARACTERS = _TOKEN_BYTES * 4 // 3
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # an RFC 9110 token


Headers = list[tuple[bytes, bytes]]


class Sent(NamedTuple):
    """What a browser sent: the identity, if it is one of ours; whether it is pinned; floor and snapshot, unread."""

    identity: bytes | None = None
    floor: bytes | None = None
    pinned: bool = False
    snapshot: bytes | None = None


NOTHING = Sent()


def new_identity() -> bytes:
    """32 bytes from the operating system, asked for now: a restored snapshot or a fork never repeats them."""
    return os.urandom(_IDENTITY_BYTES)


def key_of(identity: bytes) -> str:
    """The name of a session at rest: SHA-256 of its identity, as hex digits. No secret: it opens nothing."""
    return sha256(identity).hexdigest()


def unpack_token(token: bytes) -> bytes:
    """The bytes of a token of ours, each in exactly one spelling. Raises `BadToken`."""
    if len(token) != _TOKEN_CHARACTERS or token.translate(None, _ALPHABET):
        raise BadToken("malformed")
    return a2b_base64(token.translate(_FROM_URL_SAFE))


class IdentityToken:
    """Makes and reads the token that carries an identity, bound to the name that it travels under."""

    def __init__(self, keyring: Keyring, name: str) -> None:
        self._marker = keyring.marker(f"identity cookie {name}")
        self.state = keyring.look  # changes when what was good before may not be any more

    def make(self, identity: bytes) -> str:
        """The token, by the newest key."""
        return urlsafe_b64encode(self._marker.mark(_VERSION + identity)).decode()

    def read(self, token: bytes) -> bytes:
        """The identity in a token. Raises `BadToken`."""
        body = self._marker.unmark(unpack_token(token))
        if body[:1] != _VERSION:
            raise BadToken("unknown version")
        return body[1:]


class Cookies:
    """Reads and writes the cookies of one application.

    `name` gets the prefix `__Host-`, by which browsers let no other host and no plain-http page set it; a
    name that begins with `__` is taken as it is, for hosts that pass one cookie only: the floor then rides in
    it. `insecure_http` drops the prefix and `Secure`, for development over plain http. Raises `ConfigError`
    for a name that no cookie can have.
    """

    vary = b"Cookie"

    def __init__(self, keyring: Keyring, name: str, *, insecure_http: bool) -> None:
        if not _COOKIE_NAME.fullmatch(name):
            raise ConfigError(f"{name!r} cannot be the name of a cookie")
        self.is_single = name.startswith("__")
        if insecure_http and self.is_single:
            raise ConfigError(f"over plain http browsers refuse a cookie {name}: choose another cookie_name")
        self.name = name if self.is_single or insecure_http else f"__Host-{name}"
        self._identity = IdentityToken(keyring, self.name)
        self.state = self._identity.state
        self._name = self.name.encode()
        self._pair = re.compile(
            rb"(?:^|;)[ \t]*%b(-floor|-pin|-long-pin|-snapshot)?[ \t]*=[ \t]*([^;]*)" % re.escape(self._name)
        )
        self._attributes = "Path=/; HttpOnly; SameSite=Lax" + ("" if insecure_http else "; Secure")

    def read(self, header: bytes) -> Sent:
        """What is in a request's `Cookie` header (several are joined by `; `).

        Raises `BadToken` for anything but at most one identity, and that one ours.
        """
        if self._name not in header:
            return NOTHING
        identity = floor = snapshot = None
        pinned = False
        for kind, value in self._pair.findall(header):
            if kind in (b"-pin", b"-long-pin"):
                pinned = True  # by whatever value: to read strongly is never wrong
            elif kind == b"-floor":
                # Of two, neither counts: no rule tells which one was planted.
                floor = value.rstrip(b" \t") if floor is None else b""
            elif kind == b"-snapshot":
                snapshot = value.rstrip(b" \t") if snapshot is None else b""
            elif identity is not None:
                raise BadToken("duplicated")
            else:
                identity = value.rstrip(b" \t")
        if identity is None:
            return NOTHING
        if self.is_single:
            identity, _, rider = identity.partition(b".")
            floor = rider or None
        return Sent(self._identity.read(identity), floor, pinned, snapshot)

    def open(self, token: bytes) -> bytes:
        """The identity in a token. Raises `BadToken`."""
        return self._identity.read(token)

    def token(self, identity: bytes) -> str:
        """The token that carries the identity, by the newest key."""
        return self._identity.make(identity)

    def write(
        self,
        identity: bytes,
        *,
        fresh: bool,
        floor: str | None,
        max_age: float,
        pin_seconds: float,
        long: bool,
        snapshot: str | None = None,
        snapshot_seconds: float = 0.0,
    ) -> Headers:
        """The headers that tell a browser what it has not got yet.

        The identity if it is a `fresh` one, for `max_age` seconds, and by no other response: one that comes late
        must not bring an old identity back. The `floor`, and with it the pin, for `pin_seconds`. A `long` pin is
        a cookie of its own: a short one that comes late must not shorten it. A `snapshot`, for `snapshot_seconds`;
        an empty one makes the browser forget what it has.
        """
        if self.is_single:
            rider = f".{floor}" if floor else ""
            return [self.line(self.name, self.token(identity) + rider, max_age)]
        headers = [self.line(self.name, self.token(identity), max_age)] if fresh else []
        if floor is not None:
            headers.append(self.line(f"{self.name}-floor", floor, max_age))
            headers.append(self.line(f"{self.name}-{'long-pin' if long else 'pin'}", "1", pin_seconds))
        if snapshot is not None:
            headers.append(self.line(f"{self.name}-snapshot", snapshot, snapshot_seconds if snapshot else 0))
        return headers

    def clear(self, *, identity: bool, floor: bool, snapshot: bool = False) -> Headers:
        """The headers that make the browser forget its identity, its floor and pin, or its snapshot."""
        names = [self.name] if identity else []
        if floor and not self.is_single:
            names += [f"{self.name}-floor", f"{self.name}-pin", f"{self.name}-long-pin"]
        if snapshot:
            names.append(f"{self.name}-snapshot")
        return [self.line(name, "", 0) for name in names]

    def line(self, name: str, value: str, max_age: float) -> tuple[bytes, bytes]:
        """The header that sets a cookie of this application for `max_age` seconds; 0 makes the browser forget it."""
        line = f"{name}={value}; Max-Age={ceil(max_age)}; {self._attributes}"
        return b"set-cookie", line.encode("latin-1")
