"""How long a call to a store or cache may take: its own time limit, or less where the platform ends the request sooner.

    with holdfast.time_left(context.get_remaining_time_in_millis() / 1000):
        …

A function that is cut off in the middle of a call answers nothing at all; one that stops waiting in time answers 503.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

# What is kept back for the answer itself, once a call has been given up.
_RESERVE_SECONDS = 0.2

# For how long an operation that others get in the way of is begun anew. Each of its calls has a time limit besides.
_ROUNDS_SECONDS = 5.0

# When calls must have ended, by the monotonic clock. Threads and tasks that are begun meanwhile inherit it.
_ends_at: ContextVar[float | None] = ContextVar("holdfast_ends_at", default=None)


@contextmanager
def time_left(seconds: float) -> Iterator[None]:
    """Within it, calls to stores and caches stop waiting before so many seconds are over.

    A fifth of a second is kept back for the answer. Where it is nested, the earlier end counts. The ASGI middleware
    does this by itself where the request's scope has the context of AWS Lambda.
    """
    with within(seconds - _RESERVE_SECONDS):
        yield


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Within it, all calls together take no longer than so many seconds: for what takes several of them."""
    ends_at, outer = monotonic() + seconds, _ends_at.get()
    mark = _ends_at.set(ends_at if outer is None else min(ends_at, outer))
    try:
        yield
    finally:
        _ends_at.reset(mark)


def limit(most: float) -> float:
    """The seconds that a call may take now: `most`, or what is left if that is less.

    Raises TimeoutError, which means `StoreUnavailable`, if nothing is left.
    """
    ends_at = _ends_at.get()
    if ends_at is None:
        return most
    left = ends_at - monotonic()
    if left <= 0:
        raise TimeoutError("no time is left for another call")
    return min(most, left)


def is_over() -> bool:
    """Whether nothing is left: a call that fails now says nothing about the server."""
    ends_at = _ends_at.get()
    return ends_at is not None and ends_at <= monotonic()


def rounds(most: int) -> Iterator[int]:
    """The rounds of an operation that is begun anew whenever another writer was faster: 0, 1, …, `most` - 1.

    None begins later than 5 seconds after the first, or when nothing is left. The first always begins.
    """
    begun = monotonic()
    for turn in range(most):
        if turn and (is_over() or monotonic() - begun >= _ROUNDS_SECONDS):
            return
        yield turn
