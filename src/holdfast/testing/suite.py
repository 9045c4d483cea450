"""Runs the checks of a store's contract, in both colours, and says in one error which of them failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from .. import _colour
from ..stores import Store
from .checks import CHECKS
from .law import Check

_COLOURS = ("sync", "async")


class NotConforming(AssertionError):
    """A store has failed some checks. `failures` is what each raised, by (name of the check, colour)."""

    def __init__(self, failures: dict[tuple[str, str], Exception], tried: int) -> None:
        names = list(dict.fromkeys(name for name, _ in failures))
        details = [f"  {name} ({colour}): {error!r}" for (name, colour), error in failures.items()]
        head = f"{len(names)} of {tried} checks failed: {', '.join(names)}"
        super().__init__("\n".join([head, *details]))
        self.failures = failures


def conformance(
    make_store: Callable[[], Store], checks: Iterable[Check] = CHECKS, *, colour: str | None = None
) -> None:
    """Hold the stores that `make_store` makes to the contract of `holdfast.stores.Store`.

    `make_store` takes no arguments and is called once for each check, inside a running event loop where the
    store is to be awaited. Its stores may share one home, and that may be in use: every check has keys of its
    own. Each store is let go of with `aclose()`, if it has that.

    `colour` is "sync" or "async", and otherwise both: a store that would block is then called from worker
    threads, as `Sessions` does it; one with an async client only is not called by sync callers. What a store
    does not offer (`Owned`, `Sweeps`, `Scans`, `Caches`) is not asked of it.

    Call it where no event loop runs. Raises `NotConforming`, naming every check that failed.
    """
    chosen = tuple(checks)
    failures: dict[tuple[str, str], Exception] = {}
    for check in chosen:
        for each in _COLOURS if colour is None else (colour,):
            try:
                if each == "async":
                    asyncio.run(_try(check, make_store))
                else:
                    _colour.run(_try(check, make_store))
            except Exception as error:  # noqa: BLE001 - all of them are told at once, below
                failures[check.name, each] = error
    if failures:
        raise NotConforming(failures, len(chosen)) from next(iter(failures.values()))


async def _try(check: Check, make_store: Callable[[], Store]) -> None:
    store = make_store()
    colours: frozenset[str] = getattr(store, "colours", frozenset(_COLOURS))
    if _colour.by_hand() and "sync" not in colours:
        return
    try:
        if check.needs is None or isinstance(store, check.needs):
            hops = not _colour.by_hand() and "async" not in colours
            await check.scenario(_Hopping(store) if hops else store)
    finally:
        if (close := getattr(store, "aclose", None)) is not None:
            await close()


class _Hopping:
    """A blocking store as an async caller meets it: each call runs in a worker thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if not callable(attribute):
            return attribute
        return lambda *arguments, **options: _colour.off_loop(attribute(*arguments, **options))
