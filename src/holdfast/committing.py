"""The course of every commit, whether a store keeps the session (`commits`) or its client does (`tokens.commits`).

Whatever was asked of the session is kept as a whole or refused as a whole; a failure is told to the events, and raised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from .errors import SessionGone, StoreError
from .events import Events
from .session import Session
from .timeouts import Timeouts
from .work import Work


class Committing(ABC):
    """The write side of an engine; its subclasses say where things are kept.

    `carry` runs an operation in the colour of whoever waits for it.
    """

    def __init__(
        self,
        carry: Callable[[Coroutine[Any, Any, None]], Awaitable[None]],
        timeouts: Timeouts,
        clock: Callable[[], float],
        events: Events,
    ) -> None:
        self._carry = carry
        self._timeouts = timeouts
        self._clock = clock
        self._events = events

    async def commit(self, session: Session) -> None:
        """See `Sessions.commit`."""
        if not session._loaded or not session._accessed:
            return
        work, now = session._ledger.work(), self._clock()
        creates = session._record is None and bool(work.set or session._owner)
        rotates = session._record is not None and session._rotating
        if not (work.set or work.unset or creates or rotates or session._logged_out):
            session._settle()
            await self._renew(session, work, now)
            return
        self._admit(session, creates=creates, rotates=rotates)
        try:
            await self._carry(self._keep(session, work, now))
        except SessionGone:
            self._events.tell("session gone", session._key, session._owner)
            raise
        except StoreError as error:
            self._events.tell("store unavailable", session._key, detail=str(error))
            raise

    @abstractmethod
    def is_settled(self, session: Session) -> bool:
        """Whether a commit would do nothing at all, so that the response need not wait for one. No I/O."""

    def _admit(self, session: Session, *, creates: bool, rotates: bool) -> None:
        """Raise for a change that cannot be kept, before anything is done."""
        if session._refusal is not None and (creates or not session._is_over):
            raise session._refusal

    @abstractmethod
    async def _renew(self, session: Session, work: Work, now: float) -> None:
        """Keep what a request calls for that only read, where it is due. It is not disturbed by a failure."""

    @abstractmethod
    async def _keep(self, session: Session, work: Work, now: float) -> None:
        """Do what the request asks for."""
