"""The values of one request's session: what was loaded, what was handed out, and what was done to it.

Nested changes need no flag: mutable values that were handed out are encoded again at commit, and the bytes
compared with those that were loaded. So a request that only looks decodes what it looks at, and keeps no books.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from . import codec
from .codec import Value
from .errors import SessionNotLoaded
from .work import NO_WORK, Alteration, Step, Work

# What a call can ask for besides altering a value.
_SET: Literal["set"] = "set"
_UNSET: Literal["unset"] = "unset"

_NOTHING: Mapping[str, bytes] = {}
_NO_NAMES: frozenset[str] = frozenset()


class Ledger:
    """A mapping of names to values over the bytes that were loaded."""

    __slots__ = ("_live", "_marks", "_mutable", "_stored", "_withheld")

    def __init__(self, stored: Mapping[str, bytes] = _NOTHING, withheld: frozenset[str] = _NO_NAMES) -> None:
        self._stored = stored
        self._withheld = withheld  # names of stored values that were not loaded
        self._live: dict[str, Value] = {}  # values handed out or put in
        self._mutable: dict[str, Value] = {}  # those of them that were handed out, and can change in place
        # What was asked for by calls, by name; the last call counts.
        self._marks: dict[str, Alteration | Literal["set", "unset"]] = {}

    def has(self, key: object) -> bool:
        """Whether there is a value."""
        return key in self._live or (
            (key in self._stored or key in self._withheld) and key not in self._marks
        )

    def get(self, key: str, default: Any) -> Value:
        """The value, or `default` if there is none."""
        live = self._live
        if key in live:
            return live[key]
        if key in self._marks:
            return default  # it was removed: whatever else was asked for is in `_live`
        if key in self._withheld:
            raise SessionNotLoaded(
                f"session[{key!r}] is private and stays on the server, and this session was read from a snapshot: "
                '`await session.load("strong")` first, or give the route freshness="strong"'
            )
        data = self._stored.get(key)
        if data is None:
            return default
        value = live[key] = codec.decode(data)
        if not codec.is_immutable(value):
            self._mutable[key] = value
        return value

    def put(self, key: str, value: Value) -> None:
        """Set a value. Raises TypeError for one that a session does not hold."""
        codec.check_key(key)
        codec.encode(value, key)  # refused here, where the handler's line is in the traceback
        self._live[key] = value
        self._mutable.pop(key, None)
        self._marks[key] = _SET

    def remove(self, key: str) -> None:
        """Remove a value. Raises KeyError."""
        if not self.has(key):
            raise KeyError(key)
        self._live.pop(key, None)
        self._mutable.pop(key, None)
        self._marks[key] = _UNSET

    def keys(self) -> list[str]:
        """The names: those that were loaded in their order, then the others."""
        marks = self._marks
        return [
            *(key for key in self._stored if marks.get(key) is not _UNSET),
            *(key for key in self._withheld if marks.get(key) is not _UNSET and key not in self._live),
            *(key for key in self._live if key not in self._stored),
        ]

    def alter(self, key: str, function: Callable[[Any], Any], default: Value) -> Value:
        """Replace a value by what the function makes of it, in a way that can be repeated on a newer one."""
        codec.check_key(key)
        alteration = self._marks.get(key)
        if not isinstance(alteration, Alteration):
            if self._is_detached(key):
                self.put(key, function(self.get(key, default)))
                return self._live[key]
            alteration = Alteration()
        step = Step(function, codec.encode(default, key))
        value = function(self.get(key, None) if self.has(key) else codec.decode(step.default))
        alteration.result = codec.encode(value, key)
        alteration.steps.append(step)
        self._marks[key] = alteration
        self._live[key] = value
        return value

    def abandon(self) -> None:
        """Forget what was done."""
        self._live.clear()
        self._mutable.clear()
        self._marks.clear()

    def rebase(self, stored: Mapping[str, bytes]) -> None:
        """Go on from what was committed. Objects that the handler holds stay, unless others changed them."""
        self._stored = stored
        self._withheld = _NO_NAMES
        for key, value in list(self._live.items()):
            if key not in stored or not codec.is_same(value, stored[key]):
                del self._live[key]
        self._mutable = {key: value for key, value in self._live.items() if not codec.is_immutable(value)}
        self._marks.clear()

    def settle(self) -> None:
        """Forget what was asked for by calls; it is done, or came to nothing."""
        for key in self._marks:
            if key in self._stored and key in self._live and not codec.is_immutable(self._live[key]):
                self._mutable[key] = self._live[key]
        self._marks.clear()

    def is_partial(self) -> bool:
        """Whether values are stored that were not loaded."""
        return bool(self._withheld)

    def has_marks(self) -> bool:
        """Whether anything was asked for by a call: the quick part of `is_as_loaded`."""
        return bool(self._marks)

    def is_as_loaded(self) -> bool:
        """Whether nothing was asked for by a call, and nothing that was handed out has changed in place."""
        if self._marks:
            return False
        for key, value in self._mutable.items():
            if not codec.is_same(value, self._stored[key]):
                return False
        return True

    def work(self) -> Work:
        """What is to be committed. Raises TypeError, naming the path, for a value that cannot be kept."""
        if self.is_as_loaded():
            return NO_WORK
        values: dict[str, bytes] = {}
        alterations: dict[str, Alteration] = {}
        for key, value in self._live.items():
            stored, mark = self._stored.get(key), self._marks.get(key)
            alteration = mark if isinstance(mark, Alteration) else None
            if alteration is not None and codec.is_same(value, alteration.result):
                data = alteration.result
            elif mark is not None or not (
                codec.is_immutable(value) or (stored is not None and codec.is_same(value, stored))
            ):
                # If it was changed in place after it was altered: what stands is what is meant.
                data, alteration = codec.encode(value, key), None
            else:
                continue
            if data != stored:
                values[key] = data
                if alteration is not None:
                    alterations[key] = alteration
        removed = (key for key, mark in self._marks.items() if mark is _UNSET)
        unset = frozenset(key for key in removed if key in self._stored or key in self._withheld)
        return Work(values, unset, alterations)

    def _is_detached(self, key: str) -> bool:
        """Whether this request has set, removed or changed the value in place: it hangs on nothing stored then."""
        if key in self._marks:
            return True
        if key not in self._live:
            return False
        return key not in self._stored or not codec.is_same(self._live[key], self._stored[key])
