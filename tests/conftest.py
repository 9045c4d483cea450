"""Fixtures for every test: real servers. One that cannot be started is a failure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import RedisServer


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
