"""How commands reach one memcached, in either colour: three commands are enough for everything.

Sync callers go through pymemcache. Async ones go through a few lines of asyncio here, because what the clients on
PyPI do when a server fails is not good enough for sessions (docs/stores/memcached.md says what was found).
The protocol: https://github.com/memcached/memcached/blob/master/doc/protocol.txt.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Literal, NamedTuple, cast

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheServerError, MemcacheUnknownCommandError, MemcacheUnknownError

from .. import _colour, deadline
from ._loop_pool import LoopPool

_ANSWERS = frozenset({b"STORED", b"NOT_STORED", b"EXISTS", b"NOT_FOUND"})
_REFUSALS = frozenset({b"NS", b"EX", b"NF"})

# From here on it is known that "ms" tells the token of what it has stored.
_TELLS_TOKENS = 1, 6, 18


class Item(NamedTuple):
    """What memcached holds under a key, and the token by which a later `cas` knows it again."""

    data: bytes
    token: bytes


class Node:
    """One memcached. `timeout` is in seconds, for an exchange as a whole; sync callers may wait half of it each
    for connecting and for the answer. An event loop opens at most so many `connections`.

    `on_connect` is called before each new connection: one is needed after a restart of the server, whose tokens then
    begin anew. Calls raise OSError (a time limit too) or pymemcache's MemcacheError. No command is sent twice.
    """

    def __init__(
        self, host: str, port: int, *, timeout: float, connections: int, on_connect: Callable[[], None]
    ) -> None:
        self._blocking = _Blocking(host, port, timeout, on_connect)
        self._timeout = timeout
        self._loops = _colour.PerLoop(
            lambda: LoopPool(lambda: _Connection(host, port, on_connect), connections), LoopPool.abandon
        )

    async def fetch(self, keys: Iterable[bytes]) -> dict[bytes, Item]:
        """The items that are there, by key. One command."""
        if _colour.by_hand():
            with self._blocking.client() as client:
                return {key: Item(*pair) for key, pair in client.gets_many(list(keys)).items()}
        found: dict[bytes, Item] = {}
        async with asyncio.timeout(deadline.limit(self._timeout)), _Exchange(self._loops.get()) as connection:
            await connection.send(b"gets %b\r\n" % b" ".join(keys))
            while (line := await connection.line()) != b"END":
                kind, key, _flags, size, token = line.split()
                if kind != b"VALUE":
                    raise MemcacheUnknownError(f"memcached answers {line[:40]!r} to gets")
                found[key] = Item(await connection.data(int(size)), token)
        return found

    async def store(
        self, verb: Literal["set", "add", "cas"], key: bytes, data: bytes, expire: int, token: bytes = b""
    ) -> bool:
        """Store the data: always, if nothing is there, or if what is there has this token. One command.

        False if it was not stored. `expire` is what memcached takes it for: seconds up to 30 days, and beyond
        that seconds since the epoch.
        """
        if _colour.by_hand():
            with self._blocking.client() as client:
                arguments = (data, token) if verb == "cas" else (data,)
                stored = bool(getattr(client, verb)(key, *arguments, expire, noreply=False))
        else:
            async with (
                asyncio.timeout(deadline.limit(self._timeout)),
                _Exchange(self._loops.get()) as connection,
            ):
                head = b"%b %b 0 %d %d %b" % (verb.encode(), key, expire, len(data), token)
                await connection.send(b"%b\r\n%b\r\n" % (head.rstrip(), data))
                answer = await connection.line()
                if answer not in _ANSWERS:
                    raise MemcacheUnknownError(f"memcached answers {answer[:40]!r} to {verb}")
                stored = answer == b"STORED"
        if verb == "set" and not stored:
            raise MemcacheServerError("memcached has not stored what can always be stored")
        return stored

    async def replace(
        self, key: bytes, data: bytes, expire: int, token: bytes, is_valid: Callable[[], bool] = lambda: True
    ) -> bytes | None:
        """Like `store("cas", …)`: the token of what is stored then, if the server tells it; None if it was not stored.

        Nothing is sent unless the token `is_valid` once there is a connection, which may be to a server that was
        restarted. One command, and once for each connection another one, which asks for the server's version: an
        older server would take the data for commands.
        """
        meta = b"ms %b %d T%d C%b c\r\n%b" % (key, len(data), expire, token, data)
        if _colour.by_hand():
            with self._blocking.client() as client:
                if not is_valid():
                    return None
                if client.tells_tokens is None:
                    client.tells_tokens = _tells_tokens(client.raw_command(b"version"))
                if client.tells_tokens:
                    return _token(client.ask(meta))
                return b"" if client.cas(key, data, token, expire, noreply=False) else None
        async with asyncio.timeout(deadline.limit(self._timeout)), _Exchange(self._loops.get()) as connection:
            if not is_valid():
                return None
            if connection.tells_tokens is None:
                await connection.send(b"version\r\n")
                connection.tells_tokens = _tells_tokens(await connection.line())
            if connection.tells_tokens:
                await connection.send(meta + b"\r\n")
                return _token(await connection.line())
        return b"" if await self.store("cas", key, data, expire, token) else None

    async def aclose(self) -> None:
        """Close the running loop's connections, if it is awaited, and those for sync callers."""
        self.close()
        if not _colour.by_hand() and (pool := self._loops.pop()) is not None:
            await pool.aclose()

    def close(self) -> None:
        """Close the connections for sync callers that are not in use."""
        self._blocking.close()


