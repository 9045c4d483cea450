"""Firestore: from a URL, and on ready clients of both kinds."""

from __future__ import annotations

from typing import Any

import pytest
from google.cloud import firestore

from holdfast.stores import from_url
from holdfast.stores.firestore import FirestoreStore
from servers.firestore import PROJECT
from servers.process import PATIENCE_SECONDS

from . import Factory, Maker


class OnClient(FirestoreStore):
    """A store on a ready client for sync callers, which is closed with it."""

    def __init__(self, client: firestore.Client) -> None:
        super().__init__(client, timeout=PATIENCE_SECONDS)
        self._client: Any = client

    async def aclose(self) -> None:
        self._client._firestore_api.transport.close()


class OnAsyncClient(FirestoreStore):
    """A store on a ready client for async callers, which is closed with it."""

    def __init__(self, client: firestore.AsyncClient) -> None:
        super().__init__(client, timeout=PATIENCE_SECONDS)
        self._client: Any = client

    async def aclose(self) -> None:
        await self._client._firestore_api.transport.close()


def _url(request: pytest.FixtureRequest) -> Factory:
    address = request.getfixturevalue("firestore_address")
    return lambda: from_url(f"firestore://{PROJECT}/sessions?emulator={address}&timeout={PATIENCE_SECONDS}")


def _ready(kind: Any, store: Any) -> Maker:
    def maker(request: pytest.FixtureRequest) -> Factory:
        address = request.getfixturevalue("firestore_address")
        request.getfixturevalue("monkeypatch").setenv("FIRESTORE_EMULATOR_HOST", address)
        return lambda: store(kind(project=PROJECT))

    return maker


BLOCKING: dict[str, Maker] = {
    "firestore-url": _url,
    "firestore-blocking": _ready(firestore.Client, OnClient),
}
AWAITED: dict[str, Maker] = {"firestore-asyncio": _ready(firestore.AsyncClient, OnAsyncClient)}
