"""What happened to sessions, for whoever keeps watch: one typed hook, and standard logging. No secrets in either."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Literal, NamedTuple

Kind = Literal[
    "session created",
    "session renewed",
    "session ended",
    "session revoked",
    "session gone",
    "conflict retried",
    "regression",
    "store unavailable",
    "cache bypassed",
    "old identity used",
    "token sealed",
    "token refused",
    "refresh token reused",
    "header nearly too large",
    "value left out",
]

# What an operator should look at; the rest is the daily life of sessions.
WARNINGS = frozenset(
    {
        "regression",
        "store unavailable",
        "cache bypassed",
        "old identity used",
        "refresh token reused",
        "header nearly too large",
        "value left out",
    }
)


class Event(NamedTuple):
    """One thing that happened. `handle` and `owner` name the session, where there is one; neither opens it."""

    kind: Kind
    handle: str | None = None
    owner: str | None = None
    detail: str = ""


class Events:
    """Tells the application's hook and the logger `holdfast`. A hook that raises harms no request."""

    def __init__(self, hook: Callable[[Event], object] | None) -> None:
        self._hook = hook

    def tell(self, kind: Kind, handle: str | None = None, owner: str | None = None, detail: str = "") -> None:
        """Pass one event on."""
        event = Event(kind, handle, owner, detail)
        _log(event)
        if self._hook is None:
            return
        try:
            self._hook(event)
        except Exception:
            import logging

            logging.getLogger("holdfast").exception("on_event raised for %s", kind)


def _log(event: Event) -> None:
    # Logging is slow to load: where nobody has loaded it, nobody reads of sessions' daily life.
    warns = event.kind in WARNINGS
    if not warns and "logging" not in sys.modules:
        return
    import logging

    level = logging.WARNING if warns else logging.DEBUG
    logging.getLogger("holdfast").log(level, "%s %s %s", event.kind, event.handle or "-", event.detail)
