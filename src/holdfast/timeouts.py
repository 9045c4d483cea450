"""The two timeouts of a session, both enforced on the server side. Times are seconds since the epoch."""

from __future__ import annotations

from typing import NamedTuple

from .record import Record

# The part of the idle timeout that must have gone by before reading alone writes a new deadline.
_RENEWAL_SHARE = 0.1


class Timeouts(NamedTuple):
    """A session ends when it was not used for `idle` seconds, and `absolute` seconds after it began."""

    idle: float
    absolute: float

    def is_live(self, record: Record, now: float) -> bool:
        """Whether both timeouts, as they are set today, still let the session be used."""
        return not record.ended and now < record.expires_at and now < record.created_at + self.absolute

    def expiry(self, created_at: float, now: float) -> float:
        """When a session that is used now expires."""
        return min(now + self.idle, created_at + self.absolute)

    def renewed(self, record: Record, now: float) -> float | None:
        """The new deadline, if it is far enough from the stored one to be worth a write."""
        least = record.expires_at + self.idle * _RENEWAL_SHARE
        if now + self.idle < least:
            return None  # as most of the time
        expires_at = self.expiry(record.created_at, now)
        return expires_at if expires_at >= least else None
