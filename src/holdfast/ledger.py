"""The values of one request's session: what was loaded, what was handed out, and what was done to it.

Nested changes need no flag: mutable values that were handed out are encoded again at commit, and the bytes
compared with those that were loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import codec
from .codec import Value
from .errors import SessionNotLoaded
from .work import NO_WORK, Alteration, Step, Work


class Ledger:
    """A mapping of names to values over the bytes that were loaded."""

    __slots__ = ("_altered", "_assigned", "_live", "_mutable", "_removed", "_stored", "_withheld")

    def __init__(self) -> None:
        self._stored: Mapping[str, bytes] = {}
        self._withheld: frozenset[str] = frozenset()  # names of stored values that were not loaded
        self._live: dict[str, Value] = {}  # values handed out or put in
        self._mutable: dict[str, Value] = {}  # those of them that were handed out, and can change in place
        self._assigned: set[str] = set()
        self._removed: set[str] = set()
        self._altered: dict[str, Alteration] = {}

    def has(self, key: object) -> bool:
        """Whether there is a value."""
        return key in self._live or (
            (key in self._stored or key in self._withheld) and key not in self._removed
        )

    def get(self, key: str) -> Value:
        """The value. Raises KeyError."""
        if key in self._live:
            return self._live[key]
        if key in self._removed:
            raise KeyError(key)
        if key in self._withheld:
            raise SessionNotLoaded(
                f"session[{key!r}] is private and stays on the server, and this session was read from a snapshot: "
                '`await session.load("strong")` first, or give the route freshness="strong"'
            )
        value = self._live[key] = codec.decode(self._stored[key])
        if not codec.is_immutable(value):
            self._mutable[key] = value
        return value

    def put(self, key: str, value: Value) -> None:
        """Set a value. Raises TypeError for one that a session does not hold."""
        codec.check_key(key)
        codec.encode(value, key)  # refused here, where the handler's line is in the traceback
        self._live[key] = value
        self._mutable.pop(key, None)
        self._assigned.add(key)
        self._removed.discard(key)
        self._altered.pop(key, None)

    def remove(self, key: str) -> None:
        """Remove a value. Raises KeyError."""
        if not self.has(key):
            raise KeyError(key)
        self._live.pop(key, None)
        self._mutable.pop(key, None)
        self._assigned.discard(key)
        self._altered.pop(key, None)
        self._removed.add(key)

    def keys(self) -> list[str]:
        """The names: those that were loaded in their order, then the others."""
        return [
            *(key for key in self._stored if key not in self._removed),
            *(key for key in self._withheld if key not in self._removed and key not in self._live),
            *(key for key in self._live if key not in self._stored),
        ]

    def alter(self, key: str, function: Callable[[Any], Any], default: Value) -> Value:
        """Replace a value by what the function makes of it, in a way that can be repeated on a newer one."""
        codec.check_key(key)
        alteration = self._altered.get(key)
        if alteration is None:
            if self._is_detached(key):
                self.put(key, function(self.get(key) if self.has(key) else default))
                return self._live[key]
            alteration = Alteration()
        step = Step(function, codec.encode(default, key))
        value = function(self.get(key) if self.has(key) else codec.decode(step.default))
        alteration.result = codec.encode(value, key)
        alteration.steps.append(step)
        self._altered[key] = alteration
        self._live[key] = value
        return value

    def attach(self, stored: Mapping[str, bytes], withheld: frozenset[str] = frozenset()) -> None:
        """Begin anew from what is stored, besides the values that are `withheld`."""
        self._stored = stored
        self._withheld = withheld
        self._live.clear()
        self._mutable.clear()
        self.settle()

    def abandon(self) -> None:
        """Forget what was done."""
        self.attach(self._stored, self._withheld)

    def rebase(self, stored: Mapping[str, bytes]) -> None:
        """Go on from what was committed. Objects that the handler holds stay, unless others changed them."""
        self._stored = stored
        self._withheld = frozenset()
        for key, value in list(self._live.items()):
            if key not in stored or not codec.is_same(value, stored[key]):
                del self._live[key]
        self._mutable = {key: value for key, value in self._live.items() if not codec.is_immutable(value)}
        self.settle()

    def settle(self) -> None:
        """Forget what was asked for by calls; it is done, or came to nothing."""
        if not (self._assigned or self._removed or self._altered):
            return
        for key in (*self._assigned, *self._altered):
            if key in self._stored and key in self._live and not codec.is_immutable(self._live[key]):
                self._mutable[key] = self._live[key]
        self._assigned.clear()
        self._removed.clear()
        self._altered.clear()

    def is_partial(self) -> bool:
        """Whether values are stored that were not loaded."""
        return bool(self._withheld)

    def has_marks(self) -> bool:
        """Whether anything was asked for by a call: quicker than `work`, which also finds nested changes."""
        return bool(self._assigned or self._removed or self._altered)

    def work(self) -> Work:
        """What is to be committed. Raises TypeError, naming the path, for a value that cannot be kept."""
        if not (self._assigned or self._removed or self._altered):
            for key, value in self._mutable.items():
                if not codec.is_same(value, self._stored[key]):
                    break
            else:
                return NO_WORK
        values: dict[str, bytes] = {}
        alterations = dict(self._altered)
        for key, value in self._live.items():
            stored = self._stored.get(key)
            if key in alterations:
                data = alterations[key].result
                if not codec.is_same(value, data):
                    # Changed in place after it was altered: what stands is what is meant.
                    del alterations[key]
                    data = codec.encode(value, key)
            elif key in self._assigned or not (
                codec.is_immutable(value) or (stored is not None and codec.is_same(value, stored))
            ):
                data = codec.encode(value, key)
            else:
                continue
            if data == stored:
                alterations.pop(key, None)
            else:
                values[key] = data
        return Work(
            values, frozenset(self._removed.intersection(self._stored.keys() | self._withheld)), alterations
        )

    def _is_detached(self, key: str) -> bool:
        """Whether this request has set, removed or changed the value in place: it hangs on nothing stored then."""
        if key in self._assigned or key in self._removed:
            return True
        if key not in self._live:
            return False
        return key not in self._stored or not codec.is_same(self._live[key], self._stored[key])
