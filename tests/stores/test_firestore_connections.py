"""The store in Firestore: outages, errors, time limits and event loops."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from records import add_one, new_change, new_key, new_record

import holdfast
from holdfast._colour import run
from holdfast.errors import (
    SessionTooLarge,
    StoreError,
    StoreThrottled,
    StoreUnavailable,
)
from holdfast.stores import from_url
from holdfast.stores.firestore import FirestoreStore
from holdfast.stores.guard import Guard
from servers.firestore import FirestoreServer
from servers.process import BUSY_SECONDS, PATIENCE_SECONDS

Driver = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Driver:
    """Runs a call of the store by hand, or on an event loop."""
    return run if request.param == "sync" else asyncio.run


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        ("UNAVAILABLE", "x", StoreUnavailable),
        ("DEADLINE_EXCEEDED", "x", StoreUnavailable),
        ("INTERNAL", "x", StoreUnavailable),
        ("UNAUTHENTICATED", "x", StoreUnavailable),
        ("RESOURCE_EXHAUSTED", "x", StoreThrottled),
        ("PERMISSION_DENIED", "x", StoreError),
        ("INVALID_ARGUMENT", "x", StoreError),
        ("INVALID_ARGUMENT", "too many index entries for entity", SessionTooLarge),
    ],
)
def test_what_firestore_says_becomes_an_error_of_ours(
    counting_firestore: FirestoreServer, drive: Driver, code: str, text: str, error: type[Exception]
) -> None:
    """Each status code means what applications are told by."""
    store, key = Guard(from_url(counting_firestore.url())), new_key()
    drive(store.create(key, new_record()))
    counting_firestore.fail("Commit", code, text)
    with pytest.raises(error) as raised:
        drive(store.commit(key, new_change(set={"n": b"1"})))
    assert raised.type is error
    assert drive(store.load(key)).version == 1


def test_credentials_and_permissions_are_told_about(counting_firestore: FirestoreServer) -> None:
    """Who reads the log knows what to do."""
    store = from_url(counting_firestore.url())
    counting_firestore.fail("BatchGetDocuments", "UNAUTHENTICATED", "token")
    with pytest.raises(StoreUnavailable, match="credentials"):
        run(store.load("x"))
    counting_firestore.fail("BatchGetDocuments", "PERMISSION_DENIED", "Missing or insufficient permissions.")
    with pytest.raises(StoreError, match=r"permissions.*Missing"):
        run(store.load("x"))


def test_a_database_that_is_not_there_is_no_missing_session(
    counting_firestore: FirestoreServer, drive: Driver
) -> None:
    """Nobody is signed out because a name is wrong: every call fails."""
    store = Guard(from_url(counting_firestore.url(database="wrong")))
    for call in (
        store.load("x"),
        store.create("x", new_record()),
        store.commit("x", new_change()),
        store.end("x", new_record(ended=True)),
    ):
        with pytest.raises(StoreError):
            drive(call)


def test_a_read_is_tried_again_and_a_change_is_not(
    counting_firestore: FirestoreServer, drive: Driver
) -> None:
    """A change whose answer was lost may have been applied: it is not sent a second time."""
    store, key = from_url(counting_firestore.url()), new_key()
    drive(store.create(key, new_record()))
    counting_firestore.fail("BatchGetDocuments", "UNAVAILABLE")
    assert drive(store.load(key)).version == 1
    for number, change in enumerate((new_change(), new_change(base=2), new_change(owner="ann")), start=2):
        counting_firestore.fail("Commit", "UNAVAILABLE", after=True)
        with pytest.raises(exceptions.ServiceUnavailable):
            drive(store.commit(key, change))
        assert drive(store.commit(key, change)).version == number  # it had arrived, and a repeat finds it
        assert drive(store.load(key)).version == number


def test_contention_is_tried_again_and_then_told(counting_firestore: FirestoreServer, drive: Driver) -> None:
    """An aborted commit was not applied: it is sent again for a while, and then it is throttling."""
    store, key = Guard(from_url(counting_firestore.url(timeout=5))), new_key()
    counting_firestore.fail("Commit", "ABORTED", times=2)
    assert drive(store.create(key, new_record()))
    counting_firestore.fail("Commit", "ABORTED", times=3)
    assert drive(store.commit(key, new_change(set={"n": b"1"}))).version == 2
    counting_firestore.fail("Commit", "ABORTED", times=2)
    drive(store.end(key, new_record(ended=True)))
    counting_firestore.fail("Commit", "ABORTED", times=64)
    with pytest.raises(StoreThrottled):
        drive(store.create(new_key(), new_record()))


def test_contention_ends_with_the_time_limit(counting_firestore: FirestoreServer) -> None:
    """However long it is contended, the call ends in time, and says why, or that the time was up."""
    store, began = from_url(counting_firestore.url(timeout=0.3)), time.monotonic()
    counting_firestore.fail("Commit", "ABORTED", times=64)
    with pytest.raises((StoreThrottled, exceptions.DeadlineExceeded)):
        run(store.create(new_key(), new_record()))
    assert time.monotonic() - began < 0.3 + BUSY_SECONDS
    while True:  # use up what is left of the failures
        try:
            if run(store.create(new_key(), new_record())):
                break
        except (StoreThrottled, exceptions.DeadlineExceeded):
            pass


@pytest.mark.parametrize("connected", [True, False])
def test_a_server_that_does_not_answer_is_given_up_in_time(
    firestore_server: FirestoreServer, drive: Driver, connected: bool
) -> None:
    """A frozen server costs at most the timeout, over a new connection and an old one; then it goes on."""
    store, key = from_url(firestore_server.url(timeout=0.8)), new_key()
    if connected:
        drive(store.create(key, new_record()))
    firestore_server.freeze()
    calls = [store.load(key), store.commit(key, new_change())]
    if connected:
        calls += store.create("new", new_record()), store.end("old", new_record(ended=True)), store.of("ann")
    for call in calls:
        began = time.monotonic()
        with pytest.raises((*FirestoreStore.unavailable, TimeoutError)):
            drive(call)
        assert time.monotonic() - began < 0.8 + BUSY_SECONDS
    firestore_server.thaw()
    patience = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            assert drive(store.load("nobody")) is None
            break
        except FirestoreStore.unavailable:
            assert time.monotonic() < patience


def test_a_socket_that_accepts_and_never_answers_is_given_up_in_time(drive: Driver) -> None:
    """The same where there is no Firestore behind the address at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        store = from_url(f"firestore://p/c?emulator=127.0.0.1:{listener.getsockname()[1]}&timeout=0.4")
        began = time.monotonic()
        with pytest.raises((*FirestoreStore.unavailable, TimeoutError)):
            drive(store.load("x"))
        assert time.monotonic() - began < 0.4 + BUSY_SECONDS


