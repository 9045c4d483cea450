"""The azure-cosmos client of one event loop, for a `CosmosStore` from a URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from ._cosmos_url import Settings


class LoopClient:
    """The client of one event loop, closed with it.

    What asyncio offers for being told of a loop's end is its list of unfinished asynchronous generators, which it
    finishes just before; so there is one.
    """

    def __init__(self, settings: Settings) -> None:
        self._client, credential, self._session = settings.async_client()
        self._loop = asyncio.get_running_loop()
        self._entering = asyncio.Lock()
        self._is_entered = False
        self._life = _live(self._client, credential)
        with suppress(StopIteration):
            self._life.__anext__().send(None)

    async def entered(self) -> Any:
        """The client, once it knows the account."""
        if not self._is_entered:
            async with self._entering:
                if not self._is_entered:
                    await self._client.__aenter__()
                    self._is_entered = True
        return self._client

    async def aclose(self) -> None:
        await self._life.aclose()

    def abandon(self) -> None:
        """Close the connections of a loop that is closed and has not told: no more than their sockets."""
        connector = self._session.connector
        self._session.detach()
        for idle in connector._conns.values() if connector is not None else ():
            for protocol, _ in idle:
                if (transport := protocol.transport) is None:
                    continue
                sock = transport.get_extra_info("socket")
                with suppress(
                    RuntimeError
                ):  # "Event loop is closed"; but now the transport does not try it later
                    transport.close()
                if (sock := getattr(sock, "_sock", None)) is not None:
                    sock.close()
        if connector is not None:
            connector._conns.clear()

    def __del__(self) -> None:
        # A process that ends: the SDK's session would complain of a loop that nobody has told of.
        if self._loop.is_closed() and not self._session.closed:
            self.abandon()


async def _live(client: Any, credential: Any) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.close()
        if credential is not None:
            await credential.close()
