"""Blocking connections to memcached, for sync callers."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, TypeVar

from pymemcache.client.base import Client

T = TypeVar("T")

# What is asked of a socket at once: any usual session with its answer.
_CHUNK_BYTES = 16 * 1024


class BlockingPool:
    """As many connections as threads use it at once, and none that a parent process has opened."""

    def __init__(self, host: str, port: int, on_connect: Callable[[], None]) -> None:
        self._address = host, port
        self._on_connect = on_connect
        self._idle: list[BlockingConnection] = []
        self._process = os.getpid()

    async def exchange(
        self, talk: Callable[[BlockingConnection], Coroutine[Any, Any, T]], seconds: float
    ) -> T:
        """What `talk` returns, given a connection. TimeoutError if it takes longer, connecting included."""
        if self._process != os.getpid():
            self._idle, self._process = [], os.getpid()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = BlockingConnection(self._address, self._on_connect)
        try:
            connection.begin(seconds)
            answer = await talk(connection)
        except BaseException:
            # Whatever still comes on it would be taken for the answer to another command.
            connection.close()
            raise
        self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            self._idle.pop().close()


class BlockingConnection(Client):  # type: ignore[misc]  # pymemcache has no types
    """pymemcache's connection, asked directly: its commands are made for any number of keys and kinds of values,
    and take as long as the way to the server and back.
    """

    sock: socket.socket | None

    def __init__(self, address: tuple[str, int], on_connect: Callable[[], None]) -> None:
        super().__init__(address, no_delay=True)
        self._on_connect = on_connect
        self._news: select.poll | None = None
        self._ends_at, self._has_waited = 0.0, False
        self.tells_tokens: bool | None = None

    def begin(self, seconds: float) -> None:
        """Be connected for an exchange, which ends in so many seconds. Raises OSError, TimeoutError too."""
        self._ends_at, self._has_waited = monotonic() + seconds, False
        if self.sock is not None and self._news is not None and self._news.poll(0):
            self.close()  # nothing was asked, so it can only be the connection's end
        if self.sock is not None:
            if self.sock.gettimeout() != seconds:
                self.sock.settimeout(seconds)
            return
        self.tells_tokens = None
        self._on_connect()
        self.connect_timeout = self.timeout = seconds
        self._connect()
        assert self.sock is not None  # noqa: S101 - for the type checker
        # Made once: there is a look for news before each exchange.
        if hasattr(select, "poll"):
            self._news = select.poll()
            self._news.register(self.sock, select.POLLIN)
        self._wait_no_longer(self.sock)

    async def ask(self, message: bytes, read: Callable[[bytes], T | None]) -> T:
        assert self.sock is not None  # noqa: S101 - it is connected since `begin`; for the type checker
        self.sock.sendall(message)
        answer = b""
        while True:
            if self._has_waited:
                self._wait_no_longer(self.sock)
            self._has_waited = True
            received = self.sock.recv(_CHUNK_BYTES)
            if not received:
                raise ConnectionResetError("memcached has closed the connection")
            answer += received
            if (found := read(answer)) is not None:
                return found

    def _wait_no_longer(self, sock: socket.socket) -> None:
        """Wait on the socket for no longer than what is left of the exchange."""
        left = self._ends_at - monotonic()
        if left <= 0:
            raise TimeoutError("memcached has not answered in time")
        sock.settimeout(left)
