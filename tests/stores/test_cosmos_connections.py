"""The store's connections to Cosmos DB: through outages, freezes, event loops, threads and forks."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from azure.cosmos.aio import CosmosClient as AsyncCosmosClient
from records import new_change, new_key, new_record

import holdfast
from holdfast._colour import run
from holdfast.stores.cosmos import CosmosStore
from servers.cosmos import CONTAINER, DATABASE, KEY, CosmosServer
from servers.process import BUSY_SECONDS

Driver = Callable[[Coroutine[Any, Any, Any]], Any]
FAILURES = (*CosmosStore.unavailable, OSError, TimeoutError)


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Any:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


def calls(store: CosmosStore) -> list[Callable[[], Coroutine[Any, Any, Any]]]:
    """One of each call."""
    return [
        lambda: store.load("x"),
        lambda: store.load("x", weak=True),
        lambda: store.create(new_key(), new_record()),
        lambda: store.commit("x", new_change(set={"n": b"1"})),
        lambda: store.commit("x", new_change(set={f"v{number}": b"1" for number in range(20)})),
        lambda: store.end("x", new_record(ended=True)),
        lambda: store.of("ann"),
        lambda: store.scan(None, 5),
    ]


def test_an_outage_is_an_error_and_then_over(cosmos_server: CosmosServer, drive: Driver) -> None:
    """While Cosmos DB is down each call raises at once what means StoreUnavailable; afterwards all works again."""
    store, key = CosmosStore.from_url(f"{cosmos_server.url}&timeout=60"), new_key()
    drive(store.create(key, new_record()))
    cosmos_server.stop()
    for call in calls(store):
        began = time.monotonic()
        with pytest.raises(FAILURES):
            drive(call())
        assert time.monotonic() - began < BUSY_SECONDS
    cosmos_server.start()
    drive(store.create(key, new_record()))
    assert drive(store.commit(key, new_change())).version == 2


@pytest.mark.parametrize("connected", [True, False])
def test_a_server_that_does_not_answer_is_given_up_in_time(
    cosmos_server: CosmosServer, drive: Driver, connected: bool
) -> None:
    """A frozen Cosmos DB costs at most the timeout, what the SDK does on its own account included."""
    store = CosmosStore.from_url(f"{cosmos_server.url}&timeout=1")
    if connected:
        drive(store.create("x", new_record()))
    cosmos_server.freeze()
    for call in calls(store)[2::2]:
        began = time.monotonic()
        with pytest.raises(FAILURES):
            drive(call())
        assert 0.4 < time.monotonic() - began < 1 + BUSY_SECONDS
    cosmos_server.thaw()
    drive(store.end("x", new_record(ended=True)))
    assert drive(store.load("x")).ended


def test_the_platform_can_leave_less_time(cosmos_server: CosmosServer, drive: Driver) -> None:
    """`time_left` shortens the time for a call, the first one too."""
    store = CosmosStore.from_url(f"{cosmos_server.url}&timeout=60")
    cosmos_server.freeze()

    async def invocation() -> None:
        with holdfast.time_left(0.8):
            await store.load("x")

    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(FAILURES):
            drive(invocation())
        assert time.monotonic() - began < 0.8 + BUSY_SECONDS


def test_a_region_that_fails_is_not_asked_for_ever(cosmos_account: CosmosServer, drive: Driver) -> None:
    """What the SDK waits before it asks again is no longer than there is time."""
    store = CosmosStore.from_url(f"{cosmos_account.url}&timeout=1&endpoint_discovery=true")
    drive(store.load("x"))
    for status, substatus in ((503, 0), (408, 0), (403, 3)):
        cosmos_account.set(refuse={"status": status, "substatus": substatus, "times": 1000})
        for call in (lambda: store.load("x", weak=True), lambda: store.commit("x", new_change())):
            began = time.monotonic()
            with pytest.raises((holdfast.StoreError, *FAILURES)):
                drive(call())
            assert time.monotonic() - began < 1 + BUSY_SECONDS


def test_a_ready_blocking_client_is_kept_in_time_too(cosmos_server: CosmosServer) -> None:
    """The SDK's time limit of a client that was handed in is a minute: the store's own holds."""
    with cosmos_server.client() as client:
        container = client.get_database_client(DATABASE).get_container_client(CONTAINER)
        store = CosmosStore(container, timeout=1)
        cosmos_server.freeze()
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(FAILURES):
                run(store.load("x"))
            assert time.monotonic() - began < 1 + BUSY_SECONDS
        cosmos_server.thaw()
        run(store.create("x", new_record()))
        cosmos_server.set(refuse={"status": 429, "times": 1000})  # to be tried again after 30 seconds
        began = time.monotonic()
        with pytest.raises(holdfast.StoreThrottled):
            run(store.load("x"))
        assert time.monotonic() - began < 1 + BUSY_SECONDS


def test_a_ready_async_client_is_kept_in_time_too(cosmos_server: CosmosServer) -> None:
    """The same for an async client, which has not asked for the account yet."""

    async def scenario() -> None:
        client = AsyncCosmosClient(cosmos_server.endpoint, KEY, enable_endpoint_discovery=False)
        container = client.get_database_client(DATABASE).get_container_client(CONTAINER)
        store = CosmosStore(container, timeout=1)
        cosmos_server.freeze()
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(FAILURES):
                await store.load("x")
            assert time.monotonic() - began < 1 + BUSY_SECONDS
        cosmos_server.thaw()
        await store.create("x", new_record())
        cosmos_server.set(refuse={"status": 429, "times": 1000})
        began = time.monotonic()
        with pytest.raises(holdfast.StoreThrottled):
            await store.load("x")
        assert time.monotonic() - began < 1 + BUSY_SECONDS
        await client.close()

    asyncio.run(scenario())


def test_a_change_whose_answer_was_lost_is_not_sent_again(cosmos_server: CosmosServer, drive: Driver) -> None:
    """It may have been made, and others may have changed the record since."""
    store, key = CosmosStore.from_url(f"{cosmos_server.url}&timeout=1"), new_key()
    drive(store.create(key, new_record()))
    cosmos_server.requests()
    cosmos_server.freeze()
    with pytest.raises(FAILURES):
        drive(store.commit(key, new_change(set={"n": b"2"})))
    cosmos_server.thaw()
    assert drive(CosmosStore.from_url(cosmos_server.url).load(key)).version == 2  # it had arrived
    assert [method for method, _, _ in cosmos_server.requests()].count("PATCH") == 2  # and the load's


def test_a_store_is_used_on_one_loop_after_the_other(cosmos_account: CosmosServer) -> None:
    """Platforms run each invocation on a fresh loop: none fails, complains or leaves a connection behind."""
    complaints = after_loops(
        "for _ in range(4):\n    asyncio.run(invocation())\n    gc.collect()\n",
        cosmos_account,
        "-W",
        "always",
    )
    assert complaints == ""


def test_loops_that_are_closed_without_telling_leave_no_connection(cosmos_account: CosmosServer) -> None:
    """A loop closed by hand is noticed at the next use: its sockets go, and nothing complains of a closed loop."""
    complaints = after_loops(
        "gc.disable()\n"
        "for _ in range(4):\n"
        "    loop = asyncio.new_event_loop()\n"
        "    loop.run_until_complete(invocation())\n"
        "    loop.run_until_complete(asyncio.sleep(0.1))\n"  # the SDK's own look at its endpoints
        "    loop.close()\n"
        "asyncio.run(invocation())\n"
        "links = [f'/proc/self/fd/{number}' for number in os.listdir('/proc/self/fd')]\n"
        "assert not [link for link in links if os.path.exists(link) and 'socket' in os.readlink(link)]\n",
        cosmos_account,
    )
    assert complaints == ""
    at_the_end = (
        "loop = asyncio.new_event_loop()\n"
        "loop.run_until_complete(invocation())\n"
        "loop.run_until_complete(asyncio.sleep(0.1))\n"
        "loop.close()\n"
    )
    assert after_loops(at_the_end, cosmos_account) == ""


def after_loops(program: str, server: CosmosServer, *options: str) -> str:
    """What a process says that runs the program, in which `invocation` uses a store."""
    beginning = (
        "import asyncio, gc, os, sys\n"
        "from holdfast.stores.cosmos import CosmosStore\n"
        "store = CosmosStore.from_url(sys.argv[1])\n"
        "async def invocation():\n"
        "    await asyncio.gather(*(store.load('x') for _ in range(5)))\n"
    )
    command = [sys.executable, *options, "-c", beginning + program, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_aclose_closes_and_a_later_call_connects_again(cosmos_account: CosmosServer, drive: Driver) -> None:
    """After aclose() the store can be used again."""
    store = CosmosStore.from_url(cosmos_account.url)
    for _ in range(2):
        assert drive(store.load("x")) is None
        drive(store.aclose())
    store.close()


def test_a_ready_client_is_its_owners_to_close(cosmos_account: CosmosServer) -> None:
    """aclose() leaves a client that was handed in."""
    with cosmos_account.client() as client:
        store = CosmosStore(client.get_database_client(DATABASE).get_container_client(CONTAINER))
        run(store.aclose())
        store.close()
        assert run(store.load("x")) is None


def test_large_changes_side_by_side_are_all_kept(cosmos_url: str, drive: Driver) -> None:
    """Changes of more than ten keys, each a read and a replacement, do not push each other out."""
    store, key = CosmosStore.from_url(cosmos_url), new_key()
    drive(store.create(key, new_record(values={})))
    changes = [new_change(set={f"{tab}/{n}": b"x" for n in range(12)}) for tab in range(5)]

    async def side_by_side() -> None:
        await asyncio.gather(*(store.commit(key, change) for change in changes))

    if drive is run:
        with ThreadPoolExecutor(5) as threads:
            list(threads.map(lambda change: run(store.commit(key, change)), changes))
    else:
        drive(side_by_side())
    final = drive(store.load(key))
    assert (final.version, len(final.values)) == (6, 60)
