"""How a `PostgresStore`'s statements reach PostgreSQL, in either colour, and its replicas where these will do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from time import monotonic
from typing import Any

import psycopg
from psycopg import pq

from .. import _colour
from ..errors import ConfigError
from ._postgres_line import Statement, check
from ._postgres_pools import AwaitedPool, BlockingPool, ReadyAwaitedPool, ReadyPool, Values
from ._postgres_url import Settings
from ._replicas import Replicas

# A replica is asked because it is cheaper. One that does not answer soon is not: then the primary is.
_REPLICA_SECONDS = 0.25


class Wire:
    """The way to one PostgreSQL: for sync callers, for async ones, or for both; `colours` says for whom."""

    def __init__(self, pool: Any, *, prepared: bool = False) -> None:
        """Over a ready pool, or over connections of its own, as `Settings` say, which may keep `prepared` statements.

        Raises `ConfigError` for anything else.
        """
        self._blocking: BlockingPool | ReadyPool | None = None
        self._awaited: ReadyAwaitedPool | None = None
        self._loops: _colour.PerLoop[AwaitedPool] | None = None
        # As far as it is known: a ready pool may find it out as it connects. libpq's default is the user's name.
        arguments = pool.arguments if isinstance(pool, Settings) else {}
        self.database: str = arguments.get("dbname") or arguments.get("user") or ""
        # Who has a pool of theirs has loaded the module.
        ready: Any = sys.modules.get("psycopg_pool")
        if isinstance(pool, Settings):
            self._blocking = BlockingPool(pool.arguments, pool.connections, prepared=prepared)
            self._loops = _colour.PerLoop(
                lambda: AwaitedPool(pool.arguments, pool.connections, prepared=prepared), AwaitedPool.abandon
            )
        elif ready is not None and isinstance(pool, ready.ConnectionPool):
            self._blocking = ReadyPool(pool)
        elif ready is not None and isinstance(pool, ready.AsyncConnectionPool):
            self._awaited = ReadyAwaitedPool(pool)
        else:
            kind = f"{type(pool).__module__}.{type(pool).__qualname__}"
            raise ConfigError(
                "PostgresStore takes a psycopg_pool.ConnectionPool or a psycopg_pool.AsyncConnectionPool, "
                f"not a {kind}; for a URL there is PostgresStore.from_url"
            )
        if prepared and self._loops is None:
            raise ConfigError(
                "prepared=True is for connections of the store's own, from a URL: on a ready pool, prepared statements "
                "would be left to all who use it, and whoever resets a connection (DISCARD ALL) would drop them"
            )
        self.colours = frozenset(
            (["sync"] if self._blocking is not None else [])
            + (["async"] if self._awaited or self._loops else [])
        )

    async def ask(self, statement: Statement, values: Values, ends_at: float) -> pq.abc.PGresult:
        """The answer to a statement. Raises psycopg's errors, and TimeoutError at `ends_at` (time.monotonic)."""
        if self._blocking is not None and (_colour.by_hand() or "async" not in self.colours):
            return check(self._blocking.ask(statement, values, ends_at))
        pool = self._awaited or self._loops.get()  # type: ignore[union-attr]  # one of the three is there
        return check(await pool.ask(statement, values, ends_at))

    async def aclose(self) -> None:
        """Close connections of its own: the running loop's, if it is awaited, and those for sync callers."""
        self.close()
        if self._loops is not None and not _colour.by_hand() and (pool := self._loops.pop()) is not None:
            await pool.aclose()

    def close(self) -> None:
        """Close connections of its own for sync callers that are not in use."""
        if self._blocking is not None:
            self._blocking.close()


class Weak:
    """The way for weak reads: to one of the replicas of a `primary`, or else to itself.

    Raises `ConfigError` if a replica cannot be used by all callers of the primary.
    """

    def __init__(self, replicas: Sequence[Wire], primary: Wire) -> None:
        # A TimeoutError is an OSError.
        self._replicas, self._primary = Replicas(replicas, primary, (psycopg.Error, OSError)), primary
        self.aclose, self.close = self._replicas.aclose, self._replicas.close

    async def ask(self, statement: Statement, values: Values, ends_at: float) -> pq.abc.PGresult:
        """As `Wire.ask`."""
        soon = min(ends_at, monotonic() + _REPLICA_SECONDS)
        answer = await self._replicas.ask(lambda replica: replica.ask(statement, values, soon))
        return await self._primary.ask(statement, values, ends_at) if answer is None else answer
