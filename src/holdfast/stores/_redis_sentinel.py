"""The way to a Redis that sentinels watch over: to the primary that they name, and to its replicas."""

from __future__ import annotations

import time
from typing import Any

import redis

from ._redis_nodes import LOST, Address, Nodes, NotThePrimary
from ._redis_url import Settings, ends_at, seconds_left
from ._redis_wire import Command

# While the primary is asked for, no sentinel that does not answer holds that up for longer.
_SENTINEL_SECONDS = 0.3

# For so long the sentinels are not asked again which replicas there are.
_REPLICAS_SECONDS = 10.0


class Watched:
    """The way to the service's primary, like `Wire` to one Redis.

    When a connection is lost or a change refused, the sentinels are asked anew by the next call; a new connection
    is used only if the server says that it is a primary. No command is sent again but those that were not sent.
    """

    def __init__(
        self,
        settings: Settings,
        sentinels: Settings | None = None,
        colours: frozenset[str] = frozenset({"sync", "async"}),
    ) -> None:
        """`sentinels`: how to connect to them, if not as to the servers."""
        self.colours = colours
        self.timeout = settings.timeout
        self._settings = settings
        self._nodes = Nodes(settings, primary=[((b"ROLE",), _is_primary)])
        if sentinels is None:
            arguments = {"username": settings.sentinel_user, "password": settings.sentinel_password, "db": 0}
            sentinels = settings._replace(arguments=settings.arguments | arguments)
        self._sentinels = Nodes(sentinels)
        self._primary: Address | None = None
        self._replicas: list[Address] = []
        self._listed_at = float("-inf")

    async def ask(self, *commands: Command) -> list[Any]:
        """The answers of the primary, or the first error among them."""
        with self._nodes.one_call():
            place = self._primary or await self._find()
            try:
                return await self._send(place, *commands)
            except NotThePrimary:
                return await self._send(await self._find(), *commands)

    async def ask_weak(self, *commands: Command) -> list[Any]:
        """The same of what only reads, from a replica if one answers."""
        with self._nodes.one_call():
            if time.monotonic() > self._listed_at + _REPLICAS_SECONDS:
                await self._find()
            answers = await self._nodes.ask_replica(self._replicas, *commands)
            return await self.ask(*commands) if answers is None else answers

    async def aclose(self) -> None:
        """Close the connections, as `Wire.aclose` does."""
        await self._nodes.aclose()
        await self._sentinels.aclose()

    def close(self) -> None:
        """Close the connections, as `Wire.close` does."""
        self._nodes.close()
        self._sentinels.close()

    async def _send(self, place: Address, *commands: Command) -> list[Any]:
        try:
            return await self._nodes.to(place).ask(*commands)
        except (*LOST, redis.ReadOnlyError):
            self._primary = None
            raise

    async def _find(self) -> Address:
        """Where the primary is now, by the first sentinel that knows.

        A sentinel that does not answer soon is left for the next one. If none knows, those that were slow are given
        what time there is: a new connection over TLS, far away or on a busy machine, may take it.
        """
        failure: BaseException | None = None
        slow: list[Address] = []
        for patient, places in ((False, self._settings.hosts), (True, slow)):
            for number, place in enumerate(places):
                seconds = (
                    seconds_left(self.timeout) / (len(places) - number) if patient else _SENTINEL_SECONDS
                )
                try:
                    primary = await self._ask_sentinel(place, seconds)
                except (redis.RedisError, OSError) as error:
                    failure = error
                    if not patient and isinstance(error, redis.TimeoutError | TimeoutError):
                        slow.append(place)
                    continue
                if primary is not None:
                    return primary
        raise redis.ConnectionError(
            f"no sentinel names a primary for {self._settings.service!r}"
        ) from failure

    async def _ask_sentinel(self, place: Address, seconds: float) -> Address | None:
        """The primary that this sentinel names, and with it the replicas; None if it knows none."""
        service, patience, whole = self._settings.service.encode(), time.monotonic() + seconds, ends_at.get()
        mark = ends_at.set(patience if whole is None else min(whole, patience))
        try:
            primary, replicas = await self._sentinels.to(place).ask(
                (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", service), (b"SENTINEL", b"REPLICAS", service)
            )
        finally:
            ends_at.reset(mark)
        if not primary:
            return None
        self._primary = _address(*primary)
        self._replicas = [found for replica in replicas if (found := _usable(replica)) is not None]
        self._listed_at = time.monotonic()
        await self._nodes.keep((self._primary, *self._replicas))
        return self._primary


def _address(host: bytes, port: bytes) -> Address:
    return host.decode(), int(port)


def _usable(replica: list[bytes]) -> Address | None:
    """The address of a replica that follows its primary."""
    told = dict(zip(replica[::2], replica[1::2], strict=True))
    if told[b"flags"] != b"slave" or told.get(b"master-link-status") != b"ok":
        return None
    return _address(told[b"ip"], told[b"port"])


def _is_primary(role: Any) -> None:
    if role[0] != b"master":
        raise NotThePrimary("the server that the sentinels name is not a primary any more, or not yet")
