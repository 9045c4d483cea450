"""Everything that Holdfast raises, in one place.

An application catches `HoldfastError`; an adapter maps `SessionGone` to 409 and `StoreError` to 503.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .record import Record


class HoldfastError(Exception):
    """Whatever Holdfast raises on purpose is one of these."""


class ConfigError(HoldfastError, ValueError):
    """A setting is wrong. Raised at construction, never by a request; the text says what to do."""


class StoreError(HoldfastError):
    """The store failed. `__cause__` holds the client's own error. Whether a change arrived is unknown."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, or did not answer in time. Trying again later may work."""


class StoreThrottled(StoreError):
    """The store asks to slow down, or too many writers fought over one session: trying again later works."""


class SessionGone(HoldfastError):
    """The session has ended, has expired or is not there: a change to it can no longer be kept."""


class Conflict(HoldfastError):
    """The stored record is not at the version that the change was based on; `current` is what is stored."""

    def __init__(self, current: Record) -> None:
        super().__init__(f"the stored record is at version {current.version}")
        self.current = current


class SessionRegression(SessionGone):
    """The store has lost changes of this session that it had acknowledged, and the application refuses the rest."""


class SessionTooLarge(HoldfastError):
    """The session does not fit into its store. The text names the largest keys; nothing was written."""


class BadToken(HoldfastError):
    """A token from a client is not one of ours. `reason` is one of a few fixed words, safe to log."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"token refused: {reason}")
        self.reason = reason


class SessionNotLoaded(HoldfastError, RuntimeError):
    """A session was looked into before `await session.load()`."""


class ResponseStarted(HoldfastError, RuntimeError):
    """A session was changed after the response had begun, so the change could no longer be acknowledged."""
