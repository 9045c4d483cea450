"""What is derived from a keyring: keys for one purpose, and the MACs that are made with them.

No secret is used as it is: each purpose (a kind of cookie, of an application) has a key of its own, so that no token
can be used in the place of another. What is prepared here is made anew when the ring has changed, and replaced as a
whole: threads see all of one state or all of the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from hmac import compare_digest
from typing import TYPE_CHECKING, NamedTuple

from .errors import BadToken
from .key import KEY_ID_BYTES, derive

if TYPE_CHECKING:
    from .keyring import Keyring

MAC_BYTES = 32


class _Keys(NamedTuple):
    """The keys of one state of the ring."""

    state: int
    newest: bytes
    by_id: Mapping[bytes, bytes]


class DerivedKeys:
    """The keys of a ring for one purpose: 32 bytes each, by the id of the ring's key that it comes from."""

    def __init__(self, ring: Keyring, purpose: str) -> None:
        self._ring = ring
        self._purpose = purpose
        self._current = _Keys(-1, b"", {})
        # Which state the keys are in: what was prepared from them in another one is out of date.
        self.state = ring.look
        self.seek = ring.seek

    def newest(self) -> tuple[bytes, bytes]:
        """Id and key to make tokens with."""
        now = self._now()
        return now.newest, now.by_id[now.newest]

    def get(self, key_id: bytes) -> bytes | None:
        """The key with this id, None if it is not in the ring."""
        key = self._now().by_id.get(key_id)
        if key is None and self.seek():
            key = self._now().by_id.get(key_id)
        return key

    def all(self) -> Mapping[bytes, bytes]:
        """Every key by its id, the newest first."""
        return self._now().by_id

    def _now(self) -> _Keys:
        current = self._current
        if self.state() != current.state:
            state = self._ring.state
            by_id = {key.id: derive(key, self._purpose) for key in state.by_id.values()}
            current = self._current = _Keys(state.number, state.newest.id, by_id)
        return current


class _Prepared(NamedTuple):
    """Keyed hashes of one state of the ring."""

    state: int
    newest: bytes
    hashes: Mapping[bytes, blake2b]


class Marker:
    """Marks bodies with a MAC, keyed BLAKE2b (RFC 7693), under the keys derived for one purpose."""

    def __init__(self, keys: DerivedKeys) -> None:
        self._keys = keys
        self._current = self._prepare()

    def mark(self, body: bytes, bound: bytes = b"") -> bytes:
        """Id of the newest key, `body`, and a MAC over both, and over `bound`, which is not in the token.

        Bodies of one purpose have one length, so that no byte can pass from the one to the other.
        """
        prepared = self._now()
        mac = prepared.hashes[prepared.newest].copy()
        mac.update(body + bound)
        return prepared.newest + body + mac.digest()

    def unmark(self, token: bytes, bound: bytes = b"") -> bytes:
        """The body of what `mark` made for the same purpose and `bound`, by any key of the ring.

        Raises `BadToken` with the reason "malformed", "unknown key" or "bad mac"; compares in constant time.
        """
        body = token[KEY_ID_BYTES:-MAC_BYTES]
        if not body:
            raise BadToken("malformed")
        key_id = token[:KEY_ID_BYTES]
        keyed = self._now().hashes.get(key_id)
        if keyed is None and self._keys.seek():
            keyed = self._now().hashes.get(key_id)
        if keyed is None:
            raise BadToken("unknown key")
        mac = keyed.copy()
        mac.update(body + bound)
        if not compare_digest(token[-MAC_BYTES:], mac.digest()):
            raise BadToken("bad mac")
        return body

    def is_newest(self, token: bytes) -> bool:
        """Whether a good token was made with the key that makes tokens now."""
        return token[:KEY_ID_BYTES] == self._now().newest

    def _now(self) -> _Prepared:
        current = self._current
        if self._keys.state() != current.state:
            current = self._current = self._prepare()
        return current

    def _prepare(self) -> _Prepared:
        keys = self._keys._now()
        # Copying a prepared hash is quicker than keying a new one.
        hashes = {
            key_id: blake2b(key_id, key=key, digest_size=MAC_BYTES, person=b"holdfast-mac")
            for key_id, key in keys.by_id.items()
        }
        return _Prepared(keys.state, keys.newest, hashes)
