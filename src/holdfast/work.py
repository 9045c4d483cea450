"""What one request did to a session's values, in the form in which it can be applied again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from . import codec
from .record import sizes_of


class Step(NamedTuple):
    """One `alter`: the function, and its default as bytes, so that each application has a fresh one."""

    function: Callable[[Any], Any]
    default: bytes


class Alteration:
    """The `alter`s of one key, in order, and the bytes that they last led to."""

    __slots__ = ("result", "steps")

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.result = b""

    def reapply(self, data: bytes | None, key: str) -> bytes:
        """The bytes that the steps make of what is stored now."""
        for step in self.steps:
            value = codec.decode(step.default if data is None else data)
            data = codec.encode(step.function(value), key)
        self.result = data or b""
        return self.result


class Work(NamedTuple):
    """What one request did to the values, encoded. Altered keys are in `set`, with their latest result."""

    set: dict[str, bytes]
    unset: frozenset[str]
    alterations: Mapping[str, Alteration]

    def __repr__(self) -> str:
        """Without the values themselves: error reports show what stands in variables."""
        return (
            f"Work(set={sizes_of(self.set)}, unset={sorted(self.unset)}, altered={sorted(self.alterations)})"
        )

    def on(self, values: Mapping[str, bytes]) -> Work:
        """The same work, its alterations applied again to what is stored now."""
        results = {key: step.reapply(values.get(key), key) for key, step in self.alterations.items()}
        return self._replace(set={**self.set, **results})


NO_WORK = Work({}, frozenset(), {})
