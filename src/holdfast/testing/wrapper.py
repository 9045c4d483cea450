"""What the stores that misbehave on purpose have in common: they show all that the store inside them offers."""

from __future__ import annotations

from typing import Any

from ..record import Record
from ..stores import Store

METHODS = ("create", "load", "commit", "end")


class Wrapper:
    """Around a store. Whatever else the store has (listing, sweeping, limits, copies) is passed through."""

    def __init__(self, store: Store) -> None:
        self.store = store
        # As attributes of the instance, where `isinstance` looks for what a Protocol asks: from Python 3.12 on
        # it does not see what `__getattr__` gives.
        for name in dir(store):
            if not name.startswith("_") and not hasattr(self, name) and name not in METHODS:
                setattr(self, name, getattr(store, name))

    def __getattr__(self, name: str) -> Any:
        if name == "store" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.store, name)


def is_before(record: Record | None, other: Record | None) -> bool:
    """Whether `record` was stored before `other`, by their versions; nothing comes before everything."""
    return (record.version if record else 0) < (other.version if other else 0)
