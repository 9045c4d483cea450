"""Explores a model breadth first: every state once, and the shortest way to a broken promise."""

from __future__ import annotations

import time
from typing import NamedTuple

from copies_model import Model
from copies_state import PROMISES, Broken, State
from copies_world import Rules, World


class Exploration(NamedTuple):
    """How many states there are, and, if a promise is broken in one of them, which and how it gets there."""

    states: int
    seconds: float
    promise: str | None = None
    trace: tuple[str, ...] = ()

    @property
    def requests(self) -> int:
        """How many requests the trace has."""
        return sum(" starts a " in step or " ends the session" in step for step in self.trace)

    def __str__(self) -> str:
        if self.promise is None:
            return f"{self.states} states in {self.seconds:.1f} s, every promise holds"
        lines = (f"  {number:2}. {step}" for number, step in enumerate(self.trace, 1))
        return f"{self.promise} is broken after {len(self.trace)} steps:\n" + "\n".join(lines)


def explore(
    world: World,
    rules: Rules | None = None,
    promises: frozenset[str] = PROMISES,
    limit: int = 10_000_000,
) -> Exploration:
    """Visit every state that can be reached, or stop at the first broken promise.

    Raises `MemoryError` if there are more than `limit` states: what was not explored is not proven.
    """
    model = Model(rules or Rules(), world, promises)
    began = time.perf_counter()
    came_from: dict[State, State | None] = {model.canonical(state): None for state in model.initial()}
    level = list(came_from)
    while level:
        following = []
        for state in level:
            try:
                for _, raw in model.steps(state):
                    after = model.canonical(raw)
                    if after not in came_from:
                        came_from[after] = state
                        following.append(after)
            except Broken as broken:
                trace = tuple(_way_to(model, came_from, state))
                return Exploration(len(came_from), time.perf_counter() - began, broken.promise, trace)
            if len(came_from) > limit:
                raise MemoryError(f"more than {limit} states")
        level = following
    return Exploration(len(came_from), time.perf_counter() - began)


def _way_to(model: Model, came_from: dict[State, State | None], state: State) -> list[str]:
    """The steps to the promise that breaks in a state.

    They are taken anew, for a state that was remembered may have its instances swapped.
    """
    way = [state]
    while (before := came_from[way[-1]]) is not None:
        way.append(before)
    begin = way.pop()
    here = next(state for state in model.initial() if model.canonical(state) == begin)
    steps = [model.beginning(here)]
    while way:
        wanted = way.pop()
        text, here = next(step for step in model.steps(here) if model.canonical(step[1]) == wanted)
        steps.append(text)
    try:
        for _ in model.steps(here):
            pass
    except Broken as broken:
        steps.append(str(broken))
    return steps
