"""What a call and what a request cost on Cosmos DB: the requests that its emulator sees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from records import new_change, new_key, new_record

from asgi_client import Browser
from holdfast import Keyring, Sessions
from holdfast._colour import run
from holdfast.asgi import SessionMiddleware
from holdfast.stores import from_url
from holdfast.stores.cosmos import CosmosStore
from holdfast.testing import FakeClock
from servers.cosmos import CONTAINER, DATABASE, CosmosServer

Scenario = Callable[[CosmosStore], Coroutine[Any, Any, list[str]]]


def methods(server: CosmosServer) -> list[str]:
    """The methods of the requests for documents since this was last asked."""
    return [method for method, path, _ in server.requests() if "/docs" in path]


def measured(server: CosmosServer, colour: str, scenario: Scenario) -> list[str]:
    """What the scenario measures on a store that has connected."""
    store = from_url(server.url)
    assert isinstance(store, CosmosStore)

    async def whole() -> list[str]:
        await store.count()
        methods(server)
        measured = await scenario(store)
        await store.aclose()
        return measured

    return run(whole()) if colour == "sync" else asyncio.run(whole())


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(
    ("level", "regions", "loading"),
    [
        ("Strong", 2, "GET"),
        ("BoundedStaleness", 1, "GET"),
        ("BoundedStaleness", 2, "PATCH"),
        ("Session", 1, "PATCH"),
        ("ConsistentPrefix", 1, "PATCH"),
        ("Eventual", 1, "PATCH"),
    ],
)
def test_each_call_is_one_request(
    cosmos_account: CosmosServer, colour: str, level: str, regions: int, loading: str
) -> None:
    """Every call is one request; loading is a plain read where the account makes that strong."""
    cosmos_account.set(level=level, regions=regions)

    async def scenario(store: CosmosStore) -> list[str]:
        key = new_key()
        await store.create(key, new_record())
        await store.load(key)
        await store.load(key, weak=True)
        few = {f"v{number}": b"x" for number in range(5)}
        await store.commit(key, new_change(set=few, owner="ann", expires_at=time.time() + 60))
        await store.commit(key, new_change(set={"a": b"1"}, unset=frozenset({"v1", "v2"}), base=2))
        await store.of("ann")
        await store.end(key, new_record(ended=True))
        return methods(cosmos_account)

    seen = measured(cosmos_account, colour, scenario)
    assert seen == ["POST", loading, "GET", "PATCH", "PATCH", "POST", "POST"]


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_what_a_patch_cannot_express_is_a_read_and_a_replacement(
    cosmos_account: CosmosServer, colour: str
) -> None:
    """More than ten operations, or a removal of what is not there, cost another request or two, and are applied."""

    async def scenario(store: CosmosStore) -> list[str]:
        key = new_key()
        await store.create(key, new_record())
        methods(cosmos_account)
        many = {f"v{number}": b"%d" % number for number in range(9)}
        assert (await store.commit(key, new_change(set=many))).version == 2
        assert methods(cosmos_account) == ["GET", "PUT"]
        result = await store.commit(key, new_change(unset=frozenset({"n", "absent"})))
        assert (result.version, result.values) == (3, many)
        assert await store.load(key) == result
        return methods(cosmos_account)[:-1]

    assert measured(cosmos_account, colour, scenario) == ["PATCH", "PATCH", "PUT"]


def test_what_the_first_call_takes(cosmos_account: CosmosServer) -> None:
    """A new process asks for the account and the container once, and never again."""
    store = from_url(cosmos_account.url)
    run(store.load("x"))
    asked = [path.rstrip("/") for method, path, _ in cosmos_account.requests() if method == "GET"]
    assert asked[0] == ""
    assert [path for path in asked if path] == [f"/dbs/{DATABASE}/colls/{CONTAINER}"]
    for _ in range(3):
        run(store.load("x"))
    # But for the account, that is: the SDK looks after its endpoints in the background, once.
    assert [method for method, path, _ in cosmos_account.requests() if path.strip("/")] == ["PATCH"] * 3


def test_the_charge_of_each_call_is_told(cosmos_url: str) -> None:
    """`on_charge` hears the name of each call and its request units, refused ones too; `charged` is the sum."""
    from azure.cosmos import CosmosClient

    from servers.cosmos import KEY

    endpoint = cosmos_url.split("/")[2]
    told: list[tuple[str, float]] = []
    with CosmosClient(f"http://{endpoint}/", KEY, enable_endpoint_discovery=False) as client:
        container = client.get_database_client(DATABASE).get_container_client(CONTAINER)
        container.read()
        store, key = (
            CosmosStore(container, on_charge=lambda name, units: told.append((name, units))),
            new_key(),
        )
        run(store.create(key, new_record()))
        assert run(store.create(key, new_record())) is False
        run(store.load(key))
        run(store.commit(key, new_change(set={f"v{number}": b"x" for number in range(20)})))
        run(store.end(key, new_record(ended=True)))
    assert told == [("create", 1.0), ("create", 1.0), ("load", 1.0), ("commit", 2.0), ("end", 1.0)]
    assert store.charged == 6.0


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Pages that do with the session what their path says."""
    session = scope["session"]
    if scope["path"] == "/write":
        session["n"] = session.get("n", 0) + 1
    elif scope["path"] == "/read":
        session.get("n")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def test_what_requests_cost(cosmos_account: CosmosServer) -> None:
    """Reading a session is one request, writing one key one more; an untouched session costs nothing."""
    cosmos_account.set(level="Strong")
    clock = FakeClock(time.time())
    sessions = Sessions(cosmos_account.url, keys=Keyring.generate(), clock=clock)
    browser = Browser(SessionMiddleware(application, sessions, lazy=False))
    lazy = Browser(SessionMiddleware(application, sessions, lazy=True))

    async def scenario() -> dict[str, list[str]]:
        seen = {}
        await browser.get("/nothing")
        seen["a visitor without a session"] = methods(cosmos_account)
        await browser.get("/write")
        seen["the first write"] = methods(cosmos_account)
        await browser.get("/read")
        seen["a read"] = methods(cosmos_account)
        await browser.get("/write")
        seen["a write"] = methods(cosmos_account)
        lazy.jar = dict(browser.jar)
        await lazy.get("/nothing")
        seen["untouched"] = methods(cosmos_account)
        await sessions.aclose()
        return seen

    assert asyncio.run(scenario()) == {
        "a visitor without a session": [],
        "the first write": ["POST"],
        "a read": ["GET"],
        "a write": ["GET", "PATCH"],
        "untouched": [],
    }
