"""Looks at a place of keys again when it is time, on the way of a request and without holding it up."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock, Thread
from typing import TYPE_CHECKING

from . import described

if TYPE_CHECKING:
    from . import KeySource

# After a failure a remote place is asked again sooner than it would be.
RETRY_SECONDS = 10.0

# For so long a token under an unknown key may wait for an instance that nobody has used lately to hear of it.
PATIENCE_SECONDS = 2.0


class Watch:
    """One source, and when it was last looked at. Nothing here raises: the keys that are known go on.

    A file is read at once, for that takes microseconds. A remote place is asked in a thread, and what it says counts
    from then on; meanwhile requests are served with the keys that are known. `take` is given the lines that were
    found. Time is what passes on either clock: the wall clock may be set, and the steady one may stop in a VM.
    """

    def __init__(
        self,
        source: KeySource,
        take: Callable[[list[str]], None],
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._take = source, take
        self._clock, self._steady = clock, steady
        self._lock = Lock()
        self._thread: Thread | None = None
        self._patient_until = 0.0
        self._wait_for(source.every)

    def is_due(self) -> bool:
        """Whether it is time to look again. A clock that went backwards says nothing, so it is."""
        return self._steady() >= self._due_steady or not self._looked_at <= self._clock() < self._due

    def look(self) -> None:
        """Look again, if it is time, and nobody else does."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            asking = self._thread is not None and self._thread.is_alive()
            if asking or not self.is_due():
                return
            late = max(self._steady() - self._due_steady, self._clock() - self._due)
            self._wait_for(self._source.every)
            if not self._source.remote:
                self._ask()
                return
            # Nobody has come by for long, so there may be keys that this instance has never heard of.
            if late >= self._source.every:
                self._patient_until = time.monotonic() + PATIENCE_SECONDS
            self._thread = Thread(target=self._ask, name="holdfast-keys", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # no thread to be had, or the interpreter is about to end
                self._thread = None
                self._complain(error)
        finally:
            self._lock.release()

    def wait(self) -> bool:
        """Wait for what is being asked, if patience is due; whether there may be news since."""
        thread, left = self._thread, self._patient_until - time.monotonic()
        if thread is None or left <= 0:
            return False
        thread.join(left)
        return True

    def after_fork(self) -> None:
        """Go on in a child: what another thread of the parent held or asked for, nobody will bring."""
        self._lock = Lock()
        self._thread = None
        self._due = self._looked_at

    def _ask(self) -> None:
        try:
            if (lines := self._source.read()) is not None:
                self._take(lines)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not reach a request
            self._wait_for(min(self._source.every, RETRY_SECONDS))
            self._complain(error)

    def _wait_for(self, seconds: float) -> None:
        self._looked_at = self._clock()
        self._due, self._due_steady = self._looked_at + seconds, self._steady() + seconds

    def _complain(self, error: Exception) -> None:
        import logging

        logging.getLogger("holdfast").error("the keys cannot be read again: %s", described(error))
