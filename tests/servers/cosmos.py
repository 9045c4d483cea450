"""Cosmos DB: the emulator that npm has, started by `cosmos_emulator.js`, which says what it makes up for."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.cosmos import CosmosClient, PartitionKey

from .process import PATIENCE_SECONDS, Server, free_port

_MODULE = Path(sys.prefix) / "node_modules" / "@vercel" / "cosmosdb-server"
KEY = "c2VjcmV0LWtleS1mb3ItdGVzdHM="
DATABASE, CONTAINER = "web", "sessions"


class CosmosServer(Server):
    """An emulator of Cosmos DB on the loopback interface, with an empty container. It forgets all when it ends."""

    def __init__(self) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}/"
        self.url = self.container_url(CONTAINER)

    def start(self) -> None:
        """Start it, make the database and the container, and return."""
        super().start()
        with self.client() as client:
            database = client.create_database(DATABASE)
            database.create_container(CONTAINER, PartitionKey("/id"), default_ttl=-1)
        self.requests()

    def container_url(self, container: str, database: str = DATABASE) -> str:
        """The URL for a store in a container of this server."""
        return f"cosmos://127.0.0.1:{self.port}/{database}/{container}?insecure_http=true&key={KEY}"

    def client(self, **options: Any) -> CosmosClient:
        """A blocking client."""
        return CosmosClient(self.endpoint, KEY, enable_endpoint_discovery=False, **options)

    def set(self, **look: Any) -> None:
        """Let the account look or behave otherwise; see `cosmos_emulator.js`."""
        request = urllib.request.Request(f"{self.endpoint}_control", json.dumps(look).encode(), method="PUT")
        urllib.request.urlopen(request).close()

    def requests(self) -> list[tuple[str, str, str | None]]:
        """The requests since this was last asked: method, path, and the consistency level that was asked for."""
        with urllib.request.urlopen(f"{self.endpoint}_control") as answer:
            return [tuple(entry) for entry in json.load(answer)]

    _package, _greeting, _welcome = "nodejs", b"GET / HTTP/1.0\r\n\r\n", (b"HTTP/1.1 200",)

    def _command(self) -> list[str]:
        if not _MODULE.is_dir():
            raise RuntimeError(
                f"{_MODULE} is not there: tools/setup test npm:cosmosdb-server=@vercel/cosmosdb-server@1"
            )
        script = Path(__file__).with_name("cosmos_emulator.js")
        return ["node", str(script), str(_MODULE), str(self.port)]


@pytest.fixture(scope="session")
def cosmos_shared() -> Iterator[CosmosServer]:
    """An emulator that all tests share; none may set or stop it."""
    with CosmosServer() as server:
        yield server


@pytest.fixture
def cosmos_url(cosmos_shared: CosmosServer) -> str:
    """The URL of a store that all tests share."""
    return f"{cosmos_shared.url}&timeout={PATIENCE_SECONDS}"


@pytest.fixture(scope="session")
def _cosmos_settable() -> Iterator[CosmosServer]:
    with CosmosServer() as server:
        yield server


@pytest.fixture
def cosmos_account(_cosmos_settable: CosmosServer) -> Iterator[CosmosServer]:
    """An emulator that a test may set, one test after the other, but not stop. Other tests' records are in there."""
    _cosmos_settable.requests()
    yield _cosmos_settable
    _cosmos_settable.set(level="Session", multiple=False, regions=1, refuse=None, documents=0, settle=True)


@pytest.fixture
def cosmos_server() -> Iterator[CosmosServer]:
    """An emulator for one test alone, which may stop and freeze it."""
    with CosmosServer() as server:
        yield server
