"""A browser's cookies, as far as Holdfast's own go: name, value and Max-Age, for one secure origin."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode
from collections.abc import Iterable

IDENTITY, FLOOR = "__Host-session", "__Host-session-floor"
PINS = ("__Host-session-pin", "__Host-session-long-pin")


class Jar:
    """Keeps cookies by name, each until its time is over. Times are in seconds."""

    def __init__(self) -> None:
        self._cookies: dict[str, tuple[str, float]] = {}

    def receive(self, headers: Iterable[tuple[bytes, bytes]], now: float) -> list[str]:
        """Take the `Set-Cookie` headers of a response, in their order; the names that were set to a value."""
        taken = []
        for name, header in headers:
            if name != b"set-cookie":
                continue
            pair, *attributes = header.decode("latin-1").split("; ")
            cookie, _, value = pair.partition("=")
            age = next((int(text[8:]) for text in attributes if text.startswith("Max-Age=")), 10**9)
            if age > 0:
                self._cookies[cookie] = (value, now + age)
                taken.append(cookie)
            else:
                self._cookies.pop(cookie, None)
        return taken

    def get(self, name: str, now: float) -> str | None:
        """The value of a cookie that is still there."""
        value, until = self._cookies.get(name, ("", 0.0))
        return value if now < until else None

    def header(self, now: float) -> bytes | None:
        """The `Cookie` header of a request."""
        pairs = [f"{name}={value}" for name, (value, until) in self._cookies.items() if now < until]
        return "; ".join(pairs).encode("latin-1") or None

    def lose(self, names: Iterable[str]) -> None:
        """Forget some cookies, as a browser does that runs out of room."""
        for name in names:
            self._cookies.pop(name, None)

    def plant(self, name: str, value: str, now: float) -> None:
        """Put a cookie in by hand."""
        self._cookies[name] = (value, now + 10**9)

    def key(self, now: float) -> str | None:
        """The key of the session that the identity cookie names."""
        token = self.get(IDENTITY, now)
        return key_in(token) if token else None


def key_in(token: str) -> str:
    """The key of the session that an identity token names: key id, version, 32 bytes, MAC."""
    return hashlib.sha256(urlsafe_b64decode(token)[5:37]).hexdigest()
