"""How a `RedisStore`'s commands reach Redis, in either colour.

Commands go over the connections of redis-py themselves and not through its `execute_command`, which would send
a command again whose answer was lost. For a change that would be wrong: others may have changed the record
since.
"""

from __future__ import annotations

import asyncio
from typing import Any

import hiredis
import redis
import redis.asyncio

from .. import _colour
from ..errors import ConfigError
from ._redis_blocking import BlockingPool
from ._redis_line import LinePool
from ._redis_ready import settings_of
from ._redis_url import Settings, seconds_left

Command = tuple[bytes, ...]

# What redis-py has no name for: like a replica, this server takes no changes for now. It has too few replicas, or its
# disk fails.
_NO_CHANGES = "NOREPLICAS", "MISCONF"


class Wire:
    """The way to one Redis: for sync callers, for async ones, or for both.

    `colours` says for whom. Every call raises redis-py's own errors, and takes no longer than `timeout` seconds
    (with settings: theirs), less if the request ends sooner.
    """

    def __init__(self, client: redis.Redis | redis.asyncio.Redis | Settings, timeout: float = 2.0) -> None:
        """Over connections of its own, as the settings or a client for sync callers say, or over an async client's.

        Raises `ConfigError` for a client of another kind.
        """
        self._blocking: BlockingPool | None = None
        self._awaited: Any = None
        self._loops: _colour.PerLoop[LinePool] | None = None
        self.timeout = timeout
        if isinstance(client, Settings):
            self.colours = frozenset({"sync", "async"})
            self.timeout = client.timeout
            self._blocking = client.blocking_pool()
            self._loops = _colour.PerLoop(client.loop_pool, LinePool.abandon)
        elif isinstance(client, redis.Redis):
            self.colours = frozenset({"sync"})
            settings = settings_of(client, timeout)
            self.timeout = settings.timeout
            self._blocking = settings.blocking_pool()
        elif isinstance(client, redis.asyncio.Redis):
            self.colours = frozenset({"async"})
            self._awaited = client.connection_pool
        else:
            kind = f"{type(client).__module__}.{type(client).__qualname__}"
            raise ConfigError(f"RedisStore takes a redis.Redis or a redis.asyncio.Redis, not a {kind}")

    async def ask(self, *commands: Command) -> list[Any]:
        """Send the commands together and return their answers, or raise the first error among them."""
        packed = b"".join([_packed(command) for command in commands])
        seconds = seconds_left(self.timeout)
        try:
            if self._blocking is not None and (_colour.by_hand() or "async" not in self.colours):
                return self._blocking.ask(packed, len(commands), seconds)
            if self._loops is not None:
                return await self._loops.get().ask(packed, len(commands), seconds)
            return await _ask_awaited(self._awaited, packed, len(commands), seconds)
        except redis.ResponseError as error:
            if str(error).startswith(_NO_CHANGES):
                raise redis.ReadOnlyError(str(error)) from error
            raise

    async def aclose(self) -> None:
        """Close connections of its own: the running loop's, if it is awaited, and those for sync callers."""
        self.close()
        if self._loops is not None and not _colour.by_hand() and (pool := self._loops.pop()) is not None:
            await pool.aclose()

    async def let_go(self) -> None:
        """The same without waiting for anything, as in the middle of a call."""
        self.close()
        if self._loops is not None and not _colour.by_hand() and (pool := self._loops.pop()) is not None:
            await pool.let_go()

    def is_used_elsewhere(self) -> bool:
        """Whether event loops that are not closed have connections of its own."""
        return self._loops is not None and self._loops.is_in_use()

    def close(self) -> None:
        """Close connections of its own for sync callers that are not in use."""
        if self._blocking is not None:
            self._blocking.close()


async def _ask_awaited(pool: Any, packed: bytes, answers: int, seconds: float) -> list[Any]:
    async with asyncio.timeout(seconds):
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command([packed])
            return [await connection.read_response(disable_decoding=True) for _ in range(answers)]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)


def _packed(command: Command) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # declared for a single part
    return packed
