"""The same tokens in headers of their own, for API and mobile clients that keep no cookies (design §7).

    Holdfast-Session: the identity. Send it with each request; replace it when a response brings another, forget it
                      when a response brings an empty one.
    Holdfast-Floor:   what this client has seen. Send the last one.
    Holdfast-Pin:     a number of seconds. For so long, send `Holdfast-Pin: 1`; a longer time that an earlier
                      response has set goes on.
    Holdfast-Snapshot: a copy of the session. Send the last one, or none if it is empty.

A client that loses floor or pin loses nothing but speed: reads without them are strong.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from .cookies import NOTHING, Headers, IdentityToken, Sent
from .errors import BadToken
from .keyring import Keyring

_SESSION, _FLOOR, _PIN = b"holdfast-session", b"holdfast-floor", b"holdfast-pin"
_SNAPSHOT = b"holdfast-snapshot"


class TokenHeaders:
    """Reads and writes the headers of one application. `name` binds the tokens to it, as a cookie's name does."""

    vary = b"Holdfast-Session"

    def __init__(self, keyring: Keyring, name: str) -> None:
        self._identity = IdentityToken(keyring, f"header {name}")
        self.state = self._identity.state

    def read(self, headers: Iterable[tuple[bytes, bytes]]) -> Sent:
        """What is in a request's headers (names in lower case). Raises `BadToken` as `Cookies.read` does."""
        found: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in (_SESSION, _FLOOR, _PIN, _SNAPSHOT):
                if name == _SESSION and name in found:
                    raise BadToken("duplicated")
                found[name] = value.strip(b" \t")
        if _SESSION not in found:
            return NOTHING
        return Sent(
            self._identity.read(found[_SESSION]), found.get(_FLOOR), _PIN in found, found.get(_SNAPSHOT)
        )

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
        """See `Cookies.write`."""
        headers = [(_SESSION, self._identity.make(identity).encode())] if fresh else []
        if floor is not None:
            headers += [(_FLOOR, floor.encode()), (_PIN, b"%d" % ceil(pin_seconds))]
        if snapshot is not None:
            headers.append((_SNAPSHOT, snapshot.encode()))
        return headers

    def clear(self, *, identity: bool, floor: bool, snapshot: bool = False) -> Headers:
        """See `Cookies.clear`."""
        names = [_SESSION] if identity else []
        names += [_FLOOR, _PIN] if floor else []
        names += [_SNAPSHOT] if snapshot else []
        return [(name, b"") for name in names]
