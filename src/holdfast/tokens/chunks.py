"""A token as one cookie, or as several where it is too long for one.

Browsers take 4,096 bytes a cookie. What exactly counts differs: all count name and value, RFC 6265 (6.1) also the
attributes. Here every byte of the `Set-Cookie` line counts, so that none of them ever drops one silently.

A token in parts begins with how many there are and with a mark that all of them share: parts of two tokens, which
meet when the responses of two tabs overtake each other, are not taken for one. Parts beyond that number are left from
a longer token, and mean nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from math import ceil
from typing import NamedTuple

from ..cookies import Cookies, Headers
from ..errors import BadToken

LINE_BYTES = 4096
MOST_PARTS = 16

_MARK_BYTES = 3
_FIRST = re.compile(rb"([0-9]{1,2})\.([0-9a-f]{6})~(.+)", re.DOTALL)
_NEXT = re.compile(rb"([0-9a-f]{6})~(.+)", re.DOTALL)
# Servers take from 8 to 64 KB of headers; to look through more of it would cost more than it is worth.
_LONGEST_HEADER_BYTES = 128 * 1024
_LONGEST_SECONDS = 10**9  # no browser keeps a cookie for longer than 400 days (RFC 6265bis, 5.5)


class SentToken(NamedTuple):
    """A token as it came, and in how many parts."""

    token: bytes
    parts: int


class Beside(NamedTuple):
    """What came with a token, or in its place: the numbers of the parts, and the bytes of other cookies."""

    parts: Collection[int] = ()
    bytes: int = 0


class TokenCookies:
    """Reads and writes the cookies that carry a token, under the names and with the attributes of `cookies`."""

    vary = b"Cookie"

    def __init__(self, cookies: Cookies) -> None:
        self._cookies = cookies
        self._name = cookies.name.encode()
        self._pair = re.compile(
            rb"(?:^|;)[ \t]*%b(?:-part([1-9][0-9]?))?[ \t]*=[ \t]*([^;]*)" % re.escape(self._name)
        )
        # What a line has besides the part itself, at the longest.
        around = len(self._line(self._part_name(MOST_PARTS - 1), "", _LONGEST_SECONDS)[1])
        self._room = LINE_BYTES - around - len("99.012345~")
        longest = (LINE_BYTES - self._line_size(0)) if cookies.is_single else MOST_PARTS * self._room
        self.most = self._sent(longest)

    def read(self, header: bytes) -> SentToken | None:
        """The token in a request's `Cookie` header; None if there is none.

        Raises `BadToken` for parts that do not belong together.
        """
        if self._name not in header:
            return None
        if len(header) > _LONGEST_HEADER_BYTES:
            raise BadToken("too large")
        found: dict[int, bytes] = {}
        for pair in self._pair.finditer(header):
            place = int(pair[1] or 0)
            if place in found:
                raise BadToken("duplicated")
            found[place] = pair[2].rstrip(b" \t")
        first = found.get(0)
        if not first:
            return None
        if b"~" not in first:
            return SentToken(first, 1)
        if (match := _FIRST.fullmatch(first)) is None or not 2 <= int(match[1]) <= MOST_PARTS:
            raise BadToken("malformed")
        parts = [match[3]]
        for place in range(1, int(match[1])):
            following = _NEXT.fullmatch(found.get(place, b""))
            if following is None or following[1] != match[2]:
                raise BadToken("torn")
            parts.append(following[2])
        return SentToken(b"".join(parts), len(parts))

    def beside(self, header: bytes) -> Beside:
        """Which parts a `Cookie` header has, good or not, and how many bytes of it are other cookies."""
        parts: set[int] = set()
        ours = 0
        for match in self._pair.finditer(header):
            parts.add(int(match[1] or 0))
            ours += len(match[0])
        return Beside(sorted(place for place in parts if place < MOST_PARTS), len(header) - ours)

    def write(self, token: bytes, *, max_age: float, had: Collection[int]) -> Headers:
        """The headers that set a token, and clear those of the parts that the browser `had` which it does not need."""
        text = token.decode("ascii")
        if self._is_one(len(token)):
            return [
                self._line(self._cookies.name, text, max_age),
                *self._clear(place for place in had if place),
            ]
        count, mark = self._count(len(token)), os.urandom(_MARK_BYTES).hex()
        headers = []
        for place in range(count):
            part = text[place * self._room : (place + 1) * self._room]
            headers.append(self._line(self._part_name(place), _head(place, count, mark) + part, max_age))
        return [*headers, *self._clear(place for place in had if place >= count)]

    def clear(self, had: Collection[int]) -> Headers:
        """The headers that make the browser forget the token, and the parts that it `had`."""
        return self._clear({0, *had})

    def sent_size(self, token: bytes) -> int:
        """How many bytes of a request's `Cookie` header the token takes, with its names and separators."""
        return self._sent(len(token))

    def _sent(self, length: int) -> int:
        around = len("=; ")
        if self._is_one(length):
            return len(self._name) + around + length
        count, mark = self._count(length), "0" * 2 * _MARK_BYTES
        heads = (len(self._part_name(place)) + len(_head(place, count, mark)) for place in range(count))
        return length + sum(heads) + count * around

    def _is_one(self, length: int) -> bool:
        return self._line_size(length) <= LINE_BYTES

    def _line_size(self, length: int) -> int:
        return length + len(self._line(self._cookies.name, "", _LONGEST_SECONDS)[1])

    def _count(self, length: int) -> int:
        return ceil(length / self._room)

    def _clear(self, places: Iterable[int]) -> Headers:
        return [self._cookies.line(self._part_name(place), "", 0) for place in sorted(places)]

    def _line(self, name: str, value: str, max_age: float) -> tuple[bytes, bytes]:
        return self._cookies.line(name, value, min(max_age, _LONGEST_SECONDS))

    def _part_name(self, place: int) -> str:
        return f"{self._cookies.name}-part{place}" if place else self._cookies.name


def _head(place: int, count: int, mark: str) -> str:
    """What stands before a part."""
    return f"{mark}~" if place else f"{count}.{mark}~"
