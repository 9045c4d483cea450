"""What a session means for a response: the headers it needs, and the answer where it could not be kept."""

from __future__ import annotations

from collections.abc import Iterable

from .cookies import Headers
from .errors import HoldfastError, SessionGone
from .session import Session

_RETRY_AFTER_SECONDS = 2


def headers_for(session: Session, present: Iterable[tuple[bytes, bytes]], vary: bytes = b"Cookie") -> Headers:
    """The headers to add to a response with the `present` ones, whose names are in lower case.

    `Vary: Cookie` if the session was looked at (`vary` names what requests carry it in). With a cookie goes
    `Cache-Control: no-store`, unless the response already forbids shared caches to keep it (RFC 9111, 5.2.2).
    """
    if not session._accessed:
        return []
    varies = is_private = False
    for name, value in present:
        if name == b"vary":
            varies = varies or not {vary.lower(), b"*"}.isdisjoint(_members(value))
        elif name == b"cache-control":
            is_private = is_private or not {b"no-store", b"private"}.isdisjoint(_members(value))
    headers: Headers = [] if varies else [(b"vary", vary)]
    if outgoing := session._outgoing():
        headers += outgoing
        if not is_private:
            headers.append((b"cache-control", b"no-store"))
    return headers


def refusal(error: HoldfastError) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the answer to a request whose session could not be read or kept.

    409 where the session has ended, 503 with `Retry-After` where the store failed. It says nothing about the
    store, and it touches no cookie: an outage is not a logout.
    """
    if isinstance(error, SessionGone):
        status, body = 409, b"The session has ended.\n"
    else:
        status, body = 503, b"The session store is not available. Please try again.\n"
        _log(error)
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"vary", b"Cookie"),
    ]
    if status == 503:
        headers.append((b"retry-after", str(_RETRY_AFTER_SECONDS).encode()))
    return status, headers, body


def _members(value: bytes) -> set[bytes]:
    """The comma-separated members of a header, in lower case and without arguments."""
    return {part.partition(b"=")[0].strip() for part in value.lower().split(b",")}


def _log(error: HoldfastError) -> None:
    import logging  # slow to load, and rarely needed

    logging.getLogger("holdfast").warning("answered 503: %s", error, exc_info=error.__cause__)
