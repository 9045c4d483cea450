"""What a request costs on DynamoDB: operations, and the units that are paid for."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aiobotocore.session
import pytest
from makers.dynamodb import endpoint_of
from records import new_change, new_key, new_record

from asgi_client import Browser
from holdfast import Keyring, Sessions
from holdfast._colour import run
from holdfast.asgi import SessionMiddleware
from holdfast.stores import Store
from holdfast.stores.dynamodb import DynamoDBStore
from holdfast.testing import FakeClock
from servers.dynamodb import TABLE, client_of

# dynalite reports units as DynamoDB's documentation counts them. moto reports the same few numbers for whatever is
# done, so that there only the operations are counted, and whether a read was strong.
EMULATORS = ("moto_url", "dynalite_url")


class Meter:
    """What the clients that it listens to have done, and the units that the emulator says it has cost."""

    def __init__(self) -> None:
        self.operations: list[str] = []
        self.units: list[float] = []

    def listen(self, events: Any) -> None:
        """Note every operation of the client or session with these events from now on."""
        events.register("provide-client-params.dynamodb", self._ask_for_units)
        events.register("after-call.dynamodb", self._note)

    def taken(self) -> list[str]:
        """The operations since the last time this was asked."""
        taken, self.operations = self.operations, []
        self.units.clear()
        return taken

    def _ask_for_units(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if "ReturnConsumedCapacity" in model.input_shape.members:
            params["ReturnConsumedCapacity"] = "TOTAL"
        self.operations.append(model.name + ("" if params.get("ConsistentRead", True) else " weak"))

    def _note(self, parsed: dict[str, Any], **_: Any) -> None:
        consumed = parsed.get("ConsumedCapacity", [])
        for each in consumed if isinstance(consumed, list) else [consumed]:
            self.units.append(each["CapacityUnits"])


@pytest.fixture(params=EMULATORS)
def endpoint(request: pytest.FixtureRequest) -> str:
    """Where an emulator is."""
    return endpoint_of(request.getfixturevalue(request.param))


def measured(
    endpoint: str, colour: str, scenario: Callable[[Store, Meter], Coroutine[Any, Any, None]]
) -> None:
    """Run the scenario on a store whose client is listened to."""
    meter = Meter()
    if colour == "sync":
        client = client_of(endpoint, config=DynamoDBStore.config())
        meter.listen(client.meta.events)
        run(scenario(DynamoDBStore(client, TABLE), meter))
        client.close()
        return

    async def awaited() -> None:
        context = aiobotocore.session.get_session().create_client(
            "dynamodb", region_name="eu-west-1", endpoint_url=endpoint, config=DynamoDBStore.config()
        )
        async with context as client:
            meter.listen(client.meta.events)
            await scenario(DynamoDBStore(client, TABLE), meter)

    asyncio.run(awaited())


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_each_call_is_one_operation(endpoint: str, colour: str) -> None:
    """Loading, creating, changing and ending are one operation each; a strong read is one unit, a weak one half."""
    faithful = _is_dynalite(endpoint)

    async def scenario(store: Any, meter: Meter) -> None:
        key = new_key()
        await store.create(key, new_record(owner="ann " + key))
        assert meter.taken() == ["PutItem"]
        await store.load(key)
        assert meter.units == [1 if faithful else 0.5]
        assert meter.taken() == ["GetItem"]
        await store.load(key, weak=True)
        assert meter.units == [0.5]
        assert meter.taken() == ["GetItem weak"]
        await store.commit(key, new_change(set={"n": b"1"}))
        assert meter.units == [1 if faithful else 0.5]
        assert meter.taken() == ["UpdateItem"]
        await store.commit(key, new_change(set={"n": b"1"}, base=2, owner="bob", expires_at=time.time() + 60))
        assert meter.taken() == ["UpdateItem"]
        await store.end(key, new_record(values={}, ended=True))
        assert meter.taken() == ["PutItem"]

    measured(endpoint, colour, scenario)


def test_a_large_session_is_read_and_written_by_the_kilobyte(dynalite_url: str) -> None:
    """A unit reads 4 KB and writes 1 KB of the whole session, however little of it is changed."""

    async def scenario(store: Any, meter: Meter) -> None:
        key = new_key()
        await store.create(key, new_record(values={"cart": os.urandom(5 * 1024)}))
        await store.load(key)
        await store.load(key, weak=True)
        await store.commit(key, new_change(set={"n": b"1"}))
        assert meter.units == [6, 2, 1, 6]

    measured(endpoint_of(dynalite_url), "sync", scenario)


def test_a_refused_change_costs_a_read_only_where_the_item_is_not_told(
    moto_url: str, dynalite_url: str
) -> None:
    """DynamoDB says with its refusal what is stored; an endpoint that does not is asked for it."""
    for url, more in ((moto_url, []), (dynalite_url, ["GetItem"])):

        async def scenario(store: Any, meter: Meter, more: list[str] = more) -> None:
            key = new_key()
            change = new_change(set={"n": b"1"})
            await store.create(key, new_record())
            await store.commit(key, change)
            meter.taken()
            repeated = await store.commit(key, change)
            assert (repeated.version, meter.taken()) == (2, ["UpdateItem", *more])

        measured(endpoint_of(url), "sync", scenario)


async def _shop(scope: dict[str, Any], receive: Any, send: Any) -> None:
    session = scope["session"]
    if scope["path"] == "/write":
        session["cart"] = "tea"
    elif scope["path"] == "/read":
        assert session.get("cart") == "tea"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def test_what_requests_cost(endpoint: str) -> None:
    """Nothing for an untouched session, one read for a page that reads, one update more for one that writes."""
    meter, clock = Meter(), FakeClock(time.time())

    async def visit() -> None:
        context = aiobotocore.session.get_session().create_client(
            "dynamodb", region_name="eu-west-1", endpoint_url=endpoint, config=DynamoDBStore.config()
        )
        async with context as client:
            meter.listen(client.meta.events)
            sessions = Sessions(
                DynamoDBStore(client, TABLE), keys=Keyring.generate(), clock=clock, weak=True, copy_age="5s"
            )
            browser = Browser(SessionMiddleware(_shop, sessions, lazy=False))
            await browser.get("/nothing")
            assert meter.taken() == [], "a visitor without a session"
            await browser.get("/write")
            assert meter.taken() == ["PutItem"], "a session begins"
            await browser.get("/write")
            assert meter.taken() == ["GetItem"], "the same value again is no change"
            await browser.get("/read")
            assert meter.units == [1 if _is_dynalite(endpoint) else 0.5]
            assert meter.taken() == ["GetItem"], "a page that reads, strongly"
            clock.advance(60)
            browser.jar = {name: value for name, value in browser.jar.items() if "pin" not in name}
            await browser.get("/read")
            assert meter.taken() == ["GetItem weak", "GetItem"], (
                "and once a second the feed of ended sessions"
            )
            await browser.get("/read")
            assert meter.units == [0.5]
            assert meter.taken() == ["GetItem weak"], "a page that reads, weakly"
            lazy = Browser(SessionMiddleware(_shop, sessions, lazy=True))
            lazy.jar = dict(browser.jar)
            await lazy.get("/nothing")
            assert meter.taken() == [], "an untouched session"

    asyncio.run(visit())


async def _counter(scope: dict[str, Any], receive: Any, send: Any) -> None:
    scope["session"]["at"] = scope["path"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def test_a_page_that_writes_one_value_costs_one_update(endpoint: str) -> None:
    """A changed value is one UpdateItem, and nothing else but the read before."""
    meter = Meter()
    client = client_of(endpoint, config=DynamoDBStore.config())
    meter.listen(client.meta.events)
    sessions = Sessions(DynamoDBStore(client, TABLE), keys=Keyring.generate())
    browser = Browser(SessionMiddleware(_counter, sessions))

    async def visit() -> None:
        await browser.get("/one")
        meter.taken()
        await browser.get("/two")
        if _is_dynalite(endpoint):
            assert meter.units == [1, 1]
        assert meter.taken() == ["GetItem", "UpdateItem"]

    asyncio.run(visit())
    client.close()


async def _doors(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["path"] == "/in":
        scope["session"].login("ann")
    else:
        scope["session"].logout()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize("local", [None, "1MB"])
def test_what_signing_in_and_out_costs(moto_url: str, local: str | None) -> None:
    """A new identity is a record more; where there are copies, the feed hears of each one that has ended."""
    meter, feed = Meter(), [] if local is None else ["UpdateItem"]
    client = client_of(endpoint_of(moto_url), config=DynamoDBStore.config())
    meter.listen(client.meta.events)
    browser = Browser(
        SessionMiddleware(
            _doors, Sessions(DynamoDBStore(client, TABLE), keys=Keyring.generate(), local=local)
        )
    )

    async def visit() -> None:
        await browser.get("/in")
        assert meter.taken() == ["PutItem"], "a session begins"
        await browser.get("/in")
        meter.taken()  # the first ending makes the feed, too
        await browser.get("/in")
        assert meter.taken() == ["GetItem", *feed, "PutItem", "UpdateItem", "PutItem"], "and is replaced"
        await browser.get("/out")
        assert meter.taken() == ["GetItem", *feed, "PutItem"], "and ends"

    asyncio.run(visit())
    client.close()


def _is_dynalite(endpoint: str) -> bool:
    """Whether the units that it reports mean something: a strong read is not half a unit."""
    client = client_of(endpoint)
    read = client.get_item(
        TableName=TABLE, Key={"id": {"S": "no"}}, ConsistentRead=True, ReturnConsumedCapacity="TOTAL"
    )
    client.close()
    return bool(read["ConsumedCapacity"]["CapacityUnits"] == 1)
