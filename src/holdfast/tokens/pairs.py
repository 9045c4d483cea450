"""What a `Bearer` hands to its clients: an access token that says whose session it is, and a refresh token.

An access token holds what others may know of the session. A refresh token holds nothing but the family's secret and
the number of its generation, marked by a key that is used for nothing else.
"""

from __future__ import annotations

import struct
from bisect import bisect
from collections.abc import Collection, Mapping
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
from .texts import is_json

_BODY = struct.Struct(">B32sQ")  # form, family, generation
_FORM = 1
_CHARACTERS = -(-(KEY_ID_BYTES + _BODY.size + MAC_BYTES) * 4 // 3)

# By how much the token of the same values may grow in a session's life: times and version have more digits some day.
_ROOM_BYTES = 48


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
    """A session as an access token or the store has it; the times are seconds since the epoch.

    `expires_at` is the end of what was read, an access token or the session; `created_at` is when its user signed in.
    """

    owner: str | None
    handle: str
    values: Mapping[str, Any]
    expires_at: float
    created_at: float

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
        """The tokens of a generation, which tell all that is to be told.

        Raises TypeError and `SessionTooLarge` for values that cannot stand in an access token, now and ever after.
        """
        told = self._told(record.values)
        access = self._access(key_of(family), record, told, now)
        self._check_size(access, told)
        return self._pair(family, access, generation, record, now)

    def renew(self, family: bytes, record: Record, generation: int, now: float) -> tuple[Pair, list[str]]:
        """The tokens of a later generation, and the names of the values that cannot stand in them any more.

        They could when they were stored, by an application with other settings. The largest are left out first. Raises
        `SessionTooLarge` where not even a token without values is short enough.
        """
        said = self._standing(record.values)
        access = self._access(key_of(family), record, said, now)
        if self._carrier.sent_size(access) > self._most:
            said, access = self._shortened(key_of(family), record, said, now)
        left_out = [name for name in self._told(record.values) if name not in said]
        return self._pair(family, access, generation, record, now), left_out

    def check(
        self, handle: str, before: Record, changed: Mapping[str, bytes], after: Record, now: float
    ) -> None:
        """Raise TypeError or `SessionTooLarge` for a change that no access token could tell of.

        What could not stand there before is no fault of the change: a role can be taken away all the same.
        """
        told = self._standing(after.values, changed)
        access = self._access(handle, after, told, now)
        try:
            self._check_size(access, told)
        except SessionTooLarge:
            told = self._standing(before.values)
            if self._size(self._access(handle, before, told, now)) <= self._most:
                raise

    def open(self, authorization: str | bytes | None, now: float) -> Claims:
        """What the access token in an `Authorization` header says. Raises `BadToken`."""
        header = b"" if authorization is None else _bytes(authorization)
        sent = self._carrier.read([(b"authorization", header)])
        if sent is None:
            raise BadToken("no bearer token")
        said = self._sealing.open(sent.token, now)
        try:
            return claims_of(said.identity.hex(), said.record)
        except ValueError:  # values by somebody who has the key, but not our code
            raise BadToken("malformed") from None

    def read(self, refresh: str | bytes | None) -> Presented:
        """What a refresh token says. Raises `BadToken`: "malformed", "unknown key", "bad mac"."""
        text = _bytes(refresh)
        if len(text) != _CHARACTERS:
            raise BadToken("malformed")
        body = self._marker.unmark(unpack(text))
        if body[0] != _FORM:
            raise BadToken("unknown version")
        _, family, generation = _BODY.unpack(body)
        return Presented(family, generation)

    def _access(self, handle: str, record: Record, told: Mapping[str, bytes], now: float) -> bytes:
        """An access token with these values. Raises TypeError for one that cannot stand in it."""
        said = record._replace(values=told, expires_at=now + self._life_of(record, now))
        # The family's secret stands in no access token: that names the session by its handle.
        return self._sealing.seal(bytes.fromhex(handle), said, frozenset(), now)

    def _shortened(
        self, handle: str, record: Record, told: Mapping[str, bytes], now: float
    ) -> tuple[dict[str, bytes], bytes]:
        """What can be told at most if the largest values are not, and the access token. Raises `SessionTooLarge`."""
        largest = sorted(told, key=lambda name: len(told[name]), reverse=True)

        def without(count: int) -> tuple[dict[str, bytes], bytes]:
            said = {name: told[name] for name in largest[count:]}
            return said, self._access(handle, record, said, now)

        def fits(count: int) -> bool:
            return self._carrier.sent_size(without(count)[1]) <= self._most

        count = bisect(range(len(largest)), False, key=fits)
        if count == len(largest) and not fits(count):
            raise SessionTooLarge(f"max_bytes={self._most} are too few for an access token without values")
        return without(count)

    def _life_of(self, record: Record, now: float) -> float:
        return min(self._life, record.expires_at - now)

    def _pair(self, family: bytes, access: bytes, generation: int, record: Record, now: float) -> Pair:
        refresh = pack(self._marker.mark(_BODY.pack(_FORM, family, generation)))
        return Pair(access.decode(), refresh.decode(), int(self._life_of(record, now)))

    def _check_size(self, access: bytes, told: Mapping[str, bytes]) -> None:
        if (size := self._size(access)) > self._most:
            raise SessionTooLarge(_too_large(told, size, self._most))

    def _size(self, access: bytes) -> int:
        """How many bytes of a request a token of these values could come to take."""
        return self._carrier.sent_size(access) + _ROOM_BYTES

    def _standing(self, values: Mapping[str, bytes], changed: Collection[str] = ()) -> dict[str, bytes]:
        """What an access token tells of the values, as far as it can; what is `changed` is not asked if it can."""
        told = self._told(values)
        if self._public is None:
            return told
        return {name: data for name, data in told.items() if name in changed or _is_json(data)}

    def _told(self, values: Mapping[str, bytes]) -> dict[str, bytes]:
        """The values that an access token tells."""
        return {
            name: data
            for name, data in values.items()
            if name != STATE and name not in self._private and (self._public is None or name in self._public)
        }


def encoded(values: Mapping[str, Any]) -> dict[str, bytes]:
    """An application's values as a record holds them. Raises TypeError."""
    for name in values:
        codec.check_key(name)
    if STATE in values:
        raise TypeError(f"{STATE!r} is a name of Holdfast's own")
    return {name: codec.encode(value, name) for name, value in values.items()}


def claims_of(handle: str, record: Record) -> Claims:
    """A record as its readers see it."""
    values = {name: codec.decode(data) for name, data in record.values.items() if name != STATE}
    return Claims(record.owner, handle, values, record.expires_at, record.created_at)


def _bytes(text: object) -> bytes:
    """What a client has sent as bytes. Raises `BadToken` for what its JSON can hold instead of a text."""
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise BadToken("malformed")
    return text.encode("latin-1", "replace")


def _is_json(data: bytes) -> bool:
    try:
        return is_json(codec.decode(data))
    except ValueError:  # by a newer Holdfast
        return False


def _too_large(values: Mapping[str, bytes], size: int, most: int) -> str:
    largest = sorted(values, key=lambda name: -len(values[name]))[:3]
    parts = ", ".join(f"{name[:40]!r} ({len(name.encode()) + len(values[name])} bytes)" for name in largest)
    return (
        f"the access token could come to take {size} bytes of a request, {most} are allowed (max_bytes=); the largest "
        f"keys are {parts}. Name in private= what can stay in the store"
    )
