"""The connections of sync callers to Redis: answers that are late or too many, restarts, and forks."""

from __future__ import annotations

import asyncio
import os
import socket
import socketserver
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import hiredis
import pytest
import redis
from records import new_change, new_key, new_record
from redis.backoff import NoBackoff
from redis.retry import Retry

from holdfast._colour import run
from holdfast.record import Record
from holdfast.stores._redis_records import fields_of
from holdfast.stores.redis import RedisStore
from servers.certificate import self_signed
from servers.redis import RedisServer


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_an_answer_that_trickles_in_is_given_up(colour: str) -> None:
    """The time limit is for the answer as a whole, however many pieces it comes in."""
    finished = Event()

    def trickle(connection: socket.socket) -> None:
        for piece in _answer(new_record(values={"n": b"x" * 100})):
            connection.sendall(bytes([piece]))
            if finished.wait(0.05):
                return

    with _serving(trickle) as url:
        loading = RedisStore.from_url(f"{url}?timeout=2").load("x")
        with pytest.raises(redis.TimeoutError):
            run(loading) if colour == "sync" else asyncio.run(loading)
        finished.set()


@pytest.mark.parametrize("ready", [False, True])
def test_signing_in_that_does_not_come_to_an_end_is_given_up(ready: bool) -> None:
    """Connecting has the time limit of the call as a whole, however many pieces its answers come in."""
    given_up = Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"+")
        for _ in range(1200):  # a minute
            connection.sendall(b".")
            if given_up.wait(0.05):
                return
        connection.sendall(b"\r\n")

    with _serving(lambda connection: None, sign_in=trickle) as url:
        client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 5), socket_timeout=30)
        store = RedisStore(client, timeout=1) if ready else RedisStore.from_url(f"{url}?timeout=1")
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            run(store.load("x"))
        given_up.set()
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("ready", [False, True])
def test_all_addresses_of_a_host_have_one_time_limit(ready: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers at any of them: that takes no longer than one that does not answer."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = full.getsockname()
        with socket.create_connection(place):  # from now on connecting gets no answer
            found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place)] * 40
            monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: found)
            url = f"redis://many.example:{place[1]}"
            client = redis.Redis.from_url(url)
            store = RedisStore(client, timeout=1) if ready else RedisStore.from_url(f"{url}?timeout=1")
            began = time.monotonic()
            with pytest.raises(redis.TimeoutError):
                run(store.load("x"))
            assert time.monotonic() - began < 10


def test_what_nobody_has_asked_for_is_not_taken_for_an_answer() -> None:
    """A server that answers more than it was asked is not believed: the next session is not the one before."""
    one, other = new_record(values={"who": b"one"}), new_record(values={"who": b"other"})
    answers = iter([_answer(one) * 2, _answer(other)])
    with _serving(lambda connection: connection.sendall(next(answers))) as url:
        store = RedisStore.from_url(url)
        assert run(store.load("one")) == one
        assert run(store.load("other")) == other
        store.close()


def test_a_connection_that_ends_in_the_middle_of_an_answer_is_an_outage() -> None:
    """Half a session is no session, and is told at once."""

    def leave(connection: socket.socket) -> None:
        connection.sendall(_answer(new_record())[:-10])
        connection.shutdown(socket.SHUT_RDWR)

    with _serving(leave) as url, pytest.raises(redis.ConnectionError, match="lost"):
        run(RedisStore.from_url(url).load("x"))


def test_none_of_the_connections_that_a_restart_has_ended_is_used(redis_server: RedisServer) -> None:
    """However many are idle: a change is the first thing that follows, and is kept."""
    store, key = RedisStore.from_url(f"{redis_server.url}?timeout=30"), new_key()
    run(store.create(key, new_record()))
    with redis.Redis.from_url(redis_server.url) as client, ThreadPoolExecutor(5) as threads:
        waiting = [threads.submit(run, store._way.ask((b"BLPOP", b"turns", b"0"))) for _ in range(5)]
        _wait_until(lambda: client.info("clients")["blocked_clients"] == 5)
        client.rpush("turns", *range(5))
        for one in waiting:
            one.result()
    redis_server.restart()
    assert run(store.commit(key, new_change())).version == 2
    assert len(_connections(redis_server)) == 1
    store.close()
    _wait_until(lambda: not _connections(redis_server))


def test_a_fork_leaves_the_parents_connections_as_they_are(tmp_path: Path) -> None:
    """The child makes its own, and lets go of the parent's without ending them; with TLS, too."""
    ca, key = self_signed(tmp_path)
    with RedisServer(tmp_path, tls=(ca, key)) as server:
        stores = [RedisStore.from_url(server.url), RedisStore.from_url(f"{server.tls_url}?ca={ca}")]
        for store in stores:
            run(store.load("x"))
        before = _connections(server)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for store in stores:
                    run(store.load("x"))
                status = int(len(_connections(server)) != 4)
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        for store in stores:
            run(store.load("x"))
        assert _connections(server) >= before
        for store in stores:
            store.close()


@contextmanager
def _serving(
    answer: Callable[[socket.socket], None],
    sign_in: Callable[[socket.socket], None] = lambda connection: connection.sendall(b"+OK\r\n"),
) -> Iterator[str]:
    """The URL of a server that lets redis-py sign in, and answers what is asked then as it is told to."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while asked := self.request.recv(65536):
                if b"SETINFO" in asked:
                    sign_in(self.request)
                else:
                    answer(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """The client has gone, as it should."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _answer(record: Record) -> bytes:
    """A session as Redis tells it: an array of strings, which is how a command is written, too."""
    return hiredis.pack_command(tuple(fields_of(record)))


def _connections(server: RedisServer) -> set[str]:
    """Those that Redis sees, but for the one that asks."""
    with redis.Redis.from_url(server.url) as client:
        own = client.client_id()
        return {seen["id"] for seen in client.client_list() if int(seen["id"]) != own}


def _wait_until(happened: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for what Redis does in its own time."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
