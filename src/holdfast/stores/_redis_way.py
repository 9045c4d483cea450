"""Which way leads to the Redis that a client or a URL is for: one server, a cluster, or a service of sentinels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import redis
import redis.asyncio

from ..errors import ConfigError
from ._options import positive
from ._redis_cluster import Cluster
from ._redis_replicas import Replicas
from ._redis_sentinel import Watched
from ._redis_url import Settings
from ._redis_wire import Wire

Client = redis.Redis | redis.asyncio.Redis | redis.RedisCluster | redis.asyncio.RedisCluster | Settings

# What a cluster's client was told that concerns how to connect to a server.
_KEPT = {"username", "password", "credential_provider", "client_name", "socket_keepalive"}
_KEPT |= {"socket_keepalive_options"}


class Way:
    """The way for strong reads and changes, `ask`, and the one for weak reads, `ask_weak`.

    `cluster` is the former, if it leads to a cluster.
    """

    def __init__(self, client: Client, replicas: Iterable[Any], timeout: float) -> None:
        positive(timeout, "timeout")
        others = list(replicas)
        self.cluster = _cluster(client, timeout)
        self._ends: list[Any]
        if self.cluster is not None or (isinstance(client, Settings) and client.kind):
            if others:
                raise ConfigError("the replicas of a cluster or a service are found, not given")
            way: Any = self.cluster or Watched(client)  # type: ignore[arg-type]  # settings, as was just found
            self._ends = [way]
            self.ask_weak: Callable[..., Awaitable[list[Any]]] = way.ask_weak
        else:
            way = Wire(client, timeout)  # type: ignore[arg-type]  # which refuses what it is not for
            among = Replicas([Wire(replica, timeout) for replica in others], way)
            self._ends = [way, among]
            self.ask_weak = among.ask
        self.ask: Callable[..., Awaitable[list[Any]]] = way.ask
        self.colours: frozenset[str] = way.colours

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
    arguments = {
        name: value
        for name, value in told.items()
        if value is not None and (name in _KEPT or (tls and name.startswith("ssl_")))
    }
    patience = told.get("socket_timeout")
    settings = Settings(
        arguments | {"protocol": 2},
        tls,
        timeout=timeout if patience is None else min(timeout, patience),
        kind="cluster",
        hosts=[(str(node.host), int(node.port)) for node in client.nodes_manager.startup_nodes.values()],
    )
    return Cluster(settings, frozenset({colour}))
