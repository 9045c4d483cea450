"""Sessions in one table of PostgreSQL, over psycopg 3. Nearly everything is one statement.

Each statement is a transaction of its own, in a single round trip. It leaves nothing in the server's session and needs
nothing there, so that PgBouncer may hand each to another connection (its transaction mode). Only if it is asked to, it
prepares statements: `_postgres_prepared`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors, pq

from .. import _colour, deadline
from ..errors import ConfigError, StoreError, StoreThrottled
from ..record import Change, Record, judge
from . import Page, Part
from . import _postgres_sql as sql
from ._options import positive
from ._postgres_line import Statement
from ._postgres_url import Settings
from ._postgres_wire import Weak, Wire

if TYPE_CHECKING:
    import psycopg_pool

# How often what PostgreSQL has refused for another's sake, and did not do, is tried again.
_ROUNDS = 8
_PAUSE_SECONDS = 0.002

# A sweep goes in steps, so that none takes long.
_SWEEP_STEP = 1000


class PostgresStore:
    """A store in the table `table` of a PostgreSQL, which `holdfast provision` makes.

    `pool` is a `psycopg_pool.ConnectionPool`, for sync callers (async ones are sent to a thread), or a
    `psycopg_pool.AsyncConnectionPool`, for async callers on its own event loop. Its connections are used, whatever they
    say of transactions: each statement is one. It is for its owner to open and to close.

    `replicas` are pools of hot standbys, of the same kind as `pool`: `load(weak=True)` asks one of them, and the
    primary where that fails. A replica that has failed is left alone for a second or more. `timeout` is how many
    seconds a call takes at most, in all. `prepared` is for the stores of `from_url`, and refused for a pool: what is
    prepared on its connections would be seen, and could be dropped, by all others who use it.

    `PostgresStore.from_url` serves both kinds of callers, and any number of event loops one after the other.

    Raises `ConfigError` for anything else; calls raise psycopg's own errors, and TimeoutError.
    """

    # A read-only server was the primary until now, or will be.
    unavailable = (psycopg.OperationalError, psycopg.InterfaceError, errors.ReadOnlySqlTransaction, OSError)
    throttled = (
        *(errors.InsufficientResources, errors.TooManyConnections, errors.OutOfMemory, errors.DiskFull),
        errors.ConfigurationLimitExceeded,
    )
    max_bytes = 8 * 1024 * 1024

    def __init__(
        self,
        pool: psycopg_pool.ConnectionPool[Any] | psycopg_pool.AsyncConnectionPool[Any] | Settings,
        *,
        table: str = "holdfast_sessions",
        replicas: Iterable[
            psycopg_pool.ConnectionPool[Any] | psycopg_pool.AsyncConnectionPool[Any] | Settings
        ] = (),
        timeout: float = 2.0,
        prepared: bool = False,
    ) -> None:
        if not isinstance(prepared, bool):
            raise ConfigError(f"prepared={prepared!r}: write True or False")
        self._timeout = positive(timeout, "timeout")
        self._table = table
        self._sql = sql.Statements(table)
        self._wire = Wire(pool, prepared=prepared)
        self._weak = Weak([Wire(replica, prepared=prepared) for replica in replicas], self._wire)
        self.colours = self._wire.colours

    @classmethod
    def from_url(cls, url: str) -> PostgresStore:
        """The store for `postgresql://user:password@host:5432/database`.

        Options: `table` (holdfast_sessions), `timeout` (seconds that a call takes at most, 2), `connections` (at most
        so many for an event loop, and for all threads of sync callers, 8), `replica` (host:port, as often as there are
        replicas; their time limit is 0.25 seconds), `prepared` (whether to prepare statements, for which no pooler may
        stand in between, false), `host` (the directory of a socket), and libpq's `sslmode`, `sslrootcert`, `sslcert`
        and `sslkey`. Raises `ConfigError`. Nothing is connected before it is used.
        """
        settings = Settings.from_url(url)
        return cls(
            settings,
            table=settings.table,
            replicas=settings.replicas(),
            timeout=settings.timeout,
            prepared=settings.prepared,
        )

    async def create(self, key: str, record: Record) -> bool:
        answer = await self._ask(self._sql.create, sql.row_of(key, record))
        return answer.command_tuples == 1

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        return await self._load(key, self._ends_at(), self._weak if weak else self._wire)

    async def commit(self, key: str, change: Change) -> Record:
        ends_at = self._ends_at()
        statement, row = self._sql.commit(key, change)
        for _ in range(_ROUNDS):
            answer = await self._ask(statement, row, ends_at)
            if answer.ntuples:
                return sql.record_of(answer)
            # Only what was refused costs a second statement, which is to say why.
            applied = judge(await self._load(key, ends_at, self._wire), change)
            if applied is not None:
                return applied
        raise StoreThrottled(f"the record was replaced {_ROUNDS} times while it was to be changed")

    async def end(self, key: str, tombstone: Record) -> None:
        await self._ask(self._sql.end, sql.row_of(key, tombstone))

    async def of(self, owner: str) -> dict[str, Record]:
        return sql.records_of(await self._ask(self._sql.of, [owner.encode()]))

    async def sweep(self, now: float) -> int:
        deleted = 0
        while True:
            answer = await self._ask(self._sql.sweep, [sql.time(now), sql.number(_SWEEP_STEP)])
            deleted += answer.command_tuples or 0
            if (answer.command_tuples or 0) < _SWEEP_STEP:
                return deleted

    async def scan(self, after: str | None, most: int) -> Page:
        answer = await self._ask(self._sql.scan, [(after or "").encode(), sql.number(most)])
        records = sql.records_of(answer)
        return Page(records, None if len(records) < most else list(records)[-1])

    async def count(self) -> int:
        return sql.number_of(await self._ask(self._sql.count, []))

    async def provision(self, *, create: bool) -> list[Part]:
        from ..provision import postgres

        return await postgres.provision(self._wire, self._table, self._timeout, create=create)

    def as_code(self, form: str) -> str:
        from ..provision import postgres

        return postgres.as_code(self._wire.database, self._table, form)

    async def aclose(self) -> None:
        """Close the connections that the store has made itself, those of other event loops excepted."""
        await self._wire.aclose()
        await self._weak.aclose()

    def close(self) -> None:
        """Close the connections that the store has made itself for sync callers."""
        self._wire.close()
        self._weak.close()

    def _ends_at(self) -> float:
        return monotonic() + deadline.limit(self._timeout)

    async def _load(self, key: str, ends_at: float, wire: Wire | Weak) -> Record | None:
        try:
            answer = await self._ask(self._sql.load, [key.encode()], ends_at, wire)
        except psycopg.OperationalError as error:
            # A connection that ended just now: to read again is always allowed, on another one.
            if not _is_lost(error):
                raise
            answer = await self._ask(self._sql.load, [key.encode()], ends_at, wire)
        return sql.record_of(answer) if answer.ntuples else None

    async def _ask(
        self,
        statement: Statement,
        values: Sequence[bytes | None],
        ends_at: float | None = None,
        wire: Wire | Weak | None = None,
    ) -> pq.abc.PGresult:
        ends_at = self._ends_at() if ends_at is None else ends_at
        wire = self._wire if wire is None else wire
        for _ in range(_ROUNDS):
            try:
                return await wire.ask(statement, values, ends_at)
            except (errors.SerializationFailure, errors.DeadlockDetected) as error:
                # It was rolled back: for another's sake, and where the database's isolation level is a higher one.
                refusal = error
            except (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName) as error:
                raise StoreError(
                    f"the table {self._table} is not there, or not as it should be: run holdfast provision ({error})"
                ) from error
            except errors.InsufficientPrivilege as error:
                raise StoreError(
                    f"the role may not do this: see holdfast provision --print sql for its rights ({error})"
                ) from error
            await _colour.pause(_PAUSE_SECONDS)
        raise StoreThrottled(f"PostgreSQL has refused a statement {_ROUNDS} times") from refusal


def _is_lost(error: psycopg.OperationalError) -> bool:
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
