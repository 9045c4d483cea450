"""Which way leads to the Redis that a client or a URL is for: one server, a cluster, or a service of sentinels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import redis
import redis.asyncio
from redis.sentinel import SentinelConnectionPool

from .. import deadline
from ..errors import ConfigError
from ._options import positive
from ._redis_cluster import Cluster
from ._redis_nodes import REFUSED
from ._redis_ready import cluster_of, service_of
from ._redis_sentinel import Watched
from ._redis_url import REPLICA_SECONDS, Settings
from ._redis_wire import Command, Wire
from ._replicas import Replicas

Client = redis.Redis | redis.asyncio.Redis | redis.RedisCluster | redis.asyncio.RedisCluster | Settings


class Way:
    """The way for strong reads and changes, `ask`, and the one for weak reads, `ask_weak`.

    `cluster` is the former, if it leads to a cluster.
    """

    def __init__(self, client: Client, replicas: Iterable[Any], timeout: float) -> None:
        positive(timeout, "timeout")
        others = list(replicas)
        self.cluster = _cluster(client, timeout)
        self._ends: list[Any]
        way: Any = self.cluster or _service(client, timeout)
        if way is not None:
            if others:
                raise ConfigError("the replicas of a cluster or a service are found, not given")
            self._ends = [way]
            self.ask_weak: Callable[..., Awaitable[list[Any]]] = way.ask_weak
        else:
            way = Wire(client, timeout)  # type: ignore[arg-type]  # which refuses what it is not for
            brief = min(timeout, REPLICA_SECONDS)
            self._replicas = Replicas([Wire(replica, brief) for replica in others], way, REFUSED)
            self._ends = [way, self._replicas]
            self.ask_weak = self._ask_replica
        self.ask: Callable[..., Awaitable[list[Any]]] = way.ask
        self.colours: frozenset[str] = way.colours
        self._timeout: float = way.timeout

    def one_call(self) -> AbstractContextManager[None]:
        """Within it, all exchanges together take no longer than one may."""
        return deadline.within(self._timeout)

    async def _ask_replica(self, *commands: Command) -> list[Any]:
        """What one of the replicas answers, or else the primary; together they take no longer than that may."""
        with self.one_call():
            answers = await self._replicas.ask(lambda wire: wire.ask(*commands))
            return await self.ask(*commands) if answers is None else answers

    async def aclose(self) -> None:
        """Close the connections, as `Wire.aclose` does."""
        for end in self._ends:
            await end.aclose()

    def close(self) -> None:
        """Close the connections, as `Wire.close` does."""
        for end in self._ends:
            end.close()


def _cluster(client: Client, timeout: float) -> Cluster | None:
    if isinstance(client, Settings):
        return Cluster(client) if client.kind == "cluster" else None
    if isinstance(client, redis.RedisCluster):
        told, colour = client.nodes_manager.connection_kwargs, "sync"
        tls = bool(told.get("ssl")) or told.get("connection_class") is redis.SSLConnection
    elif isinstance(client, redis.asyncio.RedisCluster):
        told, colour = client.nodes_manager.connection_kwargs, "async"
        tls = told.get("connection_class") is redis.asyncio.SSLConnection
    else:
        return None
    nodes = list(client.nodes_manager.startup_nodes.values())
    return Cluster(cluster_of(told, tls, nodes, timeout), frozenset({colour}))


def _service(client: Client, timeout: float) -> Watched | None:
    if isinstance(client, Settings):
        return Watched(client) if client.kind == "sentinel" else None
    pool = getattr(client, "connection_pool", None)
    if not isinstance(pool, SentinelConnectionPool):
        return None
    settings, sentinels = service_of(pool, timeout)
    return Watched(settings, sentinels, frozenset({"sync"}))
