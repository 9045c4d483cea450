"""What a `cosmos://` URL and the containers that are handed in may be, and where credentials come from."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

import pytest

from holdfast import Sessions
from holdfast._colour import run
from holdfast.errors import ConfigError
from holdfast.stores import from_url
from holdfast.stores.cosmos import CosmosStore
from servers.cosmos import KEY, CosmosServer

Driver = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Any:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("cosmos://account/db", "a database and a container"),
        ("cosmos://account", "a database and a container"),
        ("cosmos:///db/c", "an account, a database"),
        ("cosmos://account/db/c/more", "a database and a container"),
        ("cosmos://account/db/c#x", "an account, a database"),
        ("cosmos://key@account/db/c", "an account, a database"),
        ("cosmos://Sn*w/db/c?key=k", "name of an account: write cosmos://account/database/container"),
        ("cosmos://account:port/db/c?key=k", "no valid account or host"),
        ("cosmos://account/db/a%2Fb?key=k", "a database and a container"),
        ("cosmos://account/db/c?key=k&credential=default", "write one of them"),
        ("cosmos://account/db/c?credential=mine", "credential=default"),
        ("cosmos://account/db/c?key=k&timeout=0", "timeout"),
        ("cosmos://account/db/c?key=k&timeout=soon", "timeout"),
        ("cosmos://account/db/c?key=k&reads=strong", "auto, plain, write"),
        ("cosmos://account/db/c?key=k&insecure_http=yes", "insecure_http"),
        ("cosmos://account/db/c?key=k&insecure_http=true", "an emulator"),
        ("cosmos://account/db/c?key=k&colour=red", "unknown option colour"),
    ],
)
def test_a_url_that_cannot_be_meant(url: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mistake in a URL is told at construction, and its key is not shown."""
    monkeypatch.setenv("COSMOS_KEY", "secret")
    with pytest.raises(ConfigError, match=says) as raised:
        Sessions(url.replace("key=k", f"key={KEY}"))
    assert KEY not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_where_the_credentials_come_from(monkeypatch: pytest.MonkeyPatch, cosmos_url: str) -> None:
    """The key may come from the environment; without any there is an error that says so."""
    monkeypatch.delenv("COSMOS_KEY", raising=False)
    for url in ("cosmos://account/db/c", "cosmos://account/db/c?key="):
        with pytest.raises(ConfigError, match="set COSMOS_KEY"):
            from_url(url)
    monkeypatch.setitem(sys.modules, "azure.identity", None)  # as if it were not installed
    with pytest.raises(ConfigError, match="pip install azure-identity"):
        from_url("cosmos://account/db/c?credential=default")
    monkeypatch.setenv("COSMOS_KEY", KEY)
    assert run(from_url(cosmos_url.replace(f"&key={KEY}", "")).load("x")) is None


def test_signing_in_with_entra_id(
    monkeypatch: pytest.MonkeyPatch, cosmos_account: CosmosServer, drive: Driver
) -> None:
    """`credential=default` makes azure-identity's DefaultAzureCredential, of the colour of the client."""
    made: list[str] = []

    class Credential:
        def get_token(self, *scopes: str, **options: Any) -> Any:
            raise AssertionError("nothing is asked over plain http")

    for name in ("azure.identity", "azure.identity.aio"):
        module = ModuleType(name)
        module.DefaultAzureCredential = lambda name=name: made.append(name) or Credential()  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    store = from_url(cosmos_account.url.replace(f"key={KEY}", "credential=default"))
    assert made == []
    with pytest.raises(Exception, match="https"):
        drive(store.load("x"))
    assert made == ["azure.identity" if drive is run else "azure.identity.aio"]


def test_what_signs_in_is_closed_with_its_client(
    monkeypatch: pytest.MonkeyPatch, cosmos_account: CosmosServer
) -> None:
    """Connections to Entra ID do not outlive the event loop, nor the store, that they were made for."""
    closed: list[str] = []

    class Credential(str):
        """The emulator takes no tokens: this one is an account's key, too."""

        def close(self) -> None:
            closed.append("sync")

    class AsyncCredential(str):
        async def close(self) -> None:
            closed.append("async")

    kinds = {"azure.identity": Credential, "azure.identity.aio": AsyncCredential}
    for name, kind in kinds.items():
        module = ModuleType(name)
        module.DefaultAzureCredential = lambda kind=kind: kind(KEY)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    store = from_url(cosmos_account.url.replace(f"key={KEY}", "credential=default"))
    assert isinstance(store, CosmosStore)
    for _ in range(2):
        assert asyncio.run(store.load("x")) is None
    assert run(store.load("x")) is None
    assert closed == ["async"] * 2
    store.close()
    assert closed == ["async"] * 2 + ["sync"]


@pytest.mark.parametrize("container", [None, "sessions", object()])
def test_a_client_that_cannot_be_used(container: Any) -> None:
    """What is no container of azure-cosmos is refused at construction."""
    with pytest.raises(ConfigError, match="ContainerProxy"):
        CosmosStore(container)


def test_which_callers_a_store_is_for(cosmos_account: CosmosServer) -> None:
    """A store from a URL is for both colours, one on a ready container for that of its client."""
    from azure.cosmos.aio import CosmosClient as AsyncCosmosClient

    assert from_url(cosmos_account.url).colours == {"sync", "async"}  # type: ignore[attr-defined]
    with cosmos_account.client() as client:
        assert CosmosStore(client.get_database_client("a").get_container_client("b")).colours == {"sync"}

    async def scenario() -> None:
        async with AsyncCosmosClient(cosmos_account.endpoint, KEY, enable_endpoint_discovery=False) as client:
            container = client.get_database_client("a").get_container_client("b")
            assert CosmosStore(container).colours == {"async"}

    asyncio.run(scenario())
