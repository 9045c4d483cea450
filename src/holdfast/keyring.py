"""The secrets that authenticate what clients hold: several at once, so that they can be rotated.

The newest key marks, every key is accepted; adding a key in front and, a session's lifetime later, removing
the oldest one logs nobody out. No secret is used as it is: each purpose (a kind of cookie, of an application)
has a key of its own derived from it, so that no token can be used in the place of another.
"""

from __future__ import annotations

import os
import secrets as random
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import blake2b
from hmac import compare_digest

from .errors import BadToken, ConfigError

KEY_ID_BYTES = 4
MAC_BYTES = 32
_MIN_SECRET_BYTES = 32
_HOW = "make one with: holdfast keys new"


class Keyring:
    """One or more secrets, newest first.

    A secret is text or bytes of at least 32 bytes that cannot be guessed, such as `holdfast keys new` prints.
    Raises `ConfigError` for an empty ring, or a secret that is too short or visibly not random.
    """

    def __init__(self, secrets: Iterable[str | bytes]) -> None:
        self._keys: dict[bytes, bytes] = {}  # by key id, newest first
        for secret in secrets:
            raw = secret.encode() if isinstance(secret, str) else bytes(secret)
            if len(raw) < _MIN_SECRET_BYTES:
                raise ConfigError(f"a key of {len(raw)} bytes is too short, 32 are needed; {_HOW}")
            if len(set(raw)) < 8:
                raise ConfigError(f"a key of only {len(set(raw))} different bytes can be guessed; {_HOW}")
            key_id = blake2b(raw, digest_size=KEY_ID_BYTES, person=b"holdfast-key-id").digest()
            self._keys.setdefault(key_id, blake2b(raw, digest_size=32, person=b"holdfast-root").digest())
        if not self._keys:
            raise ConfigError(f"there is no key; {_HOW}")

    @staticmethod
    def new_secret() -> str:
        """A fresh secret of 256 random bits, as text for an environment variable or a key file."""
        return random.token_urlsafe(32)

    @classmethod
    def generate(cls) -> Keyring:
        """A ring of one fresh secret that nobody else has: for tests, and for one process on its own."""
        return cls([cls.new_secret()])

    @classmethod
    def from_env(cls, name: str = "HOLDFAST_KEYS") -> Keyring:
        """The keys in an environment variable, newest first, separated by commas or white space.

        Raises `ConfigError` if the variable is missing or a key in it is unfit.
        """
        text = os.environ.get(name, "")
        if not text.strip():
            raise ConfigError(f"{name} is not set; {_HOW}")
        return cls(text.replace(",", " ").split())

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, create: bool = False) -> Keyring:
        """The keys in a file, newest first, one a line; empty lines and lines with `#` in front do not count.

        With `create`, a missing file is made with one fresh key, readable by its owner only; of several
        processes that try at once, one makes it and all read the same. Raises `ConfigError` if the file
        cannot be read or made, or a key in it is unfit.
        """
        try:
            if create and not os.path.exists(path):
                _make_key_file(os.fspath(path), cls.new_secret())
            with open(path, encoding="utf-8") as file:
                lines = [line.strip() for line in file]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the key file {os.fspath(path)} cannot be used ({error}); {_HOW}") from error
        return cls(line for line in lines if line and not line.startswith("#"))

    @classmethod
    def of(cls, keys: Keyring | str | bytes | Iterable[str | bytes]) -> Keyring:
        """A keyring from whatever `Sessions(keys=…)` takes: a ring, one secret, or a list, newest first."""
        if isinstance(keys, Keyring):
            return keys
        return cls([keys] if isinstance(keys, str | bytes) else keys)

    @property
    def key_ids(self) -> list[str]:
        """The public ids of the keys, newest first, in hexadecimal digits."""
        return [key_id.hex() for key_id in self._keys]

    def marker(self, purpose: str) -> Marker:
        """What marks and checks tokens of one purpose, for example one kind of cookie of one application."""
        return Marker({key_id: _derive(key, purpose) for key_id, key in self._keys.items()})

    def __repr__(self) -> str:
        return f"Keyring(key_ids={self.key_ids})"


class Marker:
    """Marks bodies with a MAC, keyed BLAKE2b (RFC 7693), under the keys derived for one purpose."""

    def __init__(self, keys: Mapping[bytes, bytes]) -> None:
        # Copying a prepared hash is quicker than keying a new one.
        self._prepared = {
            key_id: blake2b(key_id, key=key, digest_size=MAC_BYTES, person=b"holdfast-mac")
            for key_id, key in keys.items()
        }
        self._newest = next(iter(keys))

    def mark(self, body: bytes, bound: bytes = b"") -> bytes:
        """Id of the newest key, `body`, and a MAC over both, and over `bound`, which is not in the token.

        Bodies of one purpose have one length, so that no byte can pass from the one to the other.
        """
        mac = self._prepared[self._newest].copy()
        mac.update(body + bound)
        return self._newest + body + mac.digest()

    def unmark(self, token: bytes, bound: bytes = b"") -> bytes:
        """The body of what `mark` made for the same purpose and `bound`, by any key of the ring.

        Raises `BadToken` with the reason "malformed", "unknown key" or "bad mac"; compares in constant time.
        """
        body = token[KEY_ID_BYTES:-MAC_BYTES]
        if not body:
            raise BadToken("malformed")
        prepared = self._prepared.get(token[:KEY_ID_BYTES])
        if prepared is None:
            raise BadToken("unknown key")
        mac = prepared.copy()
        mac.update(body + bound)
        if not compare_digest(token[-MAC_BYTES:], mac.digest()):
            raise BadToken("bad mac")
        return body


def _derive(key: bytes, purpose: str) -> bytes:
    return blake2b(purpose.encode(), key=key, digest_size=32, person=b"holdfast-purpose").digest()


def _make_key_file(path: str, secret: str) -> None:
    """Make the file whole under another name, then link it: nobody ever reads half of it, or a second key."""
    draft = f"{path}.{os.getpid()}.{random.token_hex(4)}"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{secret}\n")
        with suppress(FileExistsError):  # somebody else was first: theirs is the key
            os.link(draft, path)
    finally:
        os.unlink(draft)
