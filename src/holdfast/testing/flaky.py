"""A store that fails now and then, before it has done what it was asked for or, worse, after it."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any, Literal, NamedTuple, TypeVar

from ..errors import ConfigError
from ..record import Change, Record
from ..stores import Store
from .wrapper import METHODS, Wrapper

T = TypeVar("T")

When = Literal["before", "after"]


class Failure(NamedTuple):
    """One failure that was made: the method, the key, and whether the effect had happened."""

    method: str
    key: str
    when: When


class Flaky(Wrapper):
    """Fails calls by a list, by chance, or both; strictly repeatable.

    - `schedule`: for the next calls, in order, "ok", "before" (fails, nothing has happened) or "after" (it has
      happened, and the answer is lost). More can be put into `store.schedule` at any time.
    - `rate`: the share of the calls after those that fails, 0 to 1, chosen by `seed`.
    - `when`: how those fail; "either" is half and half.
    - `methods`: the only ones that fail, and that the schedule counts.
    - `error`: makes the error that is raised. A ConnectionError (or what the store inside names in
      `unavailable`) is met by applications as `StoreUnavailable`.

    `failures` lists what was made to fail. Raises `ConfigError` for settings that mean nothing.

        store = Flaky(MemoryStore(), schedule=["ok", "after"], methods={"commit"})
    """

    def __init__(
        self,
        store: Store,
        *,
        schedule: Iterable[str] = (),
        rate: float = 0.0,
        when: When | Literal["either"] = "either",
        methods: Collection[str] = METHODS,
        error: Callable[[], BaseException] = ConnectionError,
        seed: int = 0,
    ) -> None:
        super().__init__(store)
        if not 0 <= rate <= 1:
            raise ConfigError(f"rate={rate!r} is no share of calls: it lies between 0 and 1")
        if when not in ("before", "after", "either"):
            raise ConfigError(f'when={when!r} is unknown: it is "before", "after" or "either"')
        if unknown := set(methods).difference(METHODS):
            raise ConfigError(f"{sorted(unknown)} are no methods of a store; those are {', '.join(METHODS)}")
        self.schedule = list(schedule)
        if unknown := set(self.schedule).difference(("ok", "before", "after")):
            raise ConfigError(f'{sorted(unknown)} in the schedule: it holds "ok", "before" and "after"')
        self.rate = rate
        self.failures: list[Failure] = []
        self._when = when
        self._methods = frozenset(methods)
        self._error = error
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose, guards nothing

    async def create(self, key: str, record: Record) -> bool:
        return await self._try("create", key, self.store.create(key, record))

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        return await self._try("load", key, self.store.load(key, weak=weak))

    async def commit(self, key: str, change: Change) -> Record:
        return await self._try("commit", key, self.store.commit(key, change))

    async def end(self, key: str, tombstone: Record) -> None:
        return await self._try("end", key, self.store.end(key, tombstone))

    async def _try(self, method: str, key: str, call: Coroutine[Any, Any, T]) -> T:
        fate = self._fate(method)
        if fate == "before":
            call.close()
            self._fail(method, key, "before")
        result = await call
        if fate == "after":
            self._fail(method, key, "after")
        return result

    def _fate(self, method: str) -> str:
        if method not in self._methods:
            return "ok"
        if self.schedule:
            return self.schedule.pop(0)
        if self._random.random() >= self.rate:
            return "ok"
        return self._random.choice(("before", "after")) if self._when == "either" else self._when

    def _fail(self, method: str, key: str, when: When) -> None:
        self.failures.append(Failure(method, key, when))
        raise self._error()
