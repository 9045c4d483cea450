"""The one loop for stores whose engine can only replace what it has shown (compare-and-set)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .. import _colour, deadline
from ..errors import StoreThrottled

T = TypeVar("T")

# In each round one of the writers wins, so that so many can meet over one record.
_ROUNDS = 64
_FIRST_PAUSE_SECONDS = 0.0005
_LONGEST_PAUSE_SECONDS = 0.02


async def settle(attempt: Callable[[], Coroutine[Any, Any, T | None]]) -> T:
    """What the attempt returns; it is tried again while that is None: somebody else was faster.

    Raises `StoreThrottled` after 64 rounds, or 5 seconds, or when the platform is about to end the request; and
    whatever the attempt raises.
    """
    for turn in deadline.rounds(_ROUNDS):
        outcome = await attempt()
        if outcome is not None:
            return outcome
        from random import uniform  # it takes most of a millisecond, and hardly anybody has a rival

        longest = min(_FIRST_PAUSE_SECONDS * 2**turn, _LONGEST_PAUSE_SECONDS)
        await _colour.pause(uniform(0, longest))  # noqa: S311 - keeps rivals apart, guards nothing
    raise StoreThrottled("too many writers fight over one record")
