"""How a `DynamoDBStore`'s calls reach DynamoDB, in either colour and within a time limit."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from threading import Lock
from typing import Any, Protocol

from .. import _colour
from ..errors import ConfigError
from ._dynamodb_url import BLOCKING_SHARE, Settings

# The time limits of blocking clients are fixed when they are made. So there may be one for each of these parts of the
# whole limit, made when a request that is soon cut off needs it.
_LEVELS = (1.0, 0.5, 0.25, 0.125, 0.0625)


class Clients(Protocol):
    """The way to DynamoDB: `colours` says for whom, `longest` how many seconds a call takes whatever time is left."""

    colours: frozenset[str]
    longest: float

    async def call(self, operation: str, arguments: dict[str, Any], ends_at: float) -> dict[str, Any]:
        """DynamoDB's answer. Raises botocore's errors, and TimeoutError after `ends_at` on the monotonic clock."""
        ...

    async def aclose(self) -> None:
        """Close the connections that the store has made itself, those of other event loops excepted."""
        ...

    def close(self) -> None:
        """Close the connections that the store has made itself for sync callers."""
        ...


class OwnClients:
    """Clients made as the settings say: blocking ones, and with aiobotocore one for each event loop."""

    longest = 0.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._blocking: dict[float, Any] = {}
        self._inherited: list[dict[float, Any]] = []
        self._pid = os.getpid()
        self._loops: _colour.PerLoop[_LoopClient] | None = None
        self.colours = frozenset({"sync"})
        if settings.awaited is not None:
            self._loops = _colour.PerLoop(lambda: _LoopClient(settings), _LoopClient.abandon)
            self.colours = frozenset({"sync", "async"})

    async def call(self, operation: str, arguments: dict[str, Any], ends_at: float) -> dict[str, Any]:
        left = _left(ends_at)
        if self._loops is None or _colour.by_hand():
            client = self._client_within(left)
            return getattr(client, operation)(**arguments)  # type: ignore[no-any-return]  # untyped
        import asyncio

        async with asyncio.timeout(left):
            client = await self._loops.get().ready()
            return await getattr(client, operation)(**arguments)  # type: ignore[no-any-return]  # untyped

    async def aclose(self) -> None:
        self.close()
        if self._loops is not None and not _colour.by_hand() and (client := self._loops.pop()) is not None:
            await client.aclose()

    def close(self) -> None:
        with self._lock:
            clients = list(self._blocking.values())
            self._blocking.clear()
        for client in clients:
            client.close()

    def _client_within(self, seconds: float) -> Any:
        """The client with the longest time limit among those that end in time."""
        if self._pid != os.getpid():
            # Connections of the parent must be neither used nor closed here: they are kept aside for good.
            self._inherited.append(self._blocking)
            self._blocking, self._lock, self._pid = {}, Lock(), os.getpid()
        timeout = self._settings.timeout
        for level in _LEVELS:
            if timeout * level * BLOCKING_SHARE <= seconds:
                break
        else:
            raise TimeoutError("too little time is left for another call")
        client = self._blocking.get(level)
        if client is None:
            with self._lock:
                client = self._blocking.get(level)
                if client is None:
                    client = self._blocking[level] = self._settings.blocking_client(timeout * level)
        return client


class ReadyClient:
    """A client that somebody else has made, and closes."""

    def __init__(self, client: Any, timeout: float) -> None:
        """Raises `ConfigError` for another kind, for one that tries again, and for one that blocks for longer."""
        meta = getattr(client, "meta", None)
        model = getattr(meta, "service_model", None)
        if getattr(model, "service_name", None) != "dynamodb" or not hasattr(client, "get_item"):
            raise ConfigError(
                f"{type(client).__name__} is no DynamoDB client: hand in boto3.client('dynamodb'), "
                "or one of aiobotocore"
            )
        awaited = sys.modules.get("aiobotocore.client")
        self._is_awaited = awaited is not None and isinstance(client, awaited.AioBaseClient)
        self._client = client
        self.colours = frozenset({"async" if self._is_awaited else "sync"})
        self.longest = _check_limits(client, timeout, awaited=self._is_awaited)

    async def call(self, operation: str, arguments: dict[str, Any], ends_at: float) -> dict[str, Any]:
        left = _left(ends_at)
        method = getattr(self._client, operation)
        if not self._is_awaited:
            return method(**arguments)  # type: ignore[no-any-return]  # untyped
        import asyncio

        async with asyncio.timeout(left):
            return await method(**arguments)  # type: ignore[no-any-return]  # untyped

    async def aclose(self) -> None:
        pass

    def close(self) -> None:
        pass


class _LoopClient:
    """The aiobotocore client of one event loop, made when it is first used and closed with the loop.

    What asyncio offers for being told of a loop's end is its list of unfinished asynchronous generators, which it
    finishes just before; so the client lives in one.
    """

    def __init__(self, settings: Settings) -> None:
        import asyncio

        self._settings = settings
        self._turn = asyncio.Lock()
        self._life: AsyncGenerator[Any, None] | None = None
        self._client: Any = None

    async def ready(self) -> Any:
        """The client, ready for calls."""
        if self._client is None:
            async with self._turn:
                if self._client is None:
                    self._life = self._live()
                    self._client = await anext(self._life)
        return self._client

    async def aclose(self) -> None:
        """Close it, in the loop that it belongs to."""
        if self._life is not None:
            await self._life.aclose()

    def abandon(self) -> None:
        """Close the connections of a loop that is closed and has not told: no more than their sockets."""
        client, self._client = self._client, None
        if client is None:
            return
        sessions = getattr(client._endpoint.http_session, "_sessions", None) or {}
        for session in sessions.values():
            connector = session.connector
            session.detach()
            for idle in connector._conns.values():
                for protocol, _ in idle:
                    _close_socket(protocol.transport)
            connector._conns.clear()

    def __del__(self) -> None:
        # Of a store that is forgotten with a loop which was closed without a word.
        self.abandon()

    async def _live(self) -> AsyncGenerator[Any, None]:
        async with self._settings.awaited_client() as client:
            try:
                yield client
            finally:
                self._client = None


def _close_socket(transport: Any) -> None:
    if transport is None:
        return
    with suppress(RuntimeError):  # "Event loop is closed"; but now the transport does not try it later
        transport.abort()
    if (sock := transport.get_extra_info("socket")) is not None and hasattr(sock, "_sock"):
        sock._sock.close()


def _left(ends_at: float) -> float:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError("DynamoDB has not answered in time")
    return left


def _check_limits(client: Any, timeout: float, *, awaited: bool) -> float:
    """How long a call takes at the most that nobody can cut short. Raises `ConfigError` if that is too long."""
    settings = client.meta.config
    if (settings.retries or {}).get("total_max_attempts") != 1:
        wrong = "tries again by itself, changes too whose answer was lost"
    else:
        waits = settings.connect_timeout, settings.read_timeout
        if awaited:
            return 0.0
        if None not in waits and sum(waits) <= timeout:
            return float(sum(waits))
        wrong = f"may wait {waits[0]} + {waits[1]} seconds, and a call has to end within {timeout:g}"
    raise ConfigError(
        f"this DynamoDB client {wrong}: make it with config=DynamoDBStore.config(timeout={timeout:g})"
    )