class _Blocking:
    """Connections for sync callers: as many as threads use it at once, and none that a parent process has opened."""

    def __init__(self, host: str, port: int, timeout: float, on_connect: Callable[[], None]) -> None:
        self._on_connect = on_connect
        self._half = timeout / 2
        self._make: Callable[[], Any] = partial(_Client, (host, port), no_delay=True)
        self._idle: list[Any] = []
        self._process = os.getpid()

    @contextmanager
    def client(self) -> Iterator[Any]:
        if self._process != os.getpid():
            self._idle, self._process = [], os.getpid()
        try:
            client = self._idle.pop()
        except IndexError:
            client = self._make()
        if client.sock is not None and _readable(client.sock):
            client.close()  # nothing was asked, so it can only be the connection's end
        half = deadline.limit(2 * self._half) / 2
        client.connect_timeout = client.timeout = half
        if client.sock is None:
            self._on_connect()
        elif client.sock.gettimeout() != half:
            client.sock.settimeout(half)
        try:
            yield client
        except BaseException:
            client.close()
            raise
        self._idle.append(client)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


class _Client(Client):  # type: ignore[misc]  # pymemcache has no types
    """pymemcache's, which knows whether the server that it is connected to tells tokens."""

    tells_tokens: bool | None = None

    def close(self) -> None:
        self.tells_tokens = None
        super().close()

    def ask(self, message: bytes) -> bytes:
        """The line that the server answers."""
        try:
            answer: bytes = self.raw_command(message)
        except MemcacheUnknownCommandError:
            # pymemcache's error has all of the message in it, and so what is in the session.
            raise MemcacheServerError("memcached does not know the command") from None
        return answer


class _Connection:
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

    async def disconnect(self, nowait: bool = False) -> None:
        writer, self._reader, self._writer = self._writer, None, None
        if writer is None:
            return
        writer.close()
        if not nowait:
            with suppress(OSError):
                await writer.wait_closed()

    async def send(self, message: bytes) -> None:
        assert self._writer is not None  # noqa: S101 - LoopPool hands out connected ones; for the type checker
        self._writer.write(message)
        await self._writer.drain()

    async def line(self) -> bytes:
        """The next line of the answer. Raises for one that says that the command has failed."""
        assert self._reader is not None  # noqa: S101 - see above
        line = await self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("memcached has closed the connection")
        if line.startswith((b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR")):
            raise MemcacheServerError(line.decode(errors="replace").strip())
        return line[:-2]

    async def data(self, size: int) -> bytes:
        """So many bytes of data, and the end of the line that follows them."""
        assert self._reader is not None  # noqa: S101 - see above
        try:
            return (await self._reader.readexactly(size + 2))[:-2]
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("memcached has closed the connection") from error


class _Exchange:
    """A connection for one command and its answer. It is closed if these are not complete."""

    def __init__(self, pool: LoopPool) -> None:
        self._pool = pool

    async def __aenter__(self) -> _Connection:
        self._connection = cast(_Connection, await self._pool.get_connection())
        return self._connection

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            # Whatever still comes on it would be taken for the answer to another command.
            await self._connection.disconnect(nowait=True)
        await self._pool.release(self._connection)


def _tells_tokens(answer: bytes) -> bool:
    numbers = re.match(rb"VERSION (\d+)\.(\d+)\.(\d+)", answer)
    return numbers is not None and tuple(map(int, numbers.groups())) >= _TELLS_TOKENS


def _token(answer: bytes) -> bytes | None:
    """What "ms" has answered."""
    kind, _, flags = answer.partition(b" ")
    if kind == b"HD" and flags.startswith(b"c"):
        return flags[1:]
    if kind not in _REFUSALS:
        raise MemcacheUnknownError(f"memcached answers {answer[:40]!r} to ms")
    return None


def _readable(sock: socket.socket) -> bool:
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
