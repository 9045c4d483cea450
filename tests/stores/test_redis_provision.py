"""What is said of a Redis's settings, and the user with least rights."""

from __future__ import annotations

import pytest
import redis

from holdfast import ConfigError
from holdfast._colour import run
from holdfast.stores import from_url
from holdfast.stores.redis import RedisStore
from holdfast.testing import conformance
from servers.redis import RedisServer
from servers.redis_cluster import RedisCluster
from servers.redis_nodes import client_of
from servers.redis_sentinel import RedisSentinel


def states(store: RedisStore, *, create: bool = False) -> dict[str, str]:
    """The parts with their states."""
    return {part.name: part.state for part in run(store.provision(create=create))}


def test_settings_that_lose_sessions_are_wrong(redis_server: RedisServer) -> None:
    """Redis that throws anything out, or writes nothing to disk, is told apart from one that keeps sessions."""
    store, client = RedisStore.from_url(redis_server.url), redis.Redis.from_url(redis_server.url)
    fine = {"Redis": "there", "maxmemory-policy": "there", "appendonly": "there"}
    for create in (False, True, True):
        assert states(store, create=create) == fine
    client.config_set("maxmemory-policy", "volatile-ttl")
    assert states(store) == fine
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("appendonly", "no")
    assert states(store, create=True) == fine | {"maxmemory-policy": "wrong", "appendonly": "wrong"}
    assert client.config_get("appendonly") == {"appendonly": "no"}  # what is there is never changed


def test_the_parts_of_a_cluster_and_of_a_service(
    redis_cluster: RedisCluster, redis_sentinel: RedisSentinel
) -> None:
    """A cluster's slots are counted too."""
    assert states(RedisStore.from_url(redis_cluster.url))["slots"] == "there"
    assert states(RedisStore.from_url(redis_sentinel.url))["Redis"] == "there"


def test_a_user_with_least_rights_is_enough(redis_server: RedisServer) -> None:
    """The printed line is taken by a real Redis; its user passes the whole of the law and may do nothing else."""
    _create_user(redis_server)
    address = redis_server.url.removeprefix("redis://")
    url = f"redis://holdfast:PASSWORD@{address}"
    conformance(lambda: from_url(url))
    assert states(RedisStore.from_url(url))["Redis"] == "there"
    with redis.Redis.from_url(url) as client:
        for command in (("GET", "other"), ("CONFIG", "GET", "*"), ("FLUSHALL",), ("KEYS", "*")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)


def test_a_user_with_least_rights_is_enough_in_a_cluster(redis_cluster: RedisCluster) -> None:
    """The same there, for changes and weak reads."""
    for node in redis_cluster.nodes:
        _create_user(node)
    url = redis_cluster.url.replace("://", "://holdfast:PASSWORD@")
    conformance(lambda: from_url(url), colour="async")


def test_other_forms_are_refused(redis_url: str) -> None:
    """The error names the form that there is."""
    with pytest.raises(ConfigError, match="there is acl"):
        RedisStore.from_url(redis_url).as_code("terraform")


def _create_user(node: RedisServer) -> None:
    line = RedisStore.from_url(node.url).as_code("acl")
    with client_of(node) as client:
        assert client.execute_command(*line.split())
