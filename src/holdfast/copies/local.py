"""Copies of records in this instance's memory: bounded in bytes, and never older than they may be.

Affinity only raises their hit rate. Losing them costs one read of the store.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from itertools import islice
from threading import Lock
from time import monotonic
from typing import NamedTuple
from weakref import WeakSet

from ..record import Record
from . import pack, unpack

# What a copy takes beyond its bytes: its key, its times, and its place in the dictionary (measured, see docs).
_OVERHEAD_BYTES = 400

# How many encoded bytes of copies are kept unpacked besides, where they take about four times as much memory; less
# where copies have little room themselves.
_UNPACKED_BYTES = 2**18

# Version and tag stand in front of a copy's bytes: they tell which of two records is newer without unpacking them.
_HEAD = struct.Struct(">Q8s")
_VERSION_BYTES = 8

# A copy's bytes, or the record that they stand for, and when it was read by both clocks.
_Copy = tuple[bytes, float, float]
_Unpacked = tuple[Record, float, float]

_IN_USE: WeakSet[LocalCopies] = WeakSet()


class Moment(NamedTuple):
    """A point in time by both clocks: the wall clock may be set, and the monotonic one may stop in a frozen VM."""

    wall: float
    steady: float


_new = tuple.__new__  # a third of the time that it takes by name: each request asks for the time


def moment(clock: Callable[[], float]) -> Moment:
    """Now, where `clock` is the wall clock."""
    return _new(Moment, (clock(), monotonic()))


class LocalCopies:
    """The copies, least recently used ones out first when they pass `max_bytes`.

    Safe for threads. After a fork the child begins empty: what the parent writes, it would not hear of.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._most_unpacked = min(_UNPACKED_BYTES, max_bytes // 64)
        self._begin()
        _IN_USE.add(self)

    def _begin(self) -> None:
        self._lock = Lock()
        # In the order of use. The times stand in the tuple, not in an object of their own, for their size.
        self._copies: dict[bytes, _Copy] = {}
        self._bytes = 0
        # Those that were read lately, by their names in requests: one page makes several.
        self._unpacked: dict[str, _Unpacked] = {}
        self._unpacked_bytes = 0

    def get(self, key: str, max_age: float, now: Moment) -> Record | None:
        """The copy, unless it is older than `max_age` seconds.

        Its age is the larger of what the two clocks say, so that a frozen instance does not take old copies
        for young ones; a wall clock that went backwards makes it unusable.
        """
        copy = self._unpacked.get(key) or self._copies.get(bytes.fromhex(key))
        if copy is None:
            return None
        kept, wall, steady = copy
        if not 0 <= now.wall - wall <= max_age or now.steady - steady > max_age:
            return None
        return kept if isinstance(kept, Record) else self._unpack(key, kept, copy)

    def put(self, key: str, record: Record, read_at: Moment) -> None:
        """Keep a copy of a live record that was in the store at `read_at`, unless a newer one is kept already.

        `read_at` is when the read began: a copy is as old as that.
        """
        name, head = bytes.fromhex(key), _HEAD.pack(record.version, record.tag)
        with self._lock:
            present = self._copies.get(name)
            if present is not None and present[0].startswith(head):
                data = present[0]  # the same record: only the times are new
            elif present is not None and present[0][:_VERSION_BYTES] > head[:_VERSION_BYTES]:
                return
            else:
                data = head + pack(record, read_at.wall)
            if present is not None:
                self._remove(name)
            if len(data) + _OVERHEAD_BYTES > self._max_bytes:
                return
            self._copies[name] = (data, *read_at)
            self._bytes += len(data) + _OVERHEAD_BYTES
            if self._bytes > self._max_bytes:
                self._pack_away()
                # Several at once: a dictionary walks over what was taken from its front each time it is asked.
                for oldest in list(islice(self._copies, 1 + len(self._copies) // 64)):
                    self._remove(oldest)

    def drop(self, key: str) -> None:
        """Forget the copy of a session that has ended."""
        name = bytes.fromhex(key)
        with self._lock:
            if name in self._copies:
                self._remove(name)

    def __len__(self) -> int:
        return len(self._copies)

    def _unpack(self, key: str, data: bytes, copy: _Copy | _Unpacked) -> Record:
        """Read a copy from its bytes, and keep what they say at hand."""
        name, record = bytes.fromhex(key), unpack(data[_HEAD.size :])[0]
        with self._lock:
            if self._copies.get(name) is copy and key not in self._unpacked:
                if self._unpacked_bytes + len(data) > self._most_unpacked:
                    self._pack_away()
                if len(data) <= self._most_unpacked:
                    self._unpacked[key] = record, copy[1], copy[2]
                    self._unpacked_bytes += len(data)
                else:
                    self._copies[name] = self._copies.pop(name)
        return record

    def _pack_away(self) -> None:
        """Note in the order of use which copies were read lately, and begin anew with what is at hand."""
        for key in self._unpacked:
            name = bytes.fromhex(key)
            self._copies[name] = self._copies.pop(name)
        self._unpacked, self._unpacked_bytes = {}, 0

    def _remove(self, name: bytes) -> None:
        size = len(self._copies.pop(name)[0])
        self._bytes -= size + _OVERHEAD_BYTES
        if self._unpacked and self._unpacked.pop(name.hex(), None) is not None:
            self._unpacked_bytes -= size


def _after_fork() -> None:
    for copies in list(_IN_USE):
        copies._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