def test_the_platform_may_leave_less_time(firestore_server: FirestoreServer, drive: Driver) -> None:
    """Where the request ends sooner than the time limit, the call ends sooner too."""
    store = from_url(firestore_server.url(timeout=60))
    drive(store.load("x"))
    firestore_server.freeze()
    began = time.monotonic()
    with holdfast.time_left(0.6), pytest.raises((*FirestoreStore.unavailable, TimeoutError)):
        drive(store.load("x"))
    assert time.monotonic() - began < 0.6 + BUSY_SECONDS


def test_a_server_that_comes_back_is_used_again(firestore_server: FirestoreServer, drive: Driver) -> None:
    """While it is away calls fail at once as unavailable; afterwards no process needs a restart."""
    store = from_url(firestore_server.url())
    drive(store.load("x"))
    firestore_server.kill()
    with pytest.raises(FirestoreStore.unavailable):
        drive(store.load("x"))
    firestore_server.start()
    patience = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            assert drive(store.load("x")) is None
            break
        except FirestoreStore.unavailable:
            assert time.monotonic() < patience
            time.sleep(0.05)


@pytest.mark.parametrize(
    "how", ["asyncio.run(invocation())", "loop.run_until_complete(invocation()); loop.close()"]
)
def test_loops_come_and_go_without_a_complaint(firestore_server: FirestoreServer, how: str) -> None:
    """Platforms run each invocation on a fresh loop: none fails, and nothing is printed."""
    program = (
        "import asyncio, gc, sys\n"
        "from holdfast.stores import from_url\n"
        "store = from_url(sys.argv[1])\n"
        "async def invocation():\n"
        "    await asyncio.gather(*(store.load('x') for _ in range(5)))\n"
        "for _ in range(6):\n"
        "    loop = asyncio.new_event_loop()\n"
        f"    {how}\n"
        "    loop.close()\n"
        "    gc.collect()\n"
        "assert len(store._wire._own._loops._clients) == 1\n"
    )
    command = [sys.executable, "-W", "always", "-c", program, firestore_server.url()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_threads_and_loops_share_a_store(counting_firestore: FirestoreServer) -> None:
    """Sync callers in many threads and an event loop in another lose no update."""
    store, key, record = from_url(counting_firestore.url()), new_key(), new_record()
    run(store.create(key, record))

    async def on_a_loop() -> None:
        await asyncio.gather(*(store.commit(key, new_change(set={f"k{n}": b"x"})) for n in range(10)))

    threads = [threading.Thread(target=add_one, args=(store, key, record)) for _ in range(4)]
    threads.append(threading.Thread(target=lambda: asyncio.run(on_a_loop())))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    final = run(store.load(key))
    assert final is not None
    assert (final.version, final.values["n"], len(final.values)) == (15, b"4", 11)


def test_a_forked_process_has_a_client_of_its_own(firestore_server: FirestoreServer) -> None:
    """Workers that are forked from a process which has used the store go on with it, and so does that process.

    A change of theirs is not lost on the parent's connection, on which gRPC fails only some of the calls of a child.
    """
    program = (
        "import os, signal, sys\n"
        "sys.path[:0] = sys.argv[2].split(os.pathsep)\n"
        "from records import new_change, new_key, new_record\n"
        "from holdfast._colour import run\n"
        "from holdfast.stores import from_url\n"
        "store, key = from_url(sys.argv[1]), new_key()\n"
        "run(store.create(key, new_record()))\n"
        "for number in range(10):\n"
        "    pid = os.fork()\n"
        "    signal.alarm(60)\n"
        "    run(store.commit(key, new_change(set={f'{number}/{pid == 0}': b'x'})))\n"
        "    if pid == 0:\n"
        "        os._exit(7)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "print(run(store.load(key)).version)\n"
    )
    url = firestore_server.url(timeout=PATIENCE_SECONDS)
    command = [sys.executable, "-c", program, url, os.pathsep.join(sys.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "7\n" * 10 + "21\n"), done.stderr


def test_a_client_shares_its_connections_with_no_other(firestore_server: FirestoreServer) -> None:
    """As gRPC would have it: of a forked process, one that is made anew would be given the parent's, which is dead."""
    stores = [from_url(firestore_server.url()) for _ in range(2)]
    for number, store in enumerate(stores):
        run(store.load("x"))
        assert connections_to(firestore_server.port) == number + 1
    for store in stores:
        run(store.aclose())


def connections_to(port: int) -> int:
    """How many connections there are to a port of this machine."""
    tables = "".join(Path(f"/proc/net/{table}").read_text() for table in ("tcp", "tcp6"))
    rows = [line.split() for line in tables.splitlines()]
    return sum(state == "01" and place.endswith(f":{port:04X}") for _, _, place, state, *_ in rows)


def test_it_can_be_used_again_after_it_was_closed(counting_firestore: FirestoreServer, drive: Driver) -> None:
    """aclose() lets go of the connections; a later call makes new ones."""
    store = from_url(counting_firestore.url())

    async def scenario() -> None:
        for _ in range(2):
            assert await store.load("x") is None
            await store.aclose()

    drive(scenario())
