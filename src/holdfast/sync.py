"""The calls of `Sessions` and `Bearer` for callers that do not await: each runs to its end over a blocking client."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ._colour import run

if TYPE_CHECKING:
    from .bearer import Bearer
    from .ladder import Freshness
    from .session import Session
    from .sessions import SessionInfo, Sessions
    from .tokens.pairs import Claims, Pair


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


class SyncBearer:
    """`bearer.sync`: the same names, arguments, results and errors as on `Bearer`."""

    def __init__(self, bearer: Bearer) -> None:
        self._bearer = bearer
        # These wait for nobody.
        self.open = bearer.open
        self.challenge = bearer.challenge

    def issue(self, owner: str, values: Mapping[str, Any] | None = None) -> Pair:
        """See `Bearer.issue`."""
        return run(self._bearer.issue(owner, values))

    def check(self, authorization: str | bytes | None) -> Claims:
        """See `Bearer.check`."""
        return run(self._bearer.check(authorization))

    def refresh(self, token: str | bytes | None) -> Pair:
        """See `Bearer.refresh`."""
        return run(self._bearer.refresh(token))

    def revoke(self, token: str | bytes | None) -> None:
        """See `Bearer.revoke`."""
        run(self._bearer.revoke(token))

    def load(self, handle: str) -> Claims:
        """See `Bearer.load`."""
        return run(self._bearer.load(handle))

    def change(self, handle: str, values: Mapping[str, Any], unset: Collection[str] = ()) -> None:
        """See `Bearer.change`."""
        run(self._bearer.change(handle, values, unset))

    def of(self, owner: str) -> list[SessionInfo]:
        """See `Bearer.of`."""
        return run(self._bearer.of(owner))

    def end(self, handle: str) -> bool:
        """See `Bearer.end`."""
        return run(self._bearer.end(handle))

    def end_all(self, owner: str, but: str | None = None) -> int:
        """See `Bearer.end_all`."""
        return run(self._bearer.end_all(owner, but))
