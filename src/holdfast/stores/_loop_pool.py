"""The asyncio connections of one event loop to a server."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any


class LoopPool:
    """At most `size` connections of the running event loop, the latest used first; more have to wait.

    The connections are closed with the loop. What asyncio offers for being told of a loop's end is its list of
    unfinished asynchronous generators, which it finishes just before; so the pool keeps one. To close them
    later, on another loop, is what fails with "Event loop is closed".

    A connection is one of redis-py's, or has of theirs what is used here; it fails with `failures`.
    """

    def __init__(
        self, make: Callable[[], Any], size: int, failures: tuple[type[Exception], ...] = (OSError,)
    ) -> None:
        self._make = make
        self._failures = failures
        self._idle: list[Any] = []
        self._turns = asyncio.Semaphore(size)
        self._life = self._live()
        with suppress(StopIteration):
            self._life.__anext__().send(None)

    async def get_connection(self) -> Any:
        """A connection that is ready for commands, and is to be given back."""
        await self._turns.acquire()
        connection = self._idle.pop() if self._idle else self._make()
        try:
            if connection.is_connected and _has_news(connection):
                await connection.disconnect(nowait=True)
            if not connection.is_connected:
                await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: Any) -> None:
        """Take a connection back."""
        self._idle.append(connection)
        self._turns.release()

    async def aclose(self) -> None:
        """Close the connections that are not in use, in the loop that they belong to."""
        await self._life.aclose()

    def abandon(self) -> None:
        """Close the connections of a loop that is closed and has not told: no more than their sockets."""
        while self._idle:
            writer = self._idle.pop()._writer
            if writer is None:
                continue
            with suppress(RuntimeError):  # "Event loop is closed"; but now the writer does not try it later
                writer.close()
            if (sock := getattr(writer.transport, "_sock", None)) is not None:
                sock.close()

    async def _live(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            idle, self._idle[:] = self._idle[:], []
            for connection in idle:
                writer = connection._writer
                with suppress(*self._failures):
                    await connection.disconnect(nowait=True)
                if writer is not None:
                    # TLS waits for the other side's goodbye, for half a minute where that does not answer.
                    writer.transport.abort()
            if idle:
                await asyncio.sleep(0)  # in which asyncio closes the sockets


def _has_news(connection: Any) -> bool:
    """Whether something can be read from an idle connection, which can only be its end.

    asyncio tells as soon as its loop runs. But where the instance was frozen meanwhile it has not run, and the
    request that woke it comes first.
    """
    writer = connection._writer
    if writer.is_closing() or not hasattr(select, "poll"):
        return writer.is_closing() or bool(connection._reader.at_eof())
    poll = select.poll()
    poll.register(writer.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
