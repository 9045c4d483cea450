"""Snapshots: sealed copies of stored sessions that their browsers carry for a moment (design §1 and §7).

Like any copy, a snapshot answers only if it is young enough, not below the browser's floor and not revoked, and it
never decides about a write. It is sealed for one identity: in another browser's hand it is nothing. Values that are
private stay behind, and what they are called is told.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from msgpack import packb, unpackb

from ..copies import pack as pack_copy
from ..copies import unpack as unpack_copy
from ..errors import BadToken
from ..keyring import Keyring
from ..record import Record
from . import Secrecy
from .ciphers import NONCE_BYTES, TAG_BYTES, HourlyCiphers, new_nonce
from .compact import pack, unpack

# With its name and attributes a cookie of this size stays within what browsers take.
MOST_CHARACTERS = 3 * 1024

# As with the shared cache's copies, clocks of instances are taken to differ by no more.
_CLOCKS_DIFFER_SECONDS = 1.0

# A browser sends its snapshot with each request of a page: those that were opened last are recognised.
_ALL_OPENED_BYTES = 2**20

# What is sealed: a copy of the whole record, or the names of what is withheld and a copy of the rest.
_WHOLE, _PARTIAL = 1, 2
_HEAD = struct.Struct(">B4sI")  # which of the two, id of the ring's key, hour
_NONCE_AT, _SEALED_AT = _HEAD.size, _HEAD.size + NONCE_BYTES
_AROUND_BYTES = _SEALED_AT + TAG_BYTES
_NOTHING: frozenset[str] = frozenset()


class Snapshot(NamedTuple):
    """A record as a browser has it: the newest one at `as_of` (seconds since the epoch), `withheld` left out."""

    record: Record
    as_of: float
    withheld: frozenset[str]


class SnapshotToken:
    """Makes and reads the token that carries a snapshot. It is no credential: without it, another home answers."""

    def __init__(self, keyring: Keyring, name: str, private: Secrecy) -> None:
        self._ciphers = HourlyCiphers(keyring, f"snapshot of {name}")
        self.state = self._ciphers.state  # changes when what was good before may not be any more
        self._private = private

    def make(self, record: Record, as_of: float, identity: bytes, now: float) -> str | None:
        """The token for the browser that holds this identity; None for a record that is too large for it."""
        withheld = [name for name in record.values if name in self._private] if self._private else []
        if withheld:
            kept = {name: data for name, data in record.values.items() if name not in self._private}
            record = record._replace(values=kept)
        text = pack_copy(record, as_of)
        if withheld:
            text = packb((withheld, text))
        if (len(text) + _AROUND_BYTES) * 4 / 3 > MOST_CHARACTERS:
            return None
        key = self._ciphers.to_seal(now)
        head = _HEAD.pack(_PARTIAL if withheld else _WHOLE, key.key_id, key.hour)
        nonce = new_nonce()
        return pack(head + nonce + key.cipher.encrypt(nonce, text, head + identity)).decode()

    def read(self, token: bytes, identity: bytes, now: float) -> Snapshot | None:
        """The snapshot in a token; None if it is not ours, or another identity's."""
        if len(token) > MOST_CHARACTERS:
            return None
        try:
            raw = unpack(token)
            if len(raw) <= _AROUND_BYTES:
                return None
            form, key_id, hour = _HEAD.unpack_from(raw)
            if form != _WHOLE and form != _PARTIAL:
                return None
            nonce, sealed, bound = raw[_NONCE_AT:_SEALED_AT], raw[_SEALED_AT:], raw[:_NONCE_AT] + identity
            text = self._ciphers.open_under(key_id, hour, nonce, sealed, bound, now)
            if form == _WHOLE:
                return Snapshot(*unpack_copy(text), _NOTHING)
            withheld, text = unpackb(text)
            return Snapshot(*unpack_copy(text), frozenset(withheld))
        except (BadToken, ValueError):
            return None


class Snapshots:
    """What an application does with snapshots: `life` is how old one may be, in seconds.

    An ending reaches every instance within `revoke_within` seconds. So a snapshot that is no older than `trusted` is
    shown without asking which sessions have ended since. As clocks differ, it is older than it looks by as much.
    """

    def __init__(self, token: SnapshotToken, *, life: float, revoke_within: float) -> None:
        self._token = token
        self.life = life
        self.longest_life = life + _CLOCKS_DIFFER_SECONDS
        self.trusted = revoke_within - _CLOCKS_DIFFER_SECONDS
        self._opened: dict[bytes, tuple[bytes, Snapshot]] = {}
        self._opened_bytes = 0
        self._opened_in = token.state()

    def open(self, token: bytes, identity: bytes, now: float) -> Snapshot | None:
        """The snapshot, if it is one for this identity and young enough.

        A clock that is behind the one of the instance that made it could take it for younger than it is; one that is
        behind by more than a moment takes it for none.
        """
        found = self._open(token, identity, now)
        if found is None or not -_CLOCKS_DIFFER_SECONDS <= now - found.as_of <= self.life:
            return None
        return found

    def make(self, record: Record, as_of: float, identity: bytes, now: float) -> str | None:
        """See `SnapshotToken.make`."""
        return self._token.make(record, as_of, identity, now)

    def _open(self, token: bytes, identity: bytes, now: float) -> Snapshot | None:
        """What is in a token, whatever its age.

        To be recognised, it has to be equal to one that was opened, and to be sent with the same identity.
        """
        if (state := self._token.state()) != self._opened_in:
            self._opened, self._opened_bytes, self._opened_in = {}, 0, state
        opened = self._opened  # taken before the keys are: another thread may find them changed meanwhile
        known = opened.get(token)
        if known is not None and known[0] == identity:
            return known[1]
        found = self._token.read(token, identity, now)
        if found is not None:
            self._opened_bytes += 2 * len(token)  # and about as much for what is in it
            if self._opened_bytes > _ALL_OPENED_BYTES:
                opened.clear()
                self._opened_bytes = 2 * len(token)
            opened[token] = identity, found
        return found
