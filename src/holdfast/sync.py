"""The calls of `Sessions` for callers that do not await: each runs to its end over a blocking client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._colour import run

if TYPE_CHECKING:
    from .ladder import Freshness
    from .session import Session
    from .sessions import SessionInfo, Sessions


class SyncSessions:
    """`sessions.sync`: the same names, arguments, results and errors as on `Sessions`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def load(self, session: Session, freshness: Freshness | None = None) -> None:
        """See `Sessions.load`."""
        run(self._sessions.load(session, freshness))

    def commit(self, session: Session) -> None:
        """See `Sessions.commit`."""
        run(self._sessions.commit(session))

    def of(self, owner: str) -> list[SessionInfo]:
        """See `Sessions.of`."""
        return run(self._sessions.of(owner))

    def end(self, handle: str) -> bool:
        """See `Sessions.end`."""
        return run(self._sessions.end(handle))

    def end_all(self, owner: str, but: str | None = None) -> int:
        """See `Sessions.end_all`."""
        return run(self._sessions.end_all(owner, but))

    def sweep(self) -> int:
        """See `Sessions.sweep`."""
        return run(self._sessions.sweep())
