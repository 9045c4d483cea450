"""How commands reach one memcached: three of them are enough for everything, written once for both colours.

The connections are pymemcache's for sync callers (`_memcached_blocking`) and asyncio's for async ones
(`_memcached_loop`, which is loaded when the first of them comes). What is said on them is said here, because what the
clients on PyPI do when a server fails is not good enough for sessions (docs/stores/memcached.md says what was found).
The protocol: https://github.com/memcached/memcached/blob/master/doc/protocol.txt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

from pymemcache.exceptions import MemcacheServerError, MemcacheUnknownError

from .. import _colour, deadline
from ._memcached_blocking import BlockingPool

if TYPE_CHECKING:
    from ._memcached_loop import ConnectionPool

T = TypeVar("T")

_ANSWERS = frozenset({b"STORED", b"NOT_STORED", b"EXISTS", b"NOT_FOUND"})
_FAILURES = b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR"
_REFUSALS = frozenset({b"NS", b"EX", b"NF"})

# From here on it is known that "ms" tells the token of what it has stored.
_TELLS_TOKENS = 1, 6, 18


class Connection(Protocol):
    """One connection, for one exchange at a time. A sync caller's never suspends."""

    tells_tokens: bool | None
    """Whether the server that it is connected to tells tokens, once that is known."""

    async def ask(self, message: bytes, read: Callable[[bytes], T | None]) -> T:
        """Send a command and return what `read` makes of the answer: it says None until it has all of it."""
        ...


class Item(NamedTuple):
    """What memcached holds under a key, and the token by which a later `cas` knows it again."""

    data: bytes
    token: bytes


class Node:
    """One memcached. `timeout` is in seconds, for an exchange as a whole, and for connecting if that is needed. An
    event loop opens at most so many `connections`.

    `on_connect` is called before each new connection: one is needed after a restart of the server, whose tokens then
    begin anew. Calls raise OSError (a time limit too) or pymemcache's MemcacheError. No command is sent twice.
    """

    def __init__(
        self, host: str, port: int, *, timeout: float, connections: int, on_connect: Callable[[], None]
    ) -> None:
        def pool() -> ConnectionPool:
            from ._memcached_loop import ConnectionPool

            return ConnectionPool(host, port, connections, on_connect)

        self._timeout = timeout
        self._blocking = BlockingPool(host, port, on_connect)
        self._loops = _colour.PerLoop(pool, lambda pool: pool.abandon())

    async def fetch(self, keys: Iterable[bytes]) -> dict[bytes, Item]:
        """The items that are there, by key. One command."""
        message = b"gets %b\r\n" % b" ".join(keys)
        return await self._exchange(lambda connection: connection.ask(message, _items))

    async def store(
        self, verb: Literal["set", "add", "cas"], key: bytes, data: bytes, expire: int, token: bytes = b""
    ) -> bool:
        """Store the data: always, if nothing is there, or if what is there has this token. One command.

        False if it was not stored. `expire` is what memcached takes it for: seconds up to 30 days, and beyond
        that seconds since the epoch.
        """
        message = _storing(verb, key, data, expire, token)
        stored = _is_stored(await self._exchange(lambda connection: connection.ask(message, _line)))
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

        async def talk(connection: Connection) -> bytes | None:
            if not is_valid():
                return None
            if connection.tells_tokens is None:
                connection.tells_tokens = _tells_tokens(await connection.ask(b"version\r\n", _line))
            if connection.tells_tokens:
                meta = b"ms %b %d T%d C%b c\r\n%b\r\n" % (key, len(data), expire, token, data)
                return _token(await connection.ask(meta, _line))
            message = _storing("cas", key, data, expire, token)
            return b"" if _is_stored(await connection.ask(message, _line)) else None

        return await self._exchange(talk)

    def _exchange(self, talk: Callable[[Connection], Coroutine[Any, Any, T]]) -> Coroutine[Any, Any, T]:
        """What `talk` returns, given a connection."""
        seconds = deadline.limit(self._timeout)
        if _colour.by_hand():
            return self._blocking.exchange(talk, seconds)
        return self._loops.get().exchange(talk, seconds)

    async def aclose(self) -> None:
        """Close the running loop's connections, if it is awaited, and those for sync callers."""
        self.close()
        if not _colour.by_hand() and (pool := self._loops.pop()) is not None:
            await pool.aclose()

    def close(self) -> None:
        """Close the connections for sync callers that are not in use."""
        self._blocking.close()


def _storing(verb: str, key: bytes, data: bytes, expire: int, token: bytes) -> bytes:
    """The command that stores; `token` is for "cas"."""
    mark = b" " + token if token else b""
    return b"%b %b 0 %d %d%b\r\n%b\r\n" % (verb.encode(), key, expire, len(data), mark, data)


def _is_stored(answer: bytes) -> bool:
    if answer not in _ANSWERS:
        raise MemcacheUnknownError(f"memcached answers {answer[:40]!r} where something was to be stored")
    return answer == b"STORED"


def _line(answer: bytes, start: int = 0) -> bytes | None:
    """The first line, once it is there. Raises for one that says that the command has failed."""
    end = answer.find(b"\r\n", start)
    if end < 0:
        return None
    line = answer[start:end]
    if line.startswith(_FAILURES):
        raise MemcacheServerError(line.decode(errors="replace"))
    return line


def _items(answer: bytes) -> dict[bytes, Item] | None:
    """The items that "gets" has found, once all of them are there."""
    found: dict[bytes, Item] = {}
    start = 0
    while (line := _line(answer, start)) != b"END":
        if line is None:
            return None
        fields = line.split()
        if len(fields) != 5 or fields[0] != b"VALUE" or not fields[3].isdigit():
            raise MemcacheUnknownError(f"memcached answers {line[:40]!r} to gets")
        _, key, _flags, size, token = fields
        begin = start + len(line) + 2
        end = begin + int(size)
        found[key] = Item(answer[begin:end], token)
        start = end + 2  # where no line is found if not all of the data is there
    return found


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
