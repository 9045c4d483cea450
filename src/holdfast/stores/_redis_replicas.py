"""Weak reads of a `RedisStore`: from a replica, which may lag behind the primary, where there is one that answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from time import monotonic
from typing import Any

import redis

from .. import deadline
from ..errors import ConfigError
from ._redis_wire import Command, Wire
from .breaker import Breaker


class Replicas:
    """The ways to the replicas of a `primary`, in front of the way to itself.

    Raises `ConfigError` if a replica cannot be used by all callers of the primary.
    """

    def __init__(self, wires: Sequence[Wire], primary: Wire) -> None:
        if any(wire.colours != primary.colours for wire in wires):
            raise ConfigError("the clients of the replicas are to be of the same kind as that of the primary")
        self._replicas = [(wire, Breaker(monotonic)) for wire in wires]
        self._primary = primary

    async def ask(self, *commands: Command) -> list[Any]:
        """What one of the replicas answers, or else the primary: a second replica would cost another time limit.

        All of it takes no longer than the primary may.
        """
        with deadline.within(self._primary.timeout):
            answers = await self._ask_replica(*commands)
            return await self._primary.ask(*commands) if answers is None else answers

    async def _ask_replica(self, *commands: Command) -> list[Any] | None:
        for wire, breaker in random.sample(self._replicas, len(self._replicas)):
            if not breaker.admits():
                continue
            try:
                answers = await wire.ask(*commands)
            except (redis.RedisError, OSError):
                breaker.failed()
                return None
            except BaseException:
                breaker.gave_up()
                raise
            breaker.worked()
            return answers
        return None

    async def aclose(self) -> None:
        """Close the connections, as `Wire.aclose` does."""
        for wire, _ in self._replicas:
            await wire.aclose()

    def close(self) -> None:
        """Close the connections, as `Wire.close` does."""
        for wire, _ in self._replicas:
            wire.close()
