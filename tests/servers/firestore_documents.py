"""The documents of the Firestore for tests: what a commit does to them, and what they were at an earlier time."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from threading import RLock
from typing import Any, NamedTuple

import grpc
from google.cloud.firestore_v1 import types

from . import firestore_paths as paths
from .firestore_refusals import Refusal, invalid
from .firestore_transforms import transformed

_WriteResult = types.WriteResult.pb()
_Document = types.Document.pb()
_Value = types.Value.pb()

# So many states of a document are kept, for reads at an earlier time.
_HISTORY = 256


class State(NamedTuple):
    """What a document was from a time on. Times are microseconds since the epoch; no fields: it did not exist."""

    updated: int
    created: int
    fields: paths.Fields | None


class Applied(NamedTuple):
    """What a commit has done."""

    time: int
    results: list[Any]


class Documents:
    """All documents of a server. Commits take effect one after the other, each at a later time than the last.

    `units` counts what Firestore charges for: reads, writes and deletes.
    """

    def __init__(self, exempt: Callable[[str], frozenset[str]] = lambda _: frozenset()) -> None:
        self.lock = RLock()
        self.units: Counter[str] = Counter()
        self._exempt = exempt
        self._states: dict[str, deque[State]] = {}
        self._clock = 0

    def now(self) -> int:
        """The present; later than any commit, and no commit that comes is earlier."""
        with self.lock:
            self._clock = max(self._clock + 1, time.time_ns() // 1000)
            return self._clock

    def state(self, name: str, at: int | None = None) -> State | None:
        """The document, now or at a time; None if it does not exist."""
        with self.lock:
            for state in reversed(self._states.get(name, ())):
                if at is None or state.updated <= at:
                    return state if state.fields is not None else None
            return None

    def names(self) -> list[str]:
        """The names of all documents that there ever were."""
        with self.lock:
            return list(self._states)

    def commit(self, database: str, writes: Iterable[Any], read: dict[str, int] | None = None) -> Applied:
        """Carry out all of the writes, or none and raise `Refusal`.

        `read` is what a transaction has read: names of documents with the times of their updates.
        """
        with self.lock:
            for name, updated in (read or {}).items():
                if self._updated(name) != updated:
                    raise Refusal(grpc.StatusCode.ABORTED, "Aborted due to cross-transaction contention.")
            at = self.now()
            fresh: dict[str, State] = {}
            units: Counter[str] = Counter()
            results = [self._write(database, write, at, fresh, units) for write in writes]
            for name, state in fresh.items():
                self._states.setdefault(name, deque(maxlen=_HISTORY)).append(state)
            self.units += units
            return Applied(at, results)

    def _write(self, database: str, write: Any, at: int, fresh: dict[str, State], units: Counter[str]) -> Any:
        kind = write.WhichOneof("operation")
        if kind not in ("update", "delete"):
            raise invalid("a write has to be an update or a delete")
        name = write.update.name if kind == "update" else write.delete
        paths.check_document_name(name, database)
        before = fresh.get(name) or self.state(name)
        if before is not None and before.fields is None:
            before = None
        self._check_precondition(name, before, write.current_document)
        units["deletes" if kind == "delete" else "writes"] += 1
        if kind == "delete":
            if write.HasField("update_mask") or write.update_transforms:
                raise invalid("a delete has neither a mask nor transforms")
            if before is not None:
                fresh[name] = State(at, before.created, None)
            return _WriteResult()
        fields, results = self._updated_fields(write, before, at)
        paths.check_document(name, fields, self._exempt(name.rsplit("/", 2)[1]))
        result = _WriteResult(transform_results=results)
        if before is not None and before.fields == fields:
            result.update_time.FromMicroseconds(before.updated)  # a write that changes nothing
        else:
            fresh[name] = State(at, at if before is None else before.created, fields)
            result.update_time.FromMicroseconds(at)
        return result

    def _updated_fields(self, write: Any, before: State | None, at: int) -> tuple[paths.Fields, list[Any]]:
        # Copied whole, so that a state that was handed out or kept for later reads stays as it was.
        after = _Document(fields=before.fields if before is not None and before.fields else {})
        if not write.HasField("update_mask"):
            after = _Document(fields=dict(write.update.fields))
        else:
            masked = [paths.parse_path(path) for path in write.update_mask.field_paths]
            paths.check_paths_apart(masked)
            for path in masked:
                _put(after.fields, path, _find(write.update.fields, path))
        results = []
        for transform in write.update_transforms:
            path = paths.parse_path(transform.field_path)
            value, result = transformed(_find(after.fields, path), transform, at)
            # A copy: another transform may change the field once more.
            results.append(_Value.FromString(result.SerializeToString()))
            _put(after.fields, path, value)
        return dict(after.fields), results

    def _check_precondition(self, name: str, before: State | None, condition: Any) -> None:
        kind = condition.WhichOneof("condition_type")
        if kind == "exists" and condition.exists and before is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"No document to update: {name}")
        if kind == "exists" and not condition.exists and before is not None:
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, f"Document already exists: {name}")
        if kind == "update_time":
            if before is None:
                raise Refusal(grpc.StatusCode.NOT_FOUND, f"No document to update: {name}")
            if before.updated != condition.update_time.ToMicroseconds():
                raise Refusal(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"the stored version ({before.updated}) does not match the required base version "
                    f"({condition.update_time.ToMicroseconds()})",
                )

    def _updated(self, name: str) -> int:
        state = self.state(name)
        return 0 if state is None else state.updated


def _find(fields: Any, path: tuple[str, ...]) -> Any | None:
    for name in path[:-1]:
        if name not in fields or not fields[name].HasField("map_value"):
            return None
        fields = fields[name].map_value.fields
    return fields.get(path[-1])  # a protobuf map gives None, and does not make one


def _put(fields: Any, path: tuple[str, ...], value: Any | None) -> None:
    for name in path[:-1]:
        if name not in fields or not fields[name].HasField("map_value"):
            if value is None:
                return
            fields[name].map_value.SetInParent()
        fields = fields[name].map_value.fields
    if value is not None:
        fields[path[-1]].CopyFrom(value)
    elif path[-1] in fields:
        del fields[path[-1]]
