"""Servers of a cluster that come and go: of those that are gone nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import itertools
import socketserver
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any, NamedTuple

import pytest

from holdfast._colour import run
from holdfast.stores.redis import RedisStore

Driver = Callable[[Coroutine[Any, Any, Any]], Any]

# Ways to write one address, each of which is a server of its own to whoever does not look it up.
NAMES = ("127.0.1", "127.1", "2130706433", "0x7f.1", "0177.1", "0x7f000001")


class Moving(NamedTuple):
    """A cluster of one server whose address is another whenever the map is asked for."""

    url: str
    connections: set[object]


@contextmanager
def moving() -> Iterator[Moving]:
    """Start it."""
    connections: set[object] = set()
    names = itertools.cycle(NAMES)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connections.add(self)
            try:
                while asked := self.request.recv(65536):
                    self.request.sendall(b"+OK\r\n" * asked.count(b"SETINFO"))
                    if b"SLOTS" in asked:
                        host, port = next(names).encode(), self.server.server_address[1]
                        server = b"*2\r\n$%d\r\n%b\r\n:%d\r\n" % (len(host), host, port)
                        self.request.sendall(b"*1\r\n*3\r\n:0\r\n:16383\r\n" + server)
                    self.request.sendall(b":0\r\n" * asked.count(b"DBSIZE"))
            finally:
                connections.discard(self)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Moving(f"redis+cluster://127.0.0.1:{server.server_address[1]}?timeout=20", connections)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_ways_to_servers_that_are_gone_are_forgotten(colour: str) -> None:
    """With their connections: what is left is the server of now, and the one that the URL names."""
    with moving() as cluster:
        store = RedisStore.from_url(cluster.url)

        async def look_around() -> None:
            for _ in range(3 * len(NAMES)):
                assert await store.count() == 0
                assert len(nodes._wires) <= 2

        async def scenario() -> None:
            await look_around()
            await asyncio.to_thread(wait_until, lambda: len(cluster.connections) <= 2)
            await store.aclose()

        assert store._way.cluster is not None
        nodes = store._way.cluster._nodes
        gc.collect()  # what other tests have left
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            if colour == "async":
                asyncio.run(scenario())
            else:
                run(look_around())
                wait_until(lambda: len(cluster.connections) <= 2)
                store.close()
            gc.collect()
        assert [str(complaint.message) for complaint in complaints] == []
        wait_until(lambda: not cluster.connections)


def test_what_another_loop_uses_is_not_taken_from_it() -> None:
    """A loop that has connections to a server keeps them, and closes them once it looks around by itself."""
    with moving() as cluster:
        store = RedisStore.from_url(cluster.url)

        assert store._way.cluster is not None
        ways = store._way.cluster._nodes._wires

        async def scenario() -> None:
            await store.count()
            used = set(ways)
            for _ in range(3):
                await asyncio.to_thread(run, store.count())
            assert used <= set(ways)
            assert await store.count() == 0
            assert len(ways) == 2
            await store.aclose()

        asyncio.run(scenario())
        store.close()
        wait_until(lambda: not cluster.connections)


def wait_until(happened: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for what the server's threads do in their own time."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)
