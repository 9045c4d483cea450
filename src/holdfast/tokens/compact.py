"""The compact form of JOSE tokens, read strictly: base64url in its one spelling, headers of known members only.

What RFC 7515 to 7519 leave open, and what attackers have made of it (RFC 8725), is closed here, before any key is
looked at: a header cannot choose the algorithm, bring a key along or name a place to fetch one from.
"""

from __future__ import annotations

import json
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import BadToken

try:
    import pybase64
except ImportError:  # it is quicker, and nothing else
    pybase64 = None  # type: ignore[assignment]  # as if there were no such module

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# The last characters that a text may have, by what is left of its length after whole groups of four: those whose
# unused bits are zero. One character alone is no byte.
_LAST = (frozenset(_ALPHABET), frozenset(b""), frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048"))
_PADDING = (b"", b"", b"==", b"=")
_PLUS, _SLASH = b"+/"

# A sealed text between its nonce and its tag: bytes, characters, and where the dots are.
NONCE_BYTES, TAG_BYTES = 12, 16
_NONCE_CHARACTERS, _TAG_CHARACTERS = 16, 22
FIRST_DOT, SECOND_DOT = _NONCE_CHARACTERS, -_TAG_CHARACTERS - 1
AROUND_CHARACTERS = _NONCE_CHARACTERS + _TAG_CHARACTERS + 2
_TEXT, _TEXT_END, _TAG = FIRST_DOT + 1, SECOND_DOT - 1, SECOND_DOT + 1
_FILL = b"AA"  # makes whole groups of the tag, and two zero bytes
_RAW_TAG_END = NONCE_BYTES + TAG_BYTES
_RAW_TEXT = _RAW_TAG_END + len(_FILL)

_MAX_HEADER_BYTES = 512
_MEMBERS = frozenset({"alg", "enc", "kid", "typ", "cty"})


def pack(data: bytes) -> bytes:
    """Base64url without padding (RFC 7515, section 2)."""
    if pybase64 is not None:
        return pybase64.b64encode(data, b"-_").rstrip(b"=")
    return b2a_base64(data, newline=False).rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_")


def unpack(text: bytes) -> bytes:
    """What `pack` made the text of; any other spelling of the same bytes raises `BadToken`."""
    if not text:
        return b""
    left = len(text) & 3
    # The standard alphabet's own signs must not pass for the others; padding only stands at the end, if at all.
    if text[-1] not in _LAST[left] or _PLUS in text or _SLASH in text:
        raise BadToken("malformed")
    return _decode(text + _PADDING[left])


def unpack_sealed(text: bytes) -> tuple[bytes, bytes]:
    """Nonce, and text and tag in one as a cipher takes them, from `nonce.text.tag` with its dots in their places.

    Raises `BadToken`. All is read by one call, for a call costs as much as a kilobyte: the nonce, the tag with what
    fills its last group, the text.
    """
    left = (len(text) - AROUND_CHARACTERS) & 3
    if text[-1] not in _LAST[2] or text[_TEXT_END] not in _LAST[left] or _PLUS in text or _SLASH in text:
        raise BadToken("malformed")
    raw = _decode(b"".join((text[:FIRST_DOT], text[_TAG:], _FILL, text[_TEXT:SECOND_DOT], _PADDING[left])))
    return raw[:NONCE_BYTES], raw[_RAW_TEXT:] + raw[NONCE_BYTES:_RAW_TAG_END]


def _decode(text: bytes) -> bytes:
    """The bytes of whole groups of four characters."""
    try:
        if pybase64 is not None:
            return pybase64.b64decode(text, b"-_", validate=True)
        return a2b_base64(text.replace(b"-", b"+").replace(b"_", b"/"), strict_mode=True)
    except Error:
        raise BadToken("malformed") from None


class Header(NamedTuple):
    """What a token's header says, all of it."""

    alg: str
    kid: str
    typ: str
    enc: str | None = None
    cty: str | None = None

    def packed(self) -> bytes:
        """The header as it stands in a token."""
        members = {name: value for name, value in self._asdict().items() if value is not None}
        return pack(write_json(members))


def read_header(text: bytes) -> Header:
    """The header of a token from anybody. Raises `BadToken`.

    Members that name or bring keys (`jku`, `jwk`, `x5u`, `x5c`), `zip`, and `crit` with whatever it makes critical
    are not ignored but refused, like every other that is not known here (RFC 7515, 4.1.11; RFC 8725, 3.1, 3.6, 3.10).
    """
    if len(text) > _MAX_HEADER_BYTES:
        raise BadToken("malformed")
    members = read_json(unpack(text))
    if not all(isinstance(value, str) for value in members.values()) or not members.keys() <= _MEMBERS:
        raise BadToken("header not allowed")
    if not members.keys() >= {"alg", "kid", "typ"}:
        raise BadToken("header not allowed")
    return Header(**members)


def read_json(data: bytes) -> dict[str, Any]:
    """The object that is written there, no name in it twice. Raises `BadToken` for anything else."""
    try:
        found = _READER.decode(data.decode())
    except (ValueError, RecursionError):
        raise BadToken("malformed") from None
    if type(found) is not dict:
        raise BadToken("malformed")
    return found


def write_json(members: Mapping[str, Any]) -> bytes:
    """An object as compact JSON."""
    return _WRITER.encode(members).encode()


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")  # two readers could read different ones
    return found


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


_READER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse)
_WRITER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
