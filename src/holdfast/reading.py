"""Which home answered a request's read, and why the others did not."""

from __future__ import annotations

from typing import NamedTuple


class Reading(NamedTuple):
    """How a session was read: `home` is "local", "snapshot", "cache", "weak", "store", or "none" where
    nothing was read.

    `skipped` names each home that was asked before, with the reason why it did not answer.
    """

    home: str
    skipped: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return "; ".join([self.home, *(f"{home}: {why}" for home, why in self.skipped)])
