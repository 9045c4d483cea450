"""AES-256-GCM under keys that are used for one hour each.

With random nonces one key is good for 2**32 messages (NIST SP 800-38D, 8.3): a million a second for an hour, by all
instances together. Whoever holds the ring can derive the keys of all hours, so nothing has to be kept. Nonces come
from the operating system when something is sealed: processes, forks and restored snapshots never share them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from itertools import count
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..errors import BadToken, StoreThrottled
from ..keyring import Keyring
from .claims import LEEWAY_SECONDS
from .compact import NONCE_BYTES, TAG_BYTES

__all__ = ["KEY_SECONDS", "MOST_USES", "NONCE_BYTES", "TAG_BYTES", "HourKey", "HourlyCiphers", "new_nonce"]

KEY_SECONDS = 3600
MOST_USES = 2**32

# Prepared ciphers; another key of the ring costs some microseconds more.
_KEPT = 64


class HourKey(NamedTuple):
    """The key of one hour: the ring's key that it comes from, the hour since the epoch, and what it does."""

    key_id: bytes
    hour: int
    cipher: AESGCM

    def open(self, nonce: bytes, sealed: bytes, bound: bytes) -> bytes:
        """What was sealed under it with the same `bound`. Raises `BadToken`."""
        try:
            return self.cipher.decrypt(nonce, sealed, bound)
        except InvalidTag:
            raise BadToken("bad mac") from None


class _Making(NamedTuple):
    """What seals as long as the ring is in one state: its newest key, and how many times that was used."""

    state: int
    key: HourKey
    uses: Iterator[int]


class HourlyCiphers:
    """Seals and opens for one purpose."""

    def __init__(self, keyring: Keyring, purpose: str) -> None:
        self._keys = keyring.derived(purpose)
        self._look = keyring.look
        self._state = -1
        self._making: _Making | None = None
        self._known: dict[tuple[bytes, int], HourKey] = {}

    def state(self) -> int:
        """Which state the ring is in. What was prepared in another one is forgotten: a removed key opens nothing."""
        state = self._look()
        if state != self._state:
            self._known = {}
            self._state = state
        return state

    def to_seal(self, now: float) -> HourKey:
        """The key to seal one more message with. Raises `StoreThrottled` once it has sealed as many as it may."""
        state, hour, making = self._look(), int(now // KEY_SECONDS), self._making
        if making is None or making.state != state or making.key.hour != hour:
            making = self._making = self._to_make(state, hour, making)
        # Taking the next number is one step: no two threads are given the same.
        if next(making.uses) > MOST_USES:
            raise StoreThrottled("this hour's key has sealed as much as it safely can")
        return making.key

    def to_open(self, key_id: bytes, hour: int, now: float) -> HourKey:
        """The key of an hour that is not in the future. Raises `BadToken`."""
        self.state()
        found = self._known.get((key_id, hour))
        if found is None:
            if not 0 <= hour <= (now + LEEWAY_SECONDS) // KEY_SECONDS:
                raise BadToken("unknown key")
            found = HourKey(key_id, hour, AESGCM(self.key(key_id, hour)))
        return found

    def open(self, key: HourKey, nonce: bytes, sealed: bytes, bound: bytes) -> bytes:
        """What was sealed under the key with the same `bound`: then the key is kept. Raises `BadToken`."""
        plain = key.open(nonce, sealed, bound)
        known, name = self._known, (key.key_id, key.hour)
        # Only a key under which something good has come is worth its place; and only while it is in the ring.
        if name not in known and self._keys.get(key.key_id) is not None:
            if len(known) >= _KEPT:
                known.clear()
            known[name] = key
        return plain

    def open_under(
        self, key_id: bytes, hour: int, nonce: bytes, sealed: bytes, bound: bytes, now: float
    ) -> bytes:
        """What was sealed under the key of that hour with the same `bound`. Raises `BadToken`."""
        self.state()
        key = self._known.get((key_id, hour))
        if key is not None:
            return key.open(nonce, sealed, bound)
        return self.open(self.to_open(key_id, hour, now), nonce, sealed, bound)

    def is_newest(self, key_id: bytes) -> bool:
        """Whether it is the ring's newest key, of whatever hour."""
        return key_id == self._keys.newest()[0]

    def key(self, key_id: bytes, hour: int) -> bytes:
        """The key itself, 32 bytes. Raises `BadToken` for one that is not in the ring."""
        root = self._keys.get(key_id)
        if root is None:
            raise BadToken("unknown key")
        return blake2b(hour.to_bytes(8, "big"), key=root, digest_size=32, person=b"holdfast-hour").digest()

    def _to_make(self, state: int, hour: int, before: _Making | None) -> _Making:
        key_id = self._keys.newest()[0]
        if before is not None and before.key[:2] == (key_id, hour):
            return before._replace(state=state)
        return _Making(state, HourKey(key_id, hour, AESGCM(self.key(key_id, hour))), count(1))


def new_nonce() -> bytes:
    """12 bytes from the operating system, asked for now."""
    return os.urandom(NONCE_BYTES)
