"""Leaves alone what does not answer, so that its time limit is paid once and not by each request."""

from __future__ import annotations

from collections.abc import Callable

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 15.0


class Breaker:
    """Shut after a failure: for a second, and for twice as long after each further one, up to 15 seconds.

    When the time is over, one caller may try while the others are still kept away; if that goes well, everybody
    may. `clock` returns seconds; it may be set back, which ends the waiting.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pause = 0.0  # seconds; 0 while all is well
        self._shut_at = 0.0
        self._trying = False

    def admits(self) -> bool:
        """Whether the caller may try now. If so, it has to say `worked`, `failed` or `gave_up` afterwards."""
        if not self._pause:
            return True
        if self._trying or 0 <= self._clock() - self._shut_at < self._pause:
            return False
        self._trying = True
        return True

    def worked(self) -> None:
        """An answer came: everybody may try from now on."""
        self._pause, self._trying = 0.0, False

    def failed(self) -> bool:
        """No answer came. Whether this has shut the breaker: not if others had shut it meanwhile."""
        if self._pause and not self._trying:
            return False
        self._pause = min(self._pause * 2 or _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        self._shut_at, self._trying = self._clock(), False
        return True

    def gave_up(self) -> None:
        """The caller was cancelled before it knew: somebody else may try."""
        self._trying = False
