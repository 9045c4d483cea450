"""The ways to the servers of a cluster, or to those that sentinels watch over, each made when it is first needed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from ._redis_url import REPLICA_SECONDS, Settings, ends_at, seconds_left
from ._redis_wire import Command, Wire
from ._replicas import ask_one
from .breaker import Breaker

Address = tuple[str, int]

# What an exchange raises that has not come to its end: whether a change was applied is not known.
LOST = (redis.ConnectionError, redis.TimeoutError, OSError)

# What makes a replica none to be asked for now.
REFUSED = (redis.RedisError, OSError)


class NotThePrimary(redis.ConnectionError):
    """The server that was just connected to is not what it was taken for. Nothing was asked of it."""


class Nodes:
    """Ways to servers by address. `timeout` is for a whole call, however many of them it needs."""

    def __init__(
        self, settings: Settings, *, primary: Sequence[Any] = (), replica: Sequence[Any] = ()
    ) -> None:
        """`primary` and `replica`: what each new connection is to be asked, with a function for the answer."""
        self._settings = settings
        self._prepare = {False: primary, True: replica}
        self._wires: dict[tuple[Address, bool], tuple[Wire, Breaker]] = {}

    def to(self, address: Address, *, replica: bool = False) -> Wire:
        """The way to the server there."""
        return self._way(address, replica)[0]

    @contextmanager
    def one_call(self) -> Iterator[None]:
        """Within it, all exchanges together take no longer than the timeout."""
        mark = ends_at.set(time.monotonic() + seconds_left(self._settings.timeout))
        try:
            yield
        finally:
            ends_at.reset(mark)

    async def ask_replica(self, addresses: Iterable[Address], *commands: Command) -> list[Any] | None:
        """What one of these replicas answers; None if none does soon, and nothing if it is not its own to answer."""
        replicas = [self._way(address, replica=True) for address in addresses]
        return await ask_one(replicas, lambda wire: wire.ask(*commands), REFUSED)

    async def keep(self, addresses: Iterable[Address]) -> None:
        """Forget the ways to all other servers: where addresses come and go, they would become ever more.

        One that another event loop uses as well waits until that loop forgets it, or is closed.
        """
        wanted = set(addresses)
        for place in [place for place in list(self._wires) if place[0] not in wanted]:
            wire, _ = self._wires.get(place, (None, None))  # another thread may have been faster
            if wire is None:
                continue
            await wire.let_go()
            if not wire.is_used_elsewhere():
                self._wires.pop(place, None)

    async def aclose(self) -> None:
        """Close the connections, as `Wire.aclose` does."""
        for wire, _ in list(self._wires.values()):
            await wire.aclose()

    def close(self) -> None:
        """Close the connections, as `Wire.close` does."""
        for wire, _ in list(self._wires.values()):
            wire.close()

    def _way(self, address: Address, replica: bool) -> tuple[Wire, Breaker]:
        way = self._wires.get((address, replica))
        if way is None:
            settings = self._settings.at(address)
            if prepare := self._prepare[replica]:
                settings = self._settings.at(address, prepare=prepare)
            if replica:
                settings = settings._replace(timeout=min(settings.timeout, REPLICA_SECONDS))
            made = Wire(settings), Breaker(time.monotonic)
            way = self._wires.setdefault((address, replica), made)  # another thread may have been first
        return way
