"""How a session's record stands in a token: as claims, sealed or for everybody to read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import isfinite
from typing import Any

from .. import codec
from ..errors import BadToken, ConfigError
from ..record import Record
from .claims import EXACT, is_moment
from .compact import pack, unpack

# Registered claims (RFC 7519, 4.1; OpenID Connect Core, 2), and Holdfast's own, which no value may pass for.
RESERVED = frozenset(
    {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "auth_time", "ver", "tag", "held", "mark", "ses"}
)

_TAG_BYTES = 8
_MOST_VERSIONS = 2**63


class SealedText:
    """For encrypted tokens: the values as they are, in one claim. `binary` formats take bytes, JSON gets base64url."""

    def __init__(self, *, binary: bool) -> None:
        self.binary = binary

    def write(self, values: Mapping[str, bytes]) -> dict[str, Any]:
        """The claims that hold the values."""
        if self.binary:
            return {"ses": dict(values)}
        return {"ses": pack(codec.pack_values(values)).decode()}

    def read(self, claims: Mapping[str, Any]) -> dict[str, bytes]:
        """The values in the claims, however they were written. Raises `BadToken`."""
        values = claims.get("ses")
        if type(values) is str:
            try:
                values = codec.unpack_values(unpack(values.encode()))
            except (ValueError, TypeError):
                raise BadToken("malformed") from None
        if type(values) is not dict:
            raise BadToken("malformed")
        for name, data in values.items():
            if type(name) is not str or type(data) is not bytes:
                raise BadToken("malformed")
            # Other libraries can make what is written as JSON. MessagePack comes from `codec` only, and to decode its
            # values twice would take half as long as all the rest.
            if not self.binary and not _is_encoded(name, data):
                raise BadToken("malformed")
        return values


class PublicText:
    """For signed tokens, which anybody reads: a claim for each value that the application has named as public."""

    binary = False

    def __init__(self, public: Collection[str]) -> None:
        if taken := RESERVED.intersection(public):
            raise ConfigError(
                f"public={sorted(taken)} are claims with a meaning of their own: choose other names"
            )
        self._public = frozenset(public)

    def write(self, values: Mapping[str, bytes]) -> dict[str, Any]:
        """The claims that hold the values. Raises TypeError for a value that is not public, or is no JSON."""
        claims = {}
        for name, data in values.items():
            if name not in self._public:
                raise TypeError(
                    f"session[{name!r}] would be readable by anybody who holds the token: name it in public=, or "
                    "in private= to keep it on the server"
                )
            value = codec.decode(data)
            if not is_json(value):
                raise TypeError(
                    f"session[{name!r}] is public, and a token's readers know JSON only: {type(value)}"
                )
            claims[name] = value
        return claims

    def read(self, claims: Mapping[str, Any]) -> dict[str, bytes]:
        """The values in the claims. Raises `BadToken` for one that no session holds."""
        try:
            return {name: codec.encode(claims[name], name) for name in claims if name in self._public}
        except (TypeError, ValueError):
            raise BadToken("malformed") from None


def _is_encoded(name: str, data: bytes) -> bool:
    """Whether a session holds what the bytes stand for, under such a name."""
    try:
        return _is_unicode(name) and codec.is_value(codec.decode(data))
    except ValueError:
        return False


def is_json(value: Any) -> bool:
    """Whether a value comes back from JSON as exactly what it was."""
    kind = type(value)
    # Most parts are plain text: asking here saves them the call.
    if kind is dict:
        for name, part in value.items():
            if type(name) is not str or not (name.isascii() or _is_unicode(name)):
                return False
            if (type(part) is not str or not part.isascii()) and not is_json(part):
                return False
        return True
    if kind is list:
        for part in value:
            if (type(part) is not str or not part.isascii()) and not is_json(part):
                return False
        return True
    if kind is str:
        return value.isascii() or _is_unicode(value)
    if kind is int:
        return bool(-EXACT <= value <= EXACT)
    if kind is float:
        return isfinite(value)
    return value is None or kind is bool


def _is_unicode(text: str) -> bool:
    """Whether text can be written as UTF-8: half of a surrogate pair cannot. All of ASCII can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def claims_of(record: Record, identity: bytes, now: float, *, binary: bool) -> dict[str, Any]:
    """The claims that say whose session it is and how long it lives; bytes in them are text unless it is `binary`."""
    claims: dict[str, Any] = {
        "exp": record.expires_at,
        "nbf": int(now),
        "iat": int(now),
        "jti": identity if binary else identity.hex(),
        "auth_time": record.created_at,
        "ver": record.version,
        "tag": record.tag if binary else record.tag.hex(),
    }
    if record.owner is not None:
        claims["sub"] = record.owner
    return claims


def record_of(claims: Mapping[str, Any], values: Mapping[str, bytes]) -> tuple[bytes, Record]:
    """The identity of a session, and its record, from what a token of ours says. Raises `BadToken`.

    That a token is good does not say that each claim in it is: whoever else has its key can have made it.
    """
    owner, created_at, version = claims.get("sub"), claims.get("auth_time"), claims.get("ver")
    if type(version) is not int or not 0 < version < _MOST_VERSIONS or not is_moment(created_at):
        raise BadToken("malformed")
    if owner is not None and (type(owner) is not str or not (owner.isascii() or _is_unicode(owner))):
        raise BadToken("malformed")
    try:
        identity, tag = claims["jti"], claims["tag"]
        if type(identity) is not bytes:
            identity = bytes.fromhex(identity)
        if type(tag) is not bytes:
            tag = bytes.fromhex(tag)
    except (KeyError, TypeError, ValueError):
        raise BadToken("malformed") from None
    if not identity or len(tag) != _TAG_BYTES:
        raise BadToken("malformed")
    return identity, Record(version, tag, values, owner, float(created_at), float(claims["exp"]))  # type: ignore[arg-type]  # checked


def mark_of(claims: Mapping[str, Any]) -> int | None:
    """What a token says of the record that the server has beside it; None if it says nothing. Raises `BadToken`."""
    if "mark" not in claims:
        return None
    mark = claims["mark"]
    if type(mark) is not int or not 0 <= mark <= EXACT:
        raise BadToken("malformed")
    return mark
