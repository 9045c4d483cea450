"""Cosmos DB: from a URL, and on ready containers of both kinds."""

from __future__ import annotations

import pytest
from azure.cosmos.aio import CosmosClient as AsyncCosmosClient

from holdfast.stores import from_url
from holdfast.stores.cosmos import CosmosStore
from servers.cosmos import CONTAINER, DATABASE, KEY, CosmosServer
from servers.process import PATIENCE_SECONDS

from . import Factory, Maker


class OnBlockingClient(CosmosStore):
    """A store on a ready container, whose client is closed with it."""

    def __init__(self, server: CosmosServer) -> None:
        self._client = server.client()
        super().__init__(
            self._client.get_database_client(DATABASE).get_container_client(CONTAINER),
            timeout=PATIENCE_SECONDS,
        )

    async def aclose(self) -> None:
        self._client.close()


class OnAsyncClient(CosmosStore):
    """A store on a ready container of the async client, which is closed with it."""

    def __init__(self, server: CosmosServer) -> None:
        self._client = AsyncCosmosClient(server.endpoint, KEY, enable_endpoint_discovery=False)
        super().__init__(
            self._client.get_database_client(DATABASE).get_container_client(CONTAINER),
            timeout=PATIENCE_SECONDS,
        )

    async def aclose(self) -> None:
        await self._client.close()


def _url(request: pytest.FixtureRequest) -> Factory:
    url: str = request.getfixturevalue("cosmos_url")
    return lambda: from_url(url)


def _ready(kind: type[OnBlockingClient | OnAsyncClient]) -> Maker:
    def maker(request: pytest.FixtureRequest) -> Factory:
        server: CosmosServer = request.getfixturevalue("cosmos_shared")
        return lambda: kind(server)

    return maker


BLOCKING: dict[str, Maker] = {"cosmos-url": _url, "cosmos-blocking": _ready(OnBlockingClient)}
AWAITED: dict[str, Maker] = {"cosmos-aio": _ready(OnAsyncClient)}
