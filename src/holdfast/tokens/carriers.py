"""What brings a token to the server and back: cookies (`chunks`), or a header for clients that keep none."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Protocol

from ..cookies import Headers
from ..errors import BadToken
from .chunks import Beside, SentToken

# One line of headers is as long as servers take it, which is less than any limit of ours.
_MOST = 1 << 20


class Carrier(Protocol):
    """One way for tokens to travel."""

    vary: bytes
    most: int  # bytes of a request's headers that a token can take at all

    def read(self, carried: Any) -> SentToken | None:
        """The token in what a request carries; None if there is none. Raises `BadToken`."""
        ...

    def beside(self, carried: Any) -> Beside:
        """What a request carries besides a good token."""
        ...

    def write(self, token: bytes, *, max_age: float, had: Collection[int]) -> Headers:
        """The headers that give the client a token, in place of the parts that it `had`."""
        ...

    def clear(self, had: Collection[int]) -> Headers:
        """The headers that make the client forget it."""
        ...

    def sent_size(self, token: bytes) -> int:
        """How many bytes of a request's headers it takes."""
        ...


class InHeader:
    """In the header `Holdfast-Session` of requests and responses, as `holdfast.headers` has it for identities."""

    vary = b"Holdfast-Session"
    most = _MOST
    _name = b"holdfast-session"

    def read(self, carried: Iterable[tuple[bytes, bytes]]) -> SentToken | None:
        found = [value.strip(b" \t") for name, value in carried if name == self._name]
        if len(found) > 1:
            raise BadToken("duplicated")
        return SentToken(found[0], 1) if found and found[0] else None

    def beside(self, carried: Iterable[tuple[bytes, bytes]]) -> Beside:
        return Beside()

    def write(self, token: bytes, *, max_age: float, had: Collection[int]) -> Headers:
        return [(self._name, token)]

    def clear(self, had: Collection[int]) -> Headers:
        return [(self._name, b"")]

    def sent_size(self, token: bytes) -> int:
        return len(self._name) + len(": \r\n") + len(token)


class InAuthorization:
    """In the header `Authorization: Bearer …` of requests (RFC 6750). A `Bearer` hands the tokens out."""

    vary = b"Authorization"
    most = _MOST

    def read(self, carried: Iterable[tuple[bytes, bytes]]) -> SentToken | None:
        found = [value for name, value in carried if name == b"authorization"]
        if len(found) > 1:
            raise BadToken("duplicated")
        scheme, _, token = found[0].strip(b" \t").partition(b" ") if found else (b"", b"", b"")
        token = token.strip(b" ")
        return SentToken(token, 1) if scheme.lower() == b"bearer" and token else None

    def beside(self, carried: Iterable[tuple[bytes, bytes]]) -> Beside:
        return Beside()

    def write(self, token: bytes, *, max_age: float, had: Collection[int]) -> Headers:
        return []

    def clear(self, had: Collection[int]) -> Headers:
        return []

    def sent_size(self, token: bytes) -> int:
        return len(b"authorization: Bearer \r\n") + len(token)
