"""How `holdfast migrate` waits for a store that is away, asks to slow down, or cannot hand out so much at once."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from .. import _colour
from ..errors import StoreError, StoreThrottled, StoreUnavailable
from ..stores import Page

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 5.0

# A shorter wait is nothing to tell anybody.
_TOLD_AFTER_SECONDS = 1.0

# After so many pages that came in time a larger one is tried.
_PAGES_UNTIL_LARGER = 8


class Patience:
    """Repeats calls, each for up to `seconds` of waiting. `waiting(error, seconds)` hears why, and for how long yet."""

    def __init__(self, seconds: float, waiting: Callable[[StoreError, float], object]) -> None:
        self._seconds = seconds
        self._waiting = waiting
        self.is_over = False

    def end(self) -> None:
        """Whatever waits now, in whichever thread, does not try again."""
        self.is_over = True

    async def call(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the call returns; its error, if patience ends or waiting would not help."""
        pause, waited = _FIRST_PAUSE_SECONDS, 0.0
        while True:
            try:
                return await call()
            except (StoreThrottled, StoreUnavailable) as error:
                if waited >= self._seconds:
                    raise
                if waited >= _TOLD_AFTER_SECONDS:
                    self._waiting(error, self._seconds - waited)
                failure = error
            await _colour.pause(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads calls out, guards nothing
            if self.is_over:
                raise failure
            waited += pause
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


class _Scans(Protocol):
    async def scan(self, after: str | None, most: int) -> Page: ...


class Pages:
    """Reads a store page by page, of `most` records each, and of fewer where so many do not come in time."""

    def __init__(self, store: _Scans, most: int, patience: Patience) -> None:
        self._store = store
        self._most = most
        self._patience = patience
        self._size = most
        self._in_time = 0

    async def read(self, after: str | None) -> Page:
        """The next page. Raises `StoreError`."""
        return await self._patience.call(lambda: self._attempt(after))

    async def _attempt(self, after: str | None) -> Page:
        try:
            page = await self._store.scan(after, self._size)
        except StoreUnavailable:
            # A page that is too large for the time limit and a store that is away look the same from here.
            self._size = max(self._size // 2, 1)
            self._in_time = 0
            raise
        self._in_time += 1
        if self._in_time >= _PAGES_UNTIL_LARGER:
            self._size = min(self._size * 2, self._most)
            self._in_time = 0
        return page
