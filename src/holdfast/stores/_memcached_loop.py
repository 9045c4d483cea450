"""asyncio's connections to memcached. A module of its own: only async callers load asyncio."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from ._loop_pool import LoopPool

T = TypeVar("T")

_CHUNK_BYTES = 64 * 1024


class ConnectionPool(LoopPool):
    """At most `size` connections of the running event loop to one server."""

    def __init__(self, host: str, port: int, size: int, on_connect: Callable[[], None]) -> None:
        super().__init__(lambda: StreamConnection(host, port, on_connect), size)

    async def exchange(self, talk: Callable[[StreamConnection], Coroutine[Any, Any, T]], seconds: float) -> T:
        """What `talk` returns, given a connection. TimeoutError if it takes longer, waiting for its turn included."""
        async with asyncio.timeout(seconds):
            connection = cast(StreamConnection, await self.get_connection())
            try:
                return await talk(connection)
            except BaseException:
                # Whatever still comes on it would be taken for the answer to another command.
                await connection.disconnect(nowait=True)
                raise
            finally:
                await self.release(connection)


class StreamConnection:
    """One asyncio connection, as `LoopPool` wants it."""

    def __init__(self, host: str, port: int, on_connect: Callable[[], None]) -> None:
        self._address = host, port
        self._on_connect = on_connect
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.tells_tokens: bool | None = None

    @property
    def is_connected(self) -> bool:
        return self._writer is not None

    async def connect(self) -> None:
        self.tells_tokens = None
        self._on_connect()
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        self._writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def disconnect(self, nowait: bool = True) -> None:
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()

    async def ask(self, message: bytes, read: Callable[[bytes], T | None]) -> T:
        assert self._reader is not None  # noqa: S101 - LoopPool hands out connected ones; for the type checker
        assert self._writer is not None  # noqa: S101 - the same
        self._writer.write(message)
        answer = b""
        while (found := read(answer)) is None:
            received = await self._reader.read(_CHUNK_BYTES)
            if not received:
                raise ConnectionResetError("memcached has closed the connection")
            answer += received
        return found
