"""DynamoDB: from a URL on both emulators, and on ready clients of both kinds."""

from __future__ import annotations

from functools import cache
from typing import Any

import aiobotocore.session
import boto3
import pytest

from holdfast.record import Change, Record
from holdfast.stores import Store, from_url
from holdfast.stores.dynamodb import DynamoDBStore
from servers.dynamodb import TABLE
from servers.process import PATIENCE_SECONDS

from . import Factory, Maker

# What it has read of botocore's files serves all the clients.
_SESSION = aiobotocore.session.get_session()


class OnBlockingClient(DynamoDBStore):
    """A store on a ready client, which is closed with it."""

    def __init__(self, client: Any) -> None:
        super().__init__(client, TABLE, timeout=PATIENCE_SECONDS)
        self._client = client

    async def aclose(self) -> None:
        self._client.close()


class OnAsyncClient:
    """A store on a ready aiobotocore client, which is made with the first call and closed with the store."""

    colours = frozenset({"async"})
    max_bytes = DynamoDBStore.max_bytes

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._context: Any = None
        self._store: DynamoDBStore | None = None

    async def _ready(self) -> DynamoDBStore:
        if self._store is None:
            self._context = _SESSION.create_client(
                "dynamodb",
                region_name="eu-west-1",
                endpoint_url=self._endpoint,
                config=DynamoDBStore.config(PATIENCE_SECONDS),
            )
            self._store = DynamoDBStore(await self._context.__aenter__(), TABLE, timeout=PATIENCE_SECONDS)
        return self._store

    async def create(self, key: str, record: Record) -> bool:
        return await (await self._ready()).create(key, record)

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        return await (await self._ready()).load(key, weak=weak)

    async def commit(self, key: str, change: Change) -> Record:
        return await (await self._ready()).commit(key, change)

    async def end(self, key: str, tombstone: Record) -> None:
        await (await self._ready()).end(key, tombstone)

    async def of(self, owner: str) -> dict[str, Record]:
        return await (await self._ready()).of(owner)

    async def aclose(self) -> None:
        if self._store is not None:
            await self._context.__aexit__(None, None, None)


def endpoint_of(url: str) -> str:
    """Where the emulator of a URL is."""
    return url.partition("endpoint=")[2].partition("&")[0]


def _url(fixture: str) -> Maker:
    def maker(request: pytest.FixtureRequest) -> Factory:
        store = _store_for(request.getfixturevalue(fixture))
        return lambda: store

    return maker


@cache
def _store_for(url: str) -> Store:
    """One store for all the checks, each of which closes it: botocore takes 0.2 seconds to make one."""
    return from_url(url)


def _blocking(request: pytest.FixtureRequest) -> Factory:
    endpoint = endpoint_of(request.getfixturevalue("moto_url"))
    return lambda: OnBlockingClient(
        boto3.client(
            "dynamodb",
            region_name="eu-west-1",
            endpoint_url=endpoint,
            config=DynamoDBStore.config(PATIENCE_SECONDS),
        )
    )


def _awaited(request: pytest.FixtureRequest) -> Factory:
    endpoint = endpoint_of(request.getfixturevalue("dynalite_url"))
    return lambda: OnAsyncClient(endpoint)


BLOCKING: dict[str, Maker] = {
    "dynamodb-moto": _url("moto_url"),
    "dynamodb-dynalite": _url("dynalite_url"),
    "dynamodb-boto3": _blocking,
}
AWAITED: dict[str, Maker] = {"dynamodb-aiobotocore": _awaited}
