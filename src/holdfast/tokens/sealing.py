"""From a record to a token and back, in the format that the application has chosen."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from ..errors import BadToken
from ..keyring import Keyring
from ..record import Record
from . import Token
from .texts import PublicText, SealedText, claims_of, mark_of, record_of

_NOTHING: frozenset[str] = frozenset()


class Carried(NamedTuple):
    """What a token says: whose session it is, the record, and the names of the values that the server holds, too."""

    identity: bytes
    record: Record
    held: frozenset[str]
    stale_key: bool  # it was made under a key that is not the newest any more
    mark: int | None = (
        None  # the version of the record on the server; 0: there is one; None: none is known of
    )

    @property
    def away(self) -> frozenset[str]:
        """The names of the values that only the server holds."""
        return self.held.difference(self.record.values) if self.held else self.held

    def __repr__(self) -> str:
        """Without the identity, which opens the session, and without values."""
        return f"Carried(record={self.record!r}, held={sorted(self.held)}, stale_key={self.stale_key})"


class _Format(Protocol):
    def seal(self, claims: dict[str, Any], now: float) -> bytes: ...
    def open(self, token: bytes, now: float) -> dict[str, Any]: ...
    def is_newest(self, token: bytes) -> bool: ...


class Sealing:
    """Makes and opens the tokens of one application. `name` is what they are bound to, besides the keys."""

    def __init__(self, token: Token, keyring: Keyring, name: str) -> None:
        token.require()
        self._format = _format(token, keyring, name)
        public = token.public.names if token.is_readable else None
        self._text = (
            SealedText(binary=token.format == "jwe" and token.text == "msgpack")
            if public is None
            else PublicText(public)
        )
        # More than any token of ours: what is longer is not even looked at.
        self._longest = 2 * token.max_bytes

    def seal(
        self, identity: bytes, record: Record, held: frozenset[str], now: float, *, mark: int | None = None
    ) -> bytes:
        """The token. Raises TypeError for a value that must not stand in it."""
        claims = claims_of(record, identity, now, binary=self._text.binary)
        claims.update(self._text.write(record.values))
        if held:
            claims["held"] = sorted(held)
        if mark is not None:
            claims["mark"] = mark
        return self._format.seal(claims, now)

    def open(self, token: bytes, now: float) -> Carried:
        """What a token says. Raises `BadToken`."""
        if len(token) > self._longest:
            raise BadToken("too large")
        claims = self._format.open(token, now)
        identity, record = record_of(claims, self._text.read(claims))
        held = claims.get("held", _NOTHING)
        if held is not _NOTHING and (type(held) is not list or not all(type(name) is str for name in held)):
            raise BadToken("malformed")
        return Carried(identity, record, frozenset(held), not self._format.is_newest(token), mark_of(claims))


def _format(token: Token, keyring: Keyring, name: str) -> _Format:
    """The format's own module is loaded only if it is used, and with it the cryptography."""
    about: dict[str, Any] = {"issuer": token.issuer, "audience": token.audience or name}
    purpose = f"session {name}"
    if token.format == "jwe":
        from .jwe import Jwe

        return Jwe(keyring, purpose, text=token.text, **about)
    if token.format == "jws":
        from .jws import Jws

        return Jws(keyring, purpose, algorithm=token.algorithm, **about)  # type: ignore[arg-type]  # checked by Token
    from .paseto import Paseto

    return Paseto(keyring, purpose, kind=token.algorithm.removeprefix("v4."), **about)  # type: ignore[arg-type]  # checked
