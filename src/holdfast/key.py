"""One key of a keyring, and the line of text that stands for it.

A line is a secret, or a secret with the UTC time from which it makes tokens: `SECRET@2026-11-23T20:00:00Z`. Nothing
here shows a secret or what comes from it, neither in an error nor when it is printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from .errors import ConfigError

KEY_ID_BYTES = 4
MIN_SECRET_BYTES = 32
HOW = "make one with: holdfast keys new"

# What begins like a date behind the last @ is meant as one; any other @ belongs to the secret.
_WITH_TIME = re.compile(r"(.*)@(\d{4}-.*)", re.DOTALL | re.ASCII)
# A path or a URL that was given in the place of what is there. Random secrets look like neither, but those in base64
# may begin with a slash: they have capitals and digits, and none of a path's other signs.
_PLACE = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://\S*|(?:~|\.{1,2})/\S*|/(?:\S*[._-]\S*|[^\sA-Z]*|[^\s0-9]*)", re.ASCII
)


class Key(NamedTuple):
    """One key of a ring: its public id, what keys are derived from, and since when (epoch) it makes tokens."""

    id: bytes
    root: bytes
    makes_from: float

    def __repr__(self) -> str:
        return f"Key(id={self.id.hex()}, makes_from={self.makes_from})"


def key_of_secret(secret: str | bytes) -> Key:
    """The key that a secret, and the time beside it, stand for. Raises `ConfigError` for an unfit one."""
    makes_from = 0.0
    if not isinstance(secret, str | bytes):
        raise ConfigError(f"a key is text or bytes, not {type(secret).__name__}; {HOW}")
    if isinstance(secret, str) and (match := _WITH_TIME.fullmatch(secret)):
        secret, makes_from = match[1], _moment(match[2])
    if isinstance(secret, str) and _PLACE.fullmatch(secret):
        raise ConfigError(
            "a key looks like the path or URL of a place, which others can guess: give the place as one text, "
            f"keys='file:///path' or another URL; {HOW}"
        )
    try:
        raw = secret.encode() if isinstance(secret, str) else secret
    except UnicodeEncodeError:
        # What stands there is not shown: it is a secret all the same.
        raise ConfigError(f"a key holds characters that no text has; {HOW}") from None
    if len(raw) < MIN_SECRET_BYTES:
        raise ConfigError(f"a key of {len(raw)} bytes is too short, 32 are needed; {HOW}")
    if len(set(raw)) < 8:
        raise ConfigError(f"a key of only {len(set(raw))} different bytes can be guessed; {HOW}")
    key_id = blake2b(raw, digest_size=KEY_ID_BYTES, person=b"holdfast-key-id").digest()
    return Key(key_id, blake2b(raw, digest_size=32, person=b"holdfast-root").digest(), makes_from)


def keys_of_secrets(secrets: Iterable[str | bytes]) -> dict[bytes, Key]:
    """The keys by their ids, in the order of the secrets; one that stands there twice counts once.

    Raises `ConfigError` if there is none, or one of them is unfit.
    """
    keys: dict[bytes, Key] = {}
    for secret in secrets:
        key = key_of_secret(secret)
        if keys.setdefault(key.id, key).root != key.root:
            raise ConfigError(f"two different keys have the id {key.id.hex()}: replace one of them; {HOW}")
    if not keys:
        raise ConfigError(f"there is no key; {HOW}")
    return keys


def derive(key: Key, purpose: str) -> bytes:
    """The 32 bytes that this key is for one purpose."""
    return blake2b(purpose.encode(), key=key.root, digest_size=32, person=b"holdfast-purpose").digest()


def _moment(text: str) -> float:
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        # What stands there is not repeated: it may be the end of a secret.
        raise ConfigError("behind the last @ of a key stands no UTC time such as 2026-11-23T20:00:00Z")
    return moment.timestamp()
