"""Weak reads: from a replica, which may lag behind the primary, where there is one that answers."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import monotonic
from typing import Generic, Protocol, TypeVar

from ..errors import ConfigError
from .breaker import Breaker

A = TypeVar("A")
W = TypeVar("W")


class End(Protocol):
    """The way to one server."""

    colours: frozenset[str]

    async def aclose(self) -> None: ...
    def close(self) -> None: ...


E = TypeVar("E", bound=End)


async def ask_one(
    replicas: Iterable[tuple[W, Breaker]],
    ask: Callable[[W], Awaitable[A]],
    lost: tuple[type[BaseException], ...],
) -> A | None:
    """What a replica answers, drawn from those that may be asked; None if none may, or if it raises one of `lost`.

    No second one is asked: it would cost another time limit.
    """
    there = list(replicas)
    for replica, breaker in random.sample(there, len(there)):
        if not breaker.admits():
            continue
        try:
            answer = await ask(replica)
        except lost:
            breaker.failed()
            return None
        except BaseException:
            breaker.gave_up()
            raise
        breaker.worked()
        return answer
    return None


class Replicas(Generic[E]):
    """The ways to the replicas of a `primary`. Raises `ConfigError` if one cannot be used by all its callers."""

    def __init__(self, replicas: Sequence[E], primary: E, lost: tuple[type[BaseException], ...]) -> None:
        if any(replica.colours != primary.colours for replica in replicas):
            raise ConfigError(
                "the clients or pools of the replicas are to be of the same kind as that of the primary"
            )
        self._replicas = [(replica, Breaker(monotonic)) for replica in replicas]
        self._lost = lost

    async def ask(self, ask: Callable[[E], Awaitable[A]]) -> A | None:
        """See `ask_one`."""
        return await ask_one(self._replicas, ask, self._lost)

    async def aclose(self) -> None:
        """Close their connections, as each one's `aclose` does."""
        for replica, _ in self._replicas:
            await replica.aclose()

    def close(self) -> None:
        """Close their connections, as each one's `close` does."""
        for replica, _ in self._replicas:
            replica.close()
