"""Redis: from a URL, and on ready clients of every kind."""

from __future__ import annotations

from typing import Any

import pytest
import redis
import redis.asyncio

from holdfast.stores import from_url
from holdfast.stores.redis import RedisStore
from servers.process import PATIENCE_SECONDS

from . import Factory, Maker


class OnBlockingClient(RedisStore):
    """A store on a ready client, which is closed with it."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client, timeout=PATIENCE_SECONDS)
        self._client = client

    async def aclose(self) -> None:
        self._client.close()


class OnAsyncClient(RedisStore):
    """A store on a ready asyncio client, which is closed with it."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        super().__init__(client, timeout=PATIENCE_SECONDS)
        self._client = client

    async def aclose(self) -> None:
        await self._client.aclose()


def _url(request: pytest.FixtureRequest) -> Factory:
    url = request.getfixturevalue("redis_url")
    return lambda: from_url(f"{url}/0?timeout={PATIENCE_SECONDS}")


def _blocking(**options: Any) -> Maker:
    def maker(request: pytest.FixtureRequest) -> Factory:
        url = request.getfixturevalue("redis_url")
        return lambda: OnBlockingClient(redis.Redis.from_url(url, **options))

    return maker


def _awaited(**options: Any) -> Maker:
    def maker(request: pytest.FixtureRequest) -> Factory:
        url = request.getfixturevalue("redis_url")
        return lambda: OnAsyncClient(redis.asyncio.Redis.from_url(url, **options))

    return maker


def _valkey(request: pytest.FixtureRequest) -> Factory:
    url = request.getfixturevalue("valkey_url")
    return lambda: from_url(f"{url}?timeout={PATIENCE_SECONDS}")


def _url_of(fixture: str) -> Maker:
    def maker(request: pytest.FixtureRequest) -> Factory:
        servers = request.getfixturevalue(fixture)
        return lambda: from_url(f"{servers.url}?timeout={PATIENCE_SECONDS}")

    return maker


def _cluster_blocking(request: pytest.FixtureRequest) -> Factory:
    node = request.getfixturevalue("redis_cluster").nodes[0]
    return lambda: RedisStore(redis.RedisCluster("127.0.0.1", node.port), timeout=PATIENCE_SECONDS)


def _cluster_awaited(request: pytest.FixtureRequest) -> Factory:
    node = request.getfixturevalue("redis_cluster").nodes[0]
    return lambda: RedisStore(redis.asyncio.RedisCluster("127.0.0.1", node.port), timeout=PATIENCE_SECONDS)


BLOCKING: dict[str, Maker] = {
    "redis-url": _url,
    "redis-blocking": _blocking(),
    "redis-blocking-resp3-decoding": _blocking(protocol=3, decode_responses=True),
    "redis-cluster-url": _url_of("redis_cluster"),
    "redis-cluster-blocking": _cluster_blocking,
    "redis-sentinel-url": _url_of("redis_sentinel"),
    "redis-url-valkey": _valkey,
}
AWAITED: dict[str, Maker] = {
    "redis-asyncio": _awaited(),
    "redis-asyncio-resp3": _awaited(protocol=3),
    "redis-cluster-asyncio": _cluster_awaited,
}
