"""Fixtures for every test: real servers. One that cannot be started is a failure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import MemcachedServer, RedisReplica, RedisServer


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis that all tests share. It is empty at the start, and is not stopped meanwhile."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for one test alone, which may stop, freeze and restart it. It keeps its data over a restart."""
    directory = tmp_path / "redis"
    directory.mkdir()
    with RedisServer(directory, durable=True) as server:
        yield server


@pytest.fixture
def redis_replica(tmp_path: Path, redis_server: RedisServer) -> Iterator[RedisReplica]:
    """A replica of `redis_server`, for one test alone, which may pause its replication."""
    directory = tmp_path / "replica"
    directory.mkdir()
    with RedisReplica(directory, redis_server) as replica:
        yield replica


@pytest.fixture(scope="session")
def memcached_url() -> Iterator[str]:
    """The URL of a memcached that all tests share, which is not stopped meanwhile."""
    with MemcachedServer() as server:
        yield server.url


@pytest.fixture
def memcached_server() -> Iterator[MemcachedServer]:
    """A memcached for one test alone, which may stop, freeze and restart it. It forgets all when it does."""
    with MemcachedServer() as server:
        yield server
