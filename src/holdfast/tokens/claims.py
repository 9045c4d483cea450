"""The claims of a token, and what has to be true of them (RFC 7519, section 4.1). The same for every format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import BadToken

# Times and numbers beyond it are not the same in every reader of JSON; nan and infinity are not within it either.
EXACT = 2**53

_NUMBERS = (int, float)  # and none of their subclasses: truth values are no times

# A clock that made a token may be ahead of the one that reads it by so many seconds.
LEEWAY_SECONDS = 10.0


def check(claims: Mapping[str, Any], *, issuer: str, audience: str, now: float) -> None:
    """Raise `BadToken` unless the claims are from this issuer, for this audience, and valid at `now`.

    `iss`, `aud` and `exp` have to be there; the reasons are "wrong issuer", "wrong audience", "not yet valid",
    "expired", and "malformed" for claims of the wrong type. `exp` and `nbf` are seconds since the epoch; a session
    lives at most until `exp`, to which no leeway is added.
    """
    if claims.get("iss") != issuer:
        raise BadToken("wrong issuer")
    if claims.get("aud") != audience:
        raise BadToken("wrong audience")
    expires_at: Any = claims.get("exp")
    not_before: Any = claims.get("nbf", 0)
    if type(expires_at) not in _NUMBERS or type(not_before) not in _NUMBERS:
        raise BadToken("malformed")
    if not (-EXACT <= expires_at <= EXACT and -EXACT <= not_before <= EXACT):
        raise BadToken("malformed")
    if now < not_before - LEEWAY_SECONDS:
        raise BadToken("not yet valid")
    if now >= expires_at:
        raise BadToken("expired")


def is_moment(value: object) -> bool:
    """Whether it is a number of seconds: no text, no truth value, not infinite, and not larger than times are."""
    return type(value) in _NUMBERS and -EXACT <= value <= EXACT  # type: ignore[operator]  # only numbers get there
