"""A clock that a test holds in its hand."""

from __future__ import annotations


class FakeClock:
    """Seconds since the epoch that only pass when told to: `Sessions(..., clock=FakeClock())`."""

    def __init__(self, now: float = 1_750_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        """Let time pass (or, below zero, go back, as a badly set clock does). Returns the new time."""
        self.now += seconds
        return self.now
