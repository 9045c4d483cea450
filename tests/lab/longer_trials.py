"""Trials that go on until enough has happened in one: how much happens in a second is for the machine to say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from holdfast.lab.strategies import Strategy
from holdfast.lab.trial import Trial, trial


async def longer_trials(strategy: Strategy, seconds: float, **settings: Any) -> AsyncIterator[Trial]:
    """Trials of the strategy of so many seconds, then twice as many, and twice as many again.

    Whoever has seen enough in one breaks off. Raises AssertionError after the last.
    """
    for times in (1, 2, 4):
        outcome = await trial(strategy, seconds=times * seconds, seed=5, **settings)
        yield outcome
    raise AssertionError(f"not even in {times * seconds:.0f} seconds: {outcome.row}")
