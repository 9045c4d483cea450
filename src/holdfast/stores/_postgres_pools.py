"""The connections that a `PostgresStore` uses: small pools of its own, or a ready pool of psycopg_pool's.

Each takes one statement at a time, on any connection that is known to be good: what has ended meanwhile, with the
server or while this instance was frozen, is noticed before it is used, and another takes its place.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from psycopg import pq

from ._loop_pool import LoopPool
from ._postgres_line import Statement, asking, connecting, drive, drive_awaited, found, is_ready
from ._postgres_prepared import Line

Values = Sequence[bytes | None]


class BlockingPool:
    """At most `size` connections for sync callers, the latest used first; more have to wait. Safe over a fork.

    `prepared` says whether they prepare the statements that are worth it.
    """

    def __init__(self, arguments: dict[str, Any], size: int, *, prepared: bool) -> None:
        self._arguments = arguments
        self._size = size
        self._prepared = prepared
        self._inherited: list[Line] = []
        self._begin()

    def ask(self, statement: Statement, values: Values, ends_at: float) -> pq.abc.PGresult:
        """The answer to a statement. Raises psycopg.OperationalError or TimeoutError."""
        if self._pid != os.getpid():
            # The parent's connections must be neither used nor closed here: they are kept aside for good.
            self._inherited += self._idle
            self._begin()
        turns, idle = self._turns, self._idle
        try:
            turns.get(timeout=max(ends_at - monotonic(), 0))
        except Empty:
            raise TimeoutError("all connections to PostgreSQL are in use") from None
        try:
            line = self._taken(ends_at)
            try:
                answer = drive(line.asking(statement, values), ends_at)
            except BaseException:
                # Whatever still comes on it would be taken for the answer to another statement.
                line.connection.finish()
                raise
            idle.append(line)
            return answer
        finally:
            turns.put(None)

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._pid == os.getpid() and self._idle:
            self._idle.pop().connection.finish()

    def _begin(self) -> None:
        self._idle: list[Line] = []
        self._turns: SimpleQueue[None] = SimpleQueue()  # as a semaphore, but without Python code
        for _ in range(self._size):
            self._turns.put(None)
        self._pid = os.getpid()

    def _taken(self, ends_at: float) -> Line:
        while True:
            try:
                line = self._idle.pop()
            except IndexError:
                return Line(drive(connecting(self._arguments), ends_at), prepares=self._prepared)
            if is_ready(line.connection):
                return line
            line.connection.finish()


class AwaitedPool(LoopPool):
    """At most `size` connections of the running event loop, which are closed with it; more have to wait.

    `prepared` says whether they prepare the statements that are worth it.
    """

    def __init__(self, arguments: dict[str, Any], size: int, *, prepared: bool) -> None:
        super().__init__(_Place, size)
        self._arguments = arguments
        self._prepared = prepared

    async def ask(self, statement: Statement, values: Values, ends_at: float) -> pq.abc.PGresult:
        """The answer to a statement. Raises psycopg.OperationalError or TimeoutError."""
        if self._turns.locked():
            async with asyncio.timeout(ends_at - monotonic()):
                await self._turns.acquire()
        else:
            await self._turns.acquire()  # does not wait
        place = self._idle.pop() if self._idle else self._make()
        try:
            if (line := place.line) is None or not is_ready(line.connection):
                place.close()
                arguments = await found(self._arguments, ends_at)
                connection = await drive_awaited(connecting(arguments), ends_at)
                place.line = line = Line(connection, prepares=self._prepared)
            return await drive_awaited(line.asking(statement, values), ends_at)
        except BaseException:
            place.close()
            raise
        finally:
            await self.release(place)

    def abandon(self) -> None:
        """Close the connections of a loop that is closed and has not told."""
        while self._idle:
            self._idle.pop().close()


class _Place:
    """The place of a connection, with what a `LoopPool` uses of it."""

    line: Line | None = None
    _writer = None  # libpq has no part of asyncio's

    def close(self) -> None:
        if self.line is not None:
            self.line.connection.finish()

    async def disconnect(self, nowait: bool = True) -> None:
        self.close()


class ReadyPool:
    """A psycopg_pool.ConnectionPool, which stays its owner's."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def ask(self, statement: Statement, values: Values, ends_at: float) -> pq.abc.PGresult:
        """The answer to a statement. Raises psycopg.OperationalError or TimeoutError."""
        while True:
            connection = self._pool.getconn(timeout=_left(ends_at))
            try:
                if is_ready(connection.pgconn):
                    return drive(asking(connection.pgconn, statement, values), ends_at)
                connection.close()
            except BaseException:
                connection.close()
                raise
            finally:
                self._pool.putconn(connection)

    def close(self) -> None:
        """Leave it as it is."""


class ReadyAwaitedPool:
    """A psycopg_pool.AsyncConnectionPool, which stays its owner's."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def ask(self, statement: Statement, values: Values, ends_at: float) -> pq.abc.PGresult:
        """The answer to a statement. Raises psycopg.OperationalError or TimeoutError."""
        while True:
            connection = await self._pool.getconn(timeout=_left(ends_at))
            try:
                if is_ready(connection.pgconn):
                    return await drive_awaited(asking(connection.pgconn, statement, values), ends_at)
                await connection.close()
            except BaseException:
                await connection.close()
                raise
            finally:
                await self._pool.putconn(connection)

    async def aclose(self) -> None:
        """Leave it as it is."""


def _left(ends_at: float) -> float:
    left = ends_at - monotonic()
    if left <= 0:
        raise TimeoutError("no connection to PostgreSQL in time")
    return left
