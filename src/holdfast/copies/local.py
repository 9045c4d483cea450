"""Copies of records in this instance's memory: bounded in bytes, and never older than they may be.

Affinity only raises their hit rate. Losing them costs one read of the store.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from threading import Lock
from time import monotonic
from typing import NamedTuple

from ..record import Record
from . import pack, unpack

# What a copy takes beyond its bytes: its key, its times, and its place in the dictionary (measured, see docs).
_OVERHEAD_BYTES = 400


class Moment(NamedTuple):
    """A point in time by both clocks: the wall clock may be set, and the monotonic one may stop in a frozen VM."""

    wall: float
    steady: float


def moment(clock: Callable[[], float]) -> Moment:
    """Now, where `clock` is the wall clock."""
    return Moment(clock(), monotonic())


class LocalCopies:
    """The copies, least recently used ones out first when they pass `max_bytes`.

    Safe for threads. After a fork the child begins
    empty: what the parent writes, it would not hear of.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()
        # In the order of use. The times stand in the tuple, not in an object of their own, for their size.
        self._copies: dict[bytes, tuple[bytes, float, float]] = {}
        self._bytes = 0
        self._process = os.getpid()

    def get(self, key: str, max_age: float, now: Moment) -> Record | None:
        """The copy, unless it is older than `max_age` seconds.

        Its age is the larger of what the two clocks say, so that a frozen instance does not take old copies
        for young ones; a wall clock that went backwards makes it unusable.
        """
        name = bytes.fromhex(key)
        copies = self._own()
        copy = copies.get(name)
        if copy is None:
            return None
        data, wall, steady = copy
        if not 0 <= now.wall - wall <= max_age or now.steady - steady > max_age:
            return None
        with self._lock:
            if copies.get(name) is copy:
                copies[name] = copies.pop(name)
        return unpack(data)[0]

    def put(self, key: str, record: Record, read_at: Moment) -> None:
        """Keep a copy of a live record that was in the store at `read_at`, unless a newer one is kept already.

        `read_at` is when the read began: a copy is as old as that.
        """
        name = bytes.fromhex(key)
        data = pack(record, read_at.wall)
        copies = self._own()
        with self._lock:
            present = copies.get(name)
            if present is not None:
                if unpack(present[0])[0].version > record.version:
                    return
                self._remove(name)
            if len(data) + _OVERHEAD_BYTES > self._max_bytes:
                return
            copies[name] = (data, *read_at)
            self._bytes += len(data) + _OVERHEAD_BYTES
            if self._bytes > self._max_bytes:
                # Several at once: a dictionary walks over what was taken from its front each time it is asked.
                for oldest in list(islice(copies, 1 + len(copies) // 64)):
                    self._remove(oldest)

    def drop(self, key: str) -> None:
        """Forget the copy of a session that has ended."""
        copies = self._own()
        with self._lock:
            if bytes.fromhex(key) in copies:
                self._remove(bytes.fromhex(key))

    def __len__(self) -> int:
        return len(self._own())

    def _remove(self, name: bytes) -> None:
        self._bytes -= len(self._copies.pop(name)[0]) + _OVERHEAD_BYTES

    def _own(self) -> dict[bytes, tuple[bytes, float, float]]:
        """The copies of this very process."""
        if self._process != os.getpid():
            self._lock = Lock()
            self._copies, self._bytes, self._process = {}, 0, os.getpid()
        return self._copies
