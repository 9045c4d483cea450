"""PostgreSQL: from a URL, through a PgBouncer, each also with prepared statements, and on ready pools of both kinds."""

from __future__ import annotations

import psycopg
import psycopg_pool
import pytest

from holdfast.stores import from_url
from holdfast.stores.postgres import PostgresStore
from servers.process import PATIENCE_SECONDS

from . import Factory, Maker


class OnBlockingPool(PostgresStore):
    """A store on a ready pool, which is closed with it."""

    def __init__(self, url: str) -> None:
        self._pool = psycopg_pool.ConnectionPool(url, min_size=1, max_size=4, open=True)
        super().__init__(self._pool, timeout=PATIENCE_SECONDS)

    async def aclose(self) -> None:
        self._pool.close()


class OnAsyncPool(PostgresStore):
    """A store on a ready asyncio pool, which is opened with its first use, and closed with the store."""

    def __init__(self, url: str) -> None:
        self._pool = _OpensItself(url, min_size=1, max_size=4, open=False)
        super().__init__(self._pool, timeout=PATIENCE_SECONDS)

    async def aclose(self) -> None:
        await self._pool.close()


class _OpensItself(psycopg_pool.AsyncConnectionPool[psycopg.AsyncConnection]):
    """An application opens its pool when it starts; the factory of a check cannot await that."""

    async def getconn(self, timeout: float | None = None) -> psycopg.AsyncConnection:  # noqa: ASYNC109 - it has
        if self.closed:
            await self.open()
        return await super().getconn(timeout)


def _url(fixture: str, more: str = "") -> Maker:
    def maker(request: pytest.FixtureRequest) -> Factory:
        url: str = request.getfixturevalue(fixture)
        return lambda: from_url(f"{url}?timeout={PATIENCE_SECONDS}{more}")

    return maker


def _blocking(request: pytest.FixtureRequest) -> Factory:
    url: str = request.getfixturevalue("postgres_url")
    return lambda: OnBlockingPool(url)


def _awaited(request: pytest.FixtureRequest) -> Factory:
    url: str = request.getfixturevalue("postgres_url")
    return lambda: OnAsyncPool(url)


BLOCKING: dict[str, Maker] = {
    "postgres-url": _url("postgres_url"),
    "postgres-prepared": _url("postgres_url", "&prepared=true"),
    "postgres-pgbouncer": _url("pgbouncer_url"),
    "postgres-pgbouncer-prepared": _url("pgbouncer_url", "&prepared=true"),
    "postgres-pool": _blocking,
}
AWAITED: dict[str, Maker] = {"postgres-async-pool": _awaited}
