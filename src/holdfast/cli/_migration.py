"""What `holdfast migrate` does: every record of one store is moved, or looked at, a page at a time."""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Literal, TypeVar

from .. import _colour
from ..copies.revoked import FEED_KEY
from ..errors import ConfigError, HoldfastError, SessionGone, StoreError, StoreUnavailable
from ..record import Change, Record
from ..stores import Page, Scans, Store
from ..stores._migrating_marks import arrival, digest, is_marked, is_moving
from ..stores._migrating_moves import Moves
from ..stores.guard import Guard
from ._checkpoint import Checkpoint, Place
from ._patience import Pages, Patience
from ._progress import reason

T = TypeVar("T")

Verdict = Literal[
    "moved", "already moved", "ended", "held back", "too large", "failed", "to move", "sound", "wrong"
]

# So many sessions are under way at once.
_AT_ONCE = 16

# How long a call waits, all in all, for a store that asks to slow down or cannot be reached.
_PATIENCE_SECONDS = 60.0


class End(Guard):
    """One of the two stores, which its errors name by its role."""

    def __init__(self, role: Literal["FROM", "TO"], store: Store) -> None:
        super().__init__(store)
        self.name = f"{role} ({self.name})"

    async def _call(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            return await super()._call(call)
        except StoreError as error:
            if str(error).startswith(self.name):
                raise
            raise type(error)(f"{self.name}: {error}") from error.__cause__


class Source(End):
    """A store that can be read from one end to the other. Raises `ConfigError` for one that cannot."""

    def __init__(self, store: Store) -> None:
        super().__init__("FROM", store)
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

    While a store is away or asks to slow down, each call is repeated for `patience` seconds, of which `waiting` hears.
    """

    def __init__(
        self,
        old: Store,
        new: Store,
        *,
        page: int,
        tell: Callable[[str, str], object],
        waiting: Callable[[StoreError, float], object] = lambda error, seconds: None,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        self._old = Source(old)
        self._new = End("TO", new)
        self._moves = Moves(self._old, self._new)
        self._patience = Patience(patience, waiting)
        self._pages = Pages(self._old, page, self._patience)
        self._tell = tell
        self._comes_again = False  # whether each session that is met now will be met once more
        self._moved_first = 0
        self._counts: Counter[Verdict] = Counter()
        self.passed = 0  # how many records were looked at

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many sessions there were of each kind."""
        counts = self._counts.copy()
        counts["moved"] += self._moved_first
        # What was moved first has been met again since, or will be.
        counts["already moved"] -= min(self._moved_first, counts["already moved"])
        return {verdict: number for verdict, number in counts.items() if number}

    async def count(self) -> int:
        """About how many records there are."""
        return await self._patience.call(self._old.count)

    async def knock(self, *, to_write: bool) -> None:
        """See whether TO can be used at all, so that this is said once and not for each session.

        `to_write`: and whether both may be changed, by a change of a session that is not there. What is sealed in FROM
        while TO takes nothing could not be served until it does.
        """
        key = secrets.token_hex(32)
        await self._patience.call(lambda: self._new.load(key))
        if to_write:
            change = Change(os.urandom(8), time.time(), set={"": b""})
            for store in (self._new, self._old):
                with suppress(SessionGone):
                    await self._patience.call(partial(store.commit, key, change))

    async def move(
        self, checkpoint: Checkpoint, seen: Callable[[int], object], place: Place | None = None
    ) -> None:
        """Move every live session, those first that lie behind the place of an earlier run.

        `seen` hears how many each page had. After those it goes from one end to the other: an application that knows
        FROM alone may have been running since, and to look at what was moved takes little.
        """
        if place is not None:
            self._comes_again = True
            await self._each(self._move, seen, checkpoint, after=place.after, passed=place.passed)
            self._comes_again = False
            self._moved_first = self._counts["moved"]
            self._counts.clear()
        await self._each(self._move, seen, checkpoint)
        checkpoint.remove()

    async def rehearse(self, seen: Callable[[int], object]) -> None:
        """Count what would be moved, and change nothing."""
        await self._each(self._would_move, seen)

    async def verify(self, seen: Callable[[int], object]) -> None:
        """See whether every session has arrived, and change nothing."""
        await self._each(self._check, seen)

    async def _each(
        self,
        handle: Callable[[str, Record], Coroutine[Any, Any, Verdict]],
        seen: Callable[[int], object],
        checkpoint: Checkpoint | None = None,
        *,
        after: str | None = None,
        passed: int = 0,
    ) -> None:
        """Handle the sessions behind this place, before which there are so many."""
        with _side_by_side(handle, self._patience.end) as together:
            while True:
                page = await self._pages.read(after)
                sessions = {
                    key: record for key, record in page.records.items() if not key.startswith(FEED_KEY)
                }
                for verdict in await together(sessions.items()):
                    self._counts[verdict] += 1
                seen(len(page.records))
                self.passed += len(page.records)
                passed += len(page.records)
                after = page.after
                if after is None:
                    return
                if checkpoint is not None:
                    checkpoint.write(after, passed)

    async def _move(self, key: str, record: Record) -> Verdict:
        try:
            outcome = await self._patience.call(lambda: self._moves.move(key, record))
        except HoldfastError as error:
            await self._see_that_they_answer(error)
            return self._flawed(key, f"could not be moved: {reason(error)}", "failed")
        if outcome == "taken":
            return self._flawed(key, "is live in both stores", "failed")
        return self._flawed(key, "is too large for TO", outcome) if outcome == "too large" else outcome

    async def _would_move(self, key: str, record: Record) -> Verdict:
        if is_marked(record) and not is_moving(record):
            return "already moved"
        if is_moving(record):
            return "to move"
        if not record.is_live(time.time()):
            return "ended"
        if not self._moves.fits(record):
            return self._flawed(key, "is too large for TO", "too large")
        return "to move"

    async def _check(self, key: str, record: Record) -> Verdict:
        try:
            flaw = await self._patience.call(lambda: self._flaw(key, record))
        except HoldfastError as error:
            await self._see_that_they_answer(error)
            flaw = f"could not be read: {reason(error)}"
        return "sound" if flaw is None else self._flawed(key, flaw, "wrong")

    async def _see_that_they_answer(self, error: HoldfastError) -> None:
        """Raises `StoreError` if this is not the failure of one session: a store is away, and would be for the next."""
        if self._patience.is_over:
            raise error
        if isinstance(error, StoreUnavailable):
            for store in (self._old, self._new):
                await store.load(secrets.token_hex(32))

    def _flawed(self, key: str, what: str, verdict: Verdict) -> Verdict:
        if not self._comes_again:
            self._tell(key, what)
        return verdict

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


@contextmanager
def _side_by_side(
    handle: Callable[[str, Record], Coroutine[Any, Any, T]], give_up: Callable[[], None]
) -> Iterator[Callable[[Iterable[tuple[str, Record]]], Coroutine[Any, Any, list[T]]]]:
    """Handles sessions side by side, so many at once: as tasks if awaited, in threads if driven by hand.

    `give_up` is to let those end soon that are under way when one raises, or the run is cut off.
    """
    if not _colour.by_hand():
        import asyncio

        turns = asyncio.Semaphore(_AT_ONCE)

        async def in_turn(key: str, record: Record) -> T:
            async with turns:
                return await handle(key, record)

        async def as_tasks(sessions: Iterable[tuple[str, Record]]) -> list[T]:
            tasks = [asyncio.ensure_future(in_turn(*session)) for session in sessions]
            try:
                return await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        yield as_tasks
        return

    threads = ThreadPoolExecutor(_AT_ONCE)

    async def in_threads(sessions: Iterable[tuple[str, Record]]) -> list[T]:
        return list(threads.map(lambda session: _colour.run(handle(*session)), sessions))

    try:
        yield in_threads
    except BaseException:
        give_up()
        raise
    finally:
        threads.shutdown(cancel_futures=True)
