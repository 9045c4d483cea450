"""A browser's cookie jar for one origin, after RFC 6265bis: what is kept, for how long, and what is sent back.

The lab's browsers talk to one front door over plain HTTP on loopback, which browsers hold to be trustworthy: a
`Secure` cookie is taken from it and sent to it. Parsing is the standard library's: a header that it cannot read is
left aside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from http.cookies import CookieError, Morsel, SimpleCookie
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

MAX_PAIR = 4096  # bytes of name and value together; a larger cookie is dropped silently, as browsers do
MAX_ATTRIBUTE = 1024
LONGEST_LIFE = 400 * 86400.0


class Cookie(NamedTuple):
    """One cookie as the jar keeps it. `expires` is seconds since the epoch; infinite for a session cookie."""

    name: str
    value: str
    path: str
    expires: float


class Jar:
    """The cookies that one browser holds for `origin`, such as `http://127.0.0.1:8000`.

    Times are seconds since the epoch, given by the caller.
    """

    def __init__(self, origin: str) -> None:
        parts = urlsplit(origin)
        self._host = parts.hostname or ""
        self._trustworthy = parts.scheme == "https" or _is_loopback(self._host)
        self._cookies: dict[tuple[str, str], Cookie] = {}

    def receive(self, headers: Iterable[str], path: str, now: float) -> None:
        """Take the `Set-Cookie` headers of a response to a request for `path`, in the order given."""
        for header in headers:
            try:
                parsed = SimpleCookie(header)
            except CookieError:
                continue
            for morsel in list(parsed.values())[:1]:  # one header names one cookie
                self._take(morsel, path, now)

    def header(self, path: str, now: float) -> str | None:
        """The `Cookie` header for a request for `path`; None if there is nothing to send."""
        self._cookies = {place: cookie for place, cookie in self._cookies.items() if now < cookie.expires}
        fitting = [cookie for cookie in self._cookies.values() if _covers(cookie.path, path)]
        fitting.sort(key=lambda cookie: -len(cookie.path))
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in fitting) or None

    def clear(self) -> None:
        """Forget everything, as a user does who clears his cookies."""
        self._cookies.clear()

    def _take(self, morsel: Morsel[str], path: str, now: float) -> None:
        cookie = Cookie(
            name=morsel.key,
            value=morsel.coded_value,
            path=morsel["path"] if morsel["path"].startswith("/") else _default_path(path),
            expires=_expires(morsel, now),
        )
        if not self._allows(morsel, cookie):
            return
        place = (cookie.name, cookie.path)
        if cookie.expires <= now:
            self._cookies.pop(place, None)
        else:
            self._cookies[place] = cookie

    def _allows(self, morsel: Morsel[str], cookie: Cookie) -> bool:
        domain = morsel["domain"].lstrip(".").lower()
        if domain and not _belongs(self._host, domain):
            return False
        if len(cookie.name.encode()) + len(cookie.value.encode()) > MAX_PAIR:
            return False
        if any(len(str(morsel[name]).encode()) > MAX_ATTRIBUTE for name in ("path", "domain")):
            return False
        if morsel["secure"] and not self._trustworthy:
            return False
        if morsel["samesite"].lower() == "none" and not morsel["secure"]:
            return False
        prefix = cookie.name.lower()
        if prefix.startswith("__secure-"):
            return bool(morsel["secure"])
        if prefix.startswith("__host-"):
            return bool(morsel["secure"]) and not morsel["domain"] and morsel["path"] == "/"
        return True


def _expires(morsel: Morsel[str], now: float) -> float:
    """When the cookie dies: Max-Age goes before Expires; one that cannot be read counts as absent."""
    try:
        return now + min(int(morsel["max-age"]), LONGEST_LIFE)
    except ValueError:
        pass
    try:
        return min(parsedate_to_datetime(morsel["expires"]).timestamp(), now + LONGEST_LIFE)
    except (ValueError, OverflowError):
        return math.inf


def _belongs(host: str, domain: str) -> bool:
    return host == domain or (host.endswith("." + domain) and not _is_address(host))


def _covers(cookie_path: str, path: str) -> bool:
    if path == cookie_path:
        return True
    return path.startswith(cookie_path if cookie_path.endswith("/") else cookie_path + "/")


def _default_path(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    if _is_address(host):
        return ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")
