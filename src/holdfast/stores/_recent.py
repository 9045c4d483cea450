"""What a store remembers of records for a moment: most changes are to one that was loaded just before."""

from __future__ import annotations

from collections import OrderedDict

from ..record import Change, Record

# So many records, if the values of each take no more than so many bytes.
_MOST = 64
_LARGEST_BYTES = 64 * 1024


class Recent:
    """The records that were loaded or changed last.

    Any may be out of date, and any may be missing: whoever uses one has the engine compare the mark that came
    with it, such as its tag, with what is stored. Safe for threads: each step is one operation of a dictionary.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[Record, bytes]] = OrderedDict()

    def get(self, key: str) -> tuple[Record, bytes] | None:
        """The record with what the engine knows it by, if it is remembered."""
        return self._held.get(key)

    def put(self, key: str, record: Record, mark: bytes, size: int | None = None) -> Record:
        """Remember the record, unless it is large, in the place of an earlier one; and return it.

        `size` is how many bytes its values take, about, if that is known without adding them up.
        """
        self._held.pop(key, None)
        if size is None:
            size = sum(map(len, record.values.values()))
        if size <= _LARGEST_BYTES:
            self._held[key] = record, mark
            if len(self._held) > _MOST:
                self._held.popitem(last=False)
        return record

    def forget(self, key: str) -> None:
        """Remember nothing of it."""
        self._held.pop(key, None)

    def clear(self) -> None:
        """Remember nothing at all."""
        self._held.clear()


def is_applicable(change: Change, known: Record) -> bool:
    """Whether the change may be applied to this record, if it is still what is stored."""
    return change.tag != known.tag and known.is_live(change.now) and change.base in (None, known.version)
