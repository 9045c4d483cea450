"""The store's connections to memcached: through outages, freezes, event loops, threads and forks."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from pymemcache.exceptions import MemcacheError
from records import new_change, new_key, new_record

from holdfast._colour import run
from holdfast.errors import SessionGone
from holdfast.stores.memcached import MemcachedStore
from servers.memcached import MemcachedServer
from servers.process import BUSY_SECONDS, PATIENCE_SECONDS

Driver = Callable[[Coroutine[Any, Any, Any]], Any]

DOWN = (OSError, MemcacheError)


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Any:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


@pytest.fixture
def pair() -> Iterator[list[MemcachedServer]]:
    """Two servers for one test alone."""
    with ExitStack() as stack:
        yield [stack.enter_context(MemcachedServer()) for _ in range(2)]


def connected(server: MemcachedServer) -> int:
    """How many connections the server has, its own and that of this question among them."""
    (line,) = [line for line in server.ask(b"stats\r\n").splitlines() if b" curr_connections " in line]
    return int(line.split()[2])


def test_a_server_that_fails_is_not_replaced_by_another(pair: list[MemcachedServer], drive: Driver) -> None:
    """Its sessions raise until it is back, and no older record can appear then; those of the others go on."""
    store = MemcachedStore(*(server.address for server in pair))
    keys = [new_key() for _ in range(20)]
    for key in keys:
        drive(store.create(key, new_record()))
    dead = [key for key in keys if store.node_of(key) == 0]
    alive = [key for key in keys if store.node_of(key) == 1]
    assert dead
    assert alive
    pair[0].kill()
    for key in dead:
        with pytest.raises(DOWN):
            drive(store.commit(key, new_change()))
    for key in alive:
        assert drive(store.commit(key, new_change())).version == 2
    pair[0].start()
    for key in dead:
        with pytest.raises(SessionGone):  # it forgets; but nothing older comes back
            drive(store.commit(key, new_change()))
    for key in alive:
        assert drive(store.load(key)).version == 2


def test_a_restart_is_an_empty_memcached_and_no_error(
    memcached_server: MemcachedServer, drive: Driver
) -> None:
    """Dead connections are replaced before they are used: no call fails once it is back."""
    store = MemcachedStore.from_url(memcached_server.url)
    for _ in range(3):
        key = new_key()
        drive(store.create(key, new_record()))
        memcached_server.kill()
        memcached_server.start()
        assert drive(store.load(key)) is None
        assert drive(store.create(key, new_record())) is True


@pytest.mark.parametrize("connected", [True, False])
def test_a_memcached_that_does_not_answer_is_given_up_in_time(
    memcached_server: MemcachedServer, drive: Driver, connected: bool
) -> None:
    """A frozen memcached costs at most the timeout, and what it answers too late is taken for nothing else."""
    store, key = MemcachedStore.from_url(f"{memcached_server.url}?timeout=1"), new_key()
    other = new_key()
    if connected:
        drive(store.create(key, new_record(values={"who": b"key"})))
        drive(store.create(other, new_record(values={"who": b"other"})))
    memcached_server.freeze()
    for call in (store.load(key), store.end(new_key(), new_record(ended=True))):
        began = time.monotonic()
        with pytest.raises(DOWN):
            drive(call)
        assert 0.4 < time.monotonic() - began < 1 + BUSY_SECONDS
    memcached_server.thaw()
    if connected:
        assert drive(store.load(other)).values == {"who": b"other"}
        assert drive(store.load(key)).values == {"who": b"key"}


def test_a_thawed_instance_does_not_use_a_dead_connection(memcached_server: MemcachedServer) -> None:
    """A write is the first thing after a freeze in which memcached was restarted: it is kept, not failed."""
    store = MemcachedStore.from_url(memcached_server.url)

    async def scenario() -> bool:
        await store.load(new_key())
        memcached_server.kill()  # blocks the loop, as a frozen instance's is: it hears nothing of it
        memcached_server.start()
        return await store.create(new_key(), new_record())

    assert asyncio.run(scenario())


def test_a_cancelled_call_leaves_no_answer_behind(memcached_server: MemcachedServer) -> None:
    """The answer that nobody waited for is not taken for that of the next call."""
    store, one, other = MemcachedStore.from_url(memcached_server.url), new_key(), new_key()

    async def scenario() -> None:
        await store.create(one, new_record(values={"who": b"one"}))
        await store.create(other, new_record(values={"who": b"other"}))
        memcached_server.freeze()
        waiting = asyncio.create_task(store.load(one))
        await asyncio.sleep(0.05)
        waiting.cancel()
        memcached_server.thaw()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await store.load(other)).values == {"who": b"other"}
        await store.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_an_answer_that_comes_in_pieces_is_put_together(cut: int, drive: Driver) -> None:
    """Wherever the network cuts it: in a line, at the end of the data, between its return and its line feed."""
    data = b"\r\nEND\r\n" * 100
    key = b"holdfast:c:key"
    answer = b"VALUE %b 0 %d 1\r\n=%b%b\r\nEND\r\n" % (key, 9 + len(data), bytes(8), data)
    places = [5, answer.index(b"=") - 1, len(answer) - 7, len(answer) - 6]

    async def scenario() -> bytes | None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(answer[: places[cut]])
            await asyncio.sleep(0.02)
            writer.write(answer[places[cut] :])
            await reader.read()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            store = MemcachedStore(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
            call = store.get_copy("key")
            copy = await (asyncio.to_thread(run, call) if drive is run else call)
            await store.aclose()
            return copy

    assert asyncio.run(scenario()) == data


@pytest.mark.parametrize(
    "answer", [b"NO", b"", b"VALUE holdfast:c:key 0 -32 1", b"VALUE holdfast:c:key 0 1", b"SERVER_ERROR full"]
)
def test_an_answer_that_is_none_is_an_error(answer: bytes, drive: Driver) -> None:
    """Neither a session, nor none, nor a wait for what does not come."""

    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.readline():
                writer.write(answer + b"\r\n")
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            store = MemcachedStore(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=60.0)
            for call in (store.get_copy("key"), store.claim_copy("key", b"claim", 9.0)):
                with pytest.raises(MemcacheError):
                    await (asyncio.to_thread(run, call) if drive is run else call)
            await store.aclose()

    asyncio.run(scenario())


def test_an_answer_that_trickles_in_is_given_up_in_time(drive: Driver) -> None:
    """The time limit is for all of an answer, not for each piece of it."""
    answer = b"VALUE holdfast:c:key 0 9 1\r\n=%b\r\nEND\r\n" % bytes(8)

    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            with suppress(OSError):
                for place in range(len(answer)):
                    writer.write(answer[place : place + 1])
                    await writer.drain()
                    await asyncio.sleep(0.04)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            store = MemcachedStore(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=0.4)
            call = store.get_copy("key")
            with pytest.raises(TimeoutError):
                await (asyncio.to_thread(run, call) if drive is run else call)
            await store.aclose()

    asyncio.run(scenario())


def test_a_server_that_closes_in_the_middle_of_an_answer_is_an_error(drive: Driver) -> None:
    """Neither a wait without end nor half of a session: the call raises at once."""
    pieces = [b"", b"STOR", b"VALUE holdfast:s:key 0 100 1\r\nhalf"]

    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(pieces[0])
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            store = MemcachedStore(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=60.0)
            by_hand = drive is run
            while pieces:
                for call in (store.load("key"), store.end("key", new_record(ended=True))):
                    with pytest.raises(DOWN):
                        await (asyncio.to_thread(run, call) if by_hand else call)
                pieces.pop(0)
            await store.aclose()

    began = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - began < BUSY_SECONDS


def test_more_callers_than_connections_wait_for_their_turn(memcached_server: MemcachedServer) -> None:
    """A burst of requests does not open more connections than allowed, and none of them fails."""
    store = MemcachedStore.from_url(f"{memcached_server.url}?connections=3&timeout={PATIENCE_SECONDS}")
    key = new_key()
    before = connected(memcached_server)

    async def scenario() -> int:
        await store.create(key, new_record())
        changes = (store.commit(key, new_change(set={f"{number}": b"x"})) for number in range(30))
        await asyncio.gather(*changes)
        assert (await store.load(key)).version == 31
        return connected(memcached_server)

    assert asyncio.run(scenario()) == before + 3


def test_a_store_is_used_on_one_loop_after_the_other(memcached_server: MemcachedServer) -> None:
    """Platforms run each invocation on a fresh loop: none fails, and none leaves a connection behind."""
    store, before = MemcachedStore.from_url(memcached_server.url), connected(memcached_server)

    async def invocation() -> None:
        await asyncio.gather(*(store.load("x") for _ in range(5)))

    for _ in range(5):
        asyncio.run(invocation())
    deadline = time.monotonic() + PATIENCE_SECONDS
    while connected(memcached_server) > before:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_child_has_a_connection_of_its_own(memcached_server: MemcachedServer) -> None:
    """After a fork the parent's is not used, even if the parent is idle; nor is it closed."""
    store, key = MemcachedStore.from_url(memcached_server.url), new_key()
    run(store.create(key, new_record()))
    before = connected(memcached_server)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert run(store.load(key)) is not None
            status = 0 if connected(memcached_server) == before + 1 else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert run(store.load(key)) is not None
