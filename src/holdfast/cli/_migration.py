"""What `holdfast migrate` does: every record of one store is moved, or looked at, a page at a time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from .. import _colour
from ..copies.revoked import FEED_KEY
from ..errors import ConfigError, HoldfastError, StoreThrottled, StoreUnavailable
from ..record import Record
from ..stores import Page, Scans, Store
from ..stores._migrating_marks import arrival, digest, is_marked, is_moving
from ..stores._migrating_moves import Moves
from ..stores.guard import Guard
from ._checkpoint import Checkpoint

T = TypeVar("T")

Verdict = Literal["moved", "already moved", "ended", "held back", "failed", "to move", "sound", "wrong"]

# So many sessions are under way at once.
_AT_ONCE = 16

# How long a call waits, all in all, for a store that asks to slow down or cannot be reached.
_PATIENCE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 5.0


class Source(Guard):
    """A store that can be read from one end to the other. Raises `ConfigError` for one that cannot."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        if not isinstance(store, Scans):
            raise ConfigError(
                f"{self.name} cannot list what it holds, so nothing can be moved out of it at once. Run the "
                "application with Migrating(FROM, TO) until its sessions have been used or have expired"
            )
        self._scans: Scans = store

    async def scan(self, after: str | None, most: int) -> Page:
        return await self._call(self._scans.scan(after, most))

    async def count(self) -> int:
        return await self._call(self._scans.count())


class Migration:
    """One run over the sessions of `old`. `tell(handle, what)` hears of each that is not as it should be.

    `patience` is for how many seconds each call is repeated while a store is away or asks to slow down.
    """

    def __init__(
        self,
        old: Store,
        new: Store,
        *,
        page: int,
        tell: Callable[[str, str], object],
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        self._old = Source(old)
        self._new = Guard(new)
        self._moves = Moves(self._old, self._new)
        self._page = page
        self._tell = tell
        self._patience = patience
        self.counts: dict[Verdict, int] = {}

    async def count(self) -> int:
        """About how many records there are."""
        return await self._patiently(self._old.count)

    async def move(self, checkpoint: Checkpoint, seen: Callable[[int], object]) -> None:
        """Move every live session, from where an earlier run has ended. `seen` hears how many each page had."""
        after, self.counts = checkpoint.read()
        await self._each(after, self._move, seen, checkpoint)
        checkpoint.remove()

    async def rehearse(self, seen: Callable[[int], object]) -> None:
        """Count what would be moved, and change nothing."""
        await self._each(None, self._would_move, seen, None)

    async def verify(self, seen: Callable[[int], object]) -> None:
        """See whether every session has arrived, and change nothing."""
        await self._each(None, self._check, seen, None)

    async def _each(
        self,
        after: str | None,
        handle: Callable[[str, Record], Coroutine[Any, Any, Verdict]],
        seen: Callable[[int], object],
        checkpoint: Checkpoint | None,
    ) -> None:
        with _side_by_side() as together:
            while True:
                place = after
                page = await self._patiently(lambda: self._old.scan(place, self._page))  # noqa: B023 - used at once
                sessions = {
                    key: record for key, record in page.records.items() if not key.startswith(FEED_KEY)
                }
                for verdict in await together([handle(key, record) for key, record in sessions.items()]):
                    self.counts[verdict] = self.counts.get(verdict, 0) + 1
                seen(len(page.records))
                after = page.after
                if after is None:
                    return
                if checkpoint is not None:
                    checkpoint.write(after, self.counts)

    async def _move(self, key: str, record: Record) -> Verdict:
        try:
            outcome = await self._patiently(lambda: self._moves.move(key, record))
        except HoldfastError as error:
            self._tell(key, f"could not be moved: {error}")
            return "failed"
        if outcome == "taken" or outcome == "too large":
            self._tell(key, "is too large for TO" if outcome == "too large" else "is live in both stores")
            return "failed"
        return outcome

    async def _would_move(self, key: str, record: Record) -> Verdict:
        if is_marked(record) and not is_moving(record):
            return "already moved"
        return "to move" if is_moving(record) or record.is_live(time.time()) else "ended"

    async def _check(self, key: str, record: Record) -> Verdict:
        try:
            flaw = await self._patiently(lambda: self._flaw(key, record))
        except HoldfastError as error:
            flaw = f"could not be read: {error}"
        if flaw is None:
            return "sound"
        self._tell(key, flaw)
        return "wrong"

    async def _flaw(self, key: str, record: Record) -> str | None:
        """What is wrong with a session, or None."""
        if not is_marked(record):
            if not record.is_live(time.time()):
                return None
            # The page may be older than a move.
            current = await self._old.load(key)
            return "is still in FROM" if current is not None and not is_marked(current) else None
        arrived = arrival(record)
        there = await self._new.load(key)
        if arrived is None:
            return "is on its way: it will arrive with its next use, or the next run"
        if there is None:
            return "was moved, and is not in TO" if record.is_live(time.time()) else None
        if there.ended or is_marked(there) or there.expires_at < 0:
            return None
        if there.version < arrived.version:
            return f"was moved at version {arrived.version}, and TO has version {there.version}"
        if there.version == arrived.version and digest(there) != arrived.digest:
            return "is not in TO what it was in FROM"
        return None

    async def _patiently(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the call returns. While a store asks to slow down or is away, it is repeated for a while."""
        pause, waited = 0.05, 0.0
        while True:
            try:
                return await call()
            except (StoreThrottled, StoreUnavailable):
                if waited >= self._patience:
                    raise
            await _colour.pause(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads calls out, guards nothing
            waited += pause
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


@contextmanager
def _side_by_side() -> Iterator[Callable[[list[Coroutine[Any, Any, T]]], Coroutine[Any, Any, list[T]]]]:
    """Runs operations side by side, so many at once: as tasks if awaited, in threads if driven by hand."""
    if not _colour.by_hand():
        import asyncio

        turns = asyncio.Semaphore(_AT_ONCE)

        async def in_turn(operation: Coroutine[Any, Any, T]) -> T:
            async with turns:
                return await operation

        async def as_tasks(operations: list[Coroutine[Any, Any, T]]) -> list[T]:
            return await asyncio.gather(*map(in_turn, operations))

        yield as_tasks
        return

    threads = ThreadPoolExecutor(_AT_ONCE)

    async def in_threads(operations: list[Coroutine[Any, Any, T]]) -> list[T]:
        return list(threads.map(_colour.run, operations))

    try:
        yield in_threads
    finally:
        threads.shutdown(cancel_futures=True)
