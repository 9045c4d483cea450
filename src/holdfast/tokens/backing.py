"""The stores behind sessions that travel with their clients, if an application has named any."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from .. import _colour
from ..errors import ConfigError
from ..stores.guard import Guard
from .held import Held
from .revocation import Revocations

T = TypeVar("T")


class Backing:
    """What is held on the server, and what is noted of endings. Raises `ConfigError` for stores that do not agree."""

    def __init__(self, held: Held | None, revocations: Revocations | None) -> None:
        self.held = held
        self.revocations = revocations
        self._stores: list[Guard] = []
        for each in (held, revocations):
            if each is not None and each.store not in self._stores:
                self._stores.append(each.store)
        # For whom the stores work that are asked, if any is.
        self.colours = frozenset({"sync", "async"}).intersection(*(store.colours for store in self._stores))
        if not self.colours:
            raise ConfigError("the stores for spill= and revocation= have no colour in common: sync or async")

    async def carry(self, operation: Coroutine[Any, Any, T]) -> T:
        """See `Homes.carry`."""
        if "async" in self.colours or _colour.by_hand():
            return await operation
        return await _colour.off_loop(operation)

    def require_sync(self) -> None:
        """Raise `ConfigError` if only async callers can use the stores."""
        if "sync" not in self.colours:
            raise ConfigError(
                "spill= or revocation= has only an async client: sync callers need a blocking one"
            )

    def told(self) -> Revocations:
        """Who is told of endings. Raises `ConfigError` if nobody is."""
        if self.revocations is None:
            raise ConfigError(
                "without a store nobody can end a session that travels with its client: name one with "
                "Token(revocation=…)"
            )
        return self.revocations

    async def sweep(self, now: float) -> int:
        """See `Sweeps.sweep`."""
        return sum([await self.carry(store.sweep(now)) for store in self._stores])

    async def aclose(self) -> None:
        """Let go of this event loop's connections."""
        for store in self._stores:
            await store.aclose()
