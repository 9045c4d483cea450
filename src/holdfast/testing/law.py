"""What the checks of the conformance suite are made of."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, NamedTuple, TypeVar

from .. import _colour
from ..record import Change, Record

T = TypeVar("T")
E = TypeVar("E", bound=Exception)


class Broken(AssertionError):
    """A store did not do what its contract says."""


class Check(NamedTuple):
    """One law as code: `scenario` tries it on a store, `needs` is the protocol that it is about."""

    name: str
    scenario: Callable[[Any], Coroutine[Any, Any, None]]
    needs: type | None = None

    def __str__(self) -> str:
        return self.name


def expect(holds: bool, law: str) -> None:
    """Raise `Broken` with the law unless it holds. (An `assert` would be gone under `python -O`.)"""
    if not holds:
        raise Broken(law)


async def refused(operation: Coroutine[Any, Any, object], error: type[E], law: str) -> E:
    """The error that the operation has to end in. Raises `Broken` with the law if it does not fail."""
    try:
        await operation
    except error as refusal:
        return refusal
    raise Broken(law)


async def together(*operations: Coroutine[Any, Any, T]) -> list[T]:
    """Run the operations side by side: as tasks if awaited, in threads if driven by hand."""
    if not _colour.by_hand():
        import asyncio

        return await asyncio.gather(*operations)
    start = Barrier(len(operations))

    def work(operation: Coroutine[Any, Any, T]) -> T:
        start.wait()
        return _colour.run(operation)

    with ThreadPoolExecutor(len(operations)) as threads:
        return list(threads.map(work, operations))


def fresh(**fields: Any) -> tuple[str, Record]:
    """A key that nobody has used, shaped like those of `Sessions`, and a record that lives for an hour."""
    now = time.time()
    values = {"name": b"Ann", "cart": b"\x00\xff"}
    record = Record(1, os.urandom(8), values, None, created_at=now, expires_at=now + 3600)
    return secrets.token_urlsafe(32), record._replace(**fields)


def change(now: float | None = None, **fields: Any) -> Change:
    """A change with a fresh tag, made at `now`, which is the present if not given."""
    return Change(os.urandom(8), time.time() if now is None else now, **fields)


def same(got: Record | None, wanted: Record, law: str) -> None:
    """Raise `Broken` unless the records are equal in every field, naming those that are not."""
    if got is None:
        expect(False, f"{law}: the record is not there")
        return
    differing = [name for name in Record._fields if getattr(got, name) != getattr(wanted, name)]
    expect(not differing, f"{law}: not equal in {', '.join(differing)}")
