"""What the clients for sync callers that are handed in say about how to connect.

Their own connections are passed by: redis-py's connect again and again, as its client's retries say, and each time for
as long as the client's own time limits say. Neither can be told of a call that has to be over.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.sentinel import SentinelConnectionPool

from ..errors import ConfigError
from ._redis_url import Settings

# What a client was told that concerns how to connect to a server of a cluster, or of a service.
_KEPT = {"username", "password", "credential_provider", "client_name", "socket_keepalive"}
_KEPT |= {"socket_keepalive_options"}

# What a client was told of time limits, of trying again, and of what a server tells unasked.
_LEFT_OUT = {"socket_timeout", "socket_connect_timeout", "health_check_interval", "parser_class"}
_LEFT_OUT |= {"event_dispatcher", "himport_registry", "oss_cluster_maint_notifications_handler"}
_LEFT_OUT_BEGINNINGS = ("retry", "maint", "orig_")


def settings_of(client: redis.Redis, timeout: float) -> Settings:
    """How to connect as the client does. Raises `ConfigError` if sentinels tell it where to."""
    pool: Any = client.connection_pool
    told = pool.connection_kwargs
    if isinstance(pool, SentinelConnectionPool):
        raise ConfigError("hand in the client of Sentinel.master_for as the only one: its replicas are found")
    arguments = {
        name: value
        for name, value in told.items()
        if not (name in _LEFT_OUT or name.startswith(_LEFT_OUT_BEGINNINGS))
    }
    return Settings(
        # The older protocol has no messages that nobody has asked for.
        arguments | {"protocol": 2},
        issubclass(pool.connection_class, redis.SSLConnection),
        timeout=_earlier(timeout, told),
        connection=pool.connection_class,
    )


def cluster_of(told: dict[str, Any], tls: bool, nodes: list[Any], timeout: float) -> Settings:
    """How to connect to the servers of a cluster, whose client was told so much."""
    return Settings(
        _kept(told, tls) | {"protocol": 2},
        tls,
        timeout=_earlier(timeout, told),
        kind="cluster",
        hosts=[(str(node.host), int(node.port)) for node in nodes],
    )


def service_of(pool: SentinelConnectionPool, timeout: float) -> tuple[Settings, Settings]:
    """How to connect to the servers of a service, and to the sentinels. Raises `ConfigError` for one of replicas."""
    manager: Any = pool.sentinel_manager
    if not pool.is_master:
        raise ConfigError("RedisStore takes the client of Sentinel.master_for: its replicas are found")
    if getattr(manager, "_force_master_ip", None):
        raise ConfigError("RedisStore connects to where the sentinels say: leave force_master_ip out")
    tls = issubclass(pool.connection_class, redis.SSLConnection)
    told = pool.connection_kwargs
    hosts = []
    for sentinel in manager.sentinels:
        address = sentinel.connection_pool.connection_kwargs
        hosts.append((str(address["host"]), int(address["port"])))
    service = Settings(
        _kept(told, tls) | {"protocol": 2, "db": told.get("db", 0)},
        tls,
        timeout=_earlier(timeout, told),
        kind="sentinel",
        hosts=hosts,
        service=str(pool.service_name),
    )
    return service, settings_of(manager.sentinels[0], timeout)


def _kept(told: dict[str, Any], tls: bool) -> dict[str, Any]:
    return {
        name: value
        for name, value in told.items()
        if value is not None and (name in _KEPT or (tls and name.startswith("ssl_")))
    }


def _earlier(timeout: float, told: dict[str, Any]) -> float:
    patience = told.get("socket_timeout")
    return timeout if patience is None else min(timeout, patience)
