"""The identity cookie: read from `Cookie`, written to `Set-Cookie` (RFC 6265bis).

Any byte of a request is hostile. What is not exactly a token of ours, for this purpose and by one of our
keys, is refused here, before a store hears of it.
"""

from __future__ import annotations

import os
import re
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from hashlib import sha256

from .errors import BadToken, ConfigError
from .keyring import KEY_ID_BYTES, MAC_BYTES, Keyring

_IDENTITY_BYTES = 32
_VERSION = b"\x01"
_TOKEN_BYTES = KEY_ID_BYTES + len(_VERSION) + _IDENTITY_BYTES + MAC_BYTES  # 69
_TOKEN_CHARACTERS = _TOKEN_BYTES * 4 // 3
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # an RFC 9110 token


def new_identity() -> bytes:
    """32 bytes from the operating system, asked for now: a restored snapshot or a fork never repeats them."""
    return os.urandom(_IDENTITY_BYTES)


def key_of(identity: bytes) -> str:
    """The name of a session at rest: SHA-256 of its identity, as hex digits. No secret: it opens nothing."""
    return sha256(identity).hexdigest()


class IdentityCookie:
    """Reads and writes the cookie that names a session.

    `name` gets the prefix `__Host-`, by which browsers let no other host and no plain-http page set it; a
    name that begins with `__` is taken as it is. `insecure_http` drops the prefix and `Secure`, for
    development over plain http. Raises `ConfigError` for a name that no cookie can have.
    """

    def __init__(self, keyring: Keyring, name: str, *, insecure_http: bool) -> None:
        if not _COOKIE_NAME.fullmatch(name):
            raise ConfigError(f"{name!r} cannot be the name of a cookie")
        prefixed = name.startswith("__")
        if insecure_http and prefixed:
            raise ConfigError(
                f"browsers refuse a cookie named {name} over plain http; choose another cookie_name"
            )
        self.name = name if prefixed or insecure_http else f"__Host-{name}"
        # Bound to the kind of cookie and, by its name, to the application.
        self._marker = keyring.marker(f"identity cookie {self.name}")
        self._name = self.name.encode()
        self._pair = re.compile(rb"(?:^|;)[ \t]*%b[ \t]*=[ \t]*([^;]*)" % re.escape(self._name))
        self._attributes = "Path=/; HttpOnly; SameSite=Lax" + ("" if insecure_http else "; Secure")

    def read(self, header: bytes) -> bytes | None:
        """The identity in a request's `Cookie` header (several are joined by `; `), None if there is none.

        Raises `BadToken` for anything but exactly one token of ours.
        """
        found = self._pair.findall(header) if self._name in header else ()
        if not found:
            return None
        if len(found) > 1:
            raise BadToken("duplicated")  # one of them may be planted, and no rule tells which
        return self.open(found[0].rstrip(b" \t"))

    def open(self, token: bytes) -> bytes:
        """The identity in a token. Raises `BadToken`."""
        if len(token) != _TOKEN_CHARACTERS or token.translate(None, _ALPHABET):
            raise BadToken("malformed")
        body = self._marker.unmark(a2b_base64(token.translate(_FROM_URL_SAFE)))
        if body[:1] != _VERSION:
            raise BadToken("unknown version")
        return body[1:]

    def token(self, identity: bytes) -> str:
        """The token that carries the identity, by the newest key."""
        return urlsafe_b64encode(self._marker.mark(_VERSION + identity)).decode()

    def plant(self, identity: bytes, max_age: float) -> str:
        """The `Set-Cookie` value that gives the browser its identity for `max_age` seconds."""
        return f"{self.name}={self.token(identity)}; Max-Age={int(max_age)}; {self._attributes}"

    def clear(self) -> str:
        """The `Set-Cookie` value that makes the browser forget its identity."""
        return f"{self.name}=; Max-Age=0; {self._attributes}"
