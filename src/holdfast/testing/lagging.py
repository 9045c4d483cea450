"""A store with a replica that lags behind: eventually consistent reads, where no server simulates them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ..record import Change, Record
from ..stores import Store
from .wrapper import Wrapper, is_before


class Lagging(Wrapper):
    """Shows weak reads the state of `lag` seconds ago, what was missing then included; strong ones the truth.

    `lag` may be changed at any time: `math.inf` is a replica that has got nothing yet. `pause()` stops the
    replication (weak reads show what they would have shown then, for as long as it takes), `resume()` lets it
    catch up. `clock` returns seconds; give it the clock of `Sessions` to move both by hand.

    Only changes that go through the wrapper lag. It keeps each state that it has seen: it is for tests.

        clock = FakeClock()
        sessions = Sessions(Lagging(MemoryStore(), lag=2.0, clock=clock), weak=True, clock=clock, keys=keys)
    """

    def __init__(self, store: Store, lag: float = 1.0, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(store)
        self.lag = lag
        self._clock = clock
        self._states: dict[str, list[tuple[float, Record | None]]] = {}
        self._paused_at: float | None = None

    def pause(self) -> None:
        """Stop the replication: from now on weak reads show the state of `lag` seconds before now."""
        if self._paused_at is None:
            self._paused_at = self._clock()

    def resume(self) -> None:
        """Let the replication go on. It has caught up at once, but for `lag`."""
        self._paused_at = None

    async def create(self, key: str, record: Record) -> bool:
        created = await self.store.create(key, record)
        if created:
            self._states.setdefault(key, [(-math.inf, None)])
            self._note(key, record)
        return created

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        if not weak or key not in self._states:
            return await self.store.load(key)
        now = self._clock() if self._paused_at is None else self._paused_at
        if self.lag == 0 and self._paused_at is None:
            return self._states[key][-1][1]
        return next(
            (record for at, record in reversed(self._states[key]) if at <= now - self.lag),
            self._states[key][0][1],
        )

    async def commit(self, key: str, change: Change) -> Record:
        await self._see(key)
        record = await self.store.commit(key, change)
        self._note(key, record)
        return record

    async def end(self, key: str, tombstone: Record) -> None:
        await self._see(key)
        await self.store.end(key, tombstone)
        self._note(key, tombstone)

    async def _see(self, key: str) -> None:
        """Take in what is there before the first change of it."""
        if key not in self._states:
            before = await self.store.load(key)
            self._states.setdefault(key, [(-math.inf, before)])

    def _note(self, key: str, record: Record) -> None:
        states = self._states[key]
        # Two changes at once may come back in the wrong order; the later one must not be hidden for ever.
        place = len(states)
        while place > 1 and not record.ended and is_before(record, states[place - 1][1]):
            place -= 1
        at = self._clock()
        states.insert(place, (at if place == len(states) else states[place][0], record))
