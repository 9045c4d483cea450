"""What a `FirestoreStore` remembers, so that most changes need no second look at the document."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from ._firestore_documents import Stored

# So many records at most, with values of so many bytes in all, and none that has a large part of these alone.
_MOST_RECORDS = 512
_MOST_BYTES = 4 * 1024 * 1024
_LARGEST_BYTES = 256 * 1024

_MOST_TAGS = 8192


class Recent:
    """The records that were loaded or committed lately. Each may be out of date, which a commit finds out."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._records: OrderedDict[str, tuple[Stored, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> Stored | None:
        """The record with its document, if it is remembered."""
        entry = self._records.get(key)
        return None if entry is None else entry[0]

    def put(self, key: str, stored: Stored) -> None:
        """Remember it in the place of an earlier one."""
        size = sum(map(len, stored.record.values.values()))
        with self._lock:
            self._drop(key)
            if size > _LARGEST_BYTES:
                return
            self._records[key] = stored, size
            self._bytes += size
            while len(self._records) > _MOST_RECORDS or self._bytes > _MOST_BYTES:
                _, (_, size) = self._records.popitem(last=False)
                self._bytes -= size

    def forget(self, key: str) -> None:
        """Remember nothing of it."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: str) -> None:
        _, size = self._records.pop(key, (None, 0))
        self._bytes -= size


class Tags:
    """Which changes this process has sent already: to send one again without looking could apply it twice."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sent: OrderedDict[bytes, None] = OrderedDict()

    def is_new(self, tag: bytes) -> bool:
        """Whether the change is sent for the first time. From now on it is not."""
        with self._lock:
            if tag in self._sent:
                return False
            self._sent[tag] = None
            if len(self._sent) > _MOST_TAGS:
                self._sent.popitem(last=False)
            return True
