"""A store is shared: by threads and event loops of one process, and by a process with those that it has forked."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from records import add_one, new_change, new_key, new_record

from holdfast._colour import run
from holdfast.stores import from_url

# How often each of many threads changes the session, and each of two processes: calls differ as much.
ROUNDS = {"redis_url": (20, 50), "memcached_url": (10, 50), "cosmos_url": (5, 4)}


@pytest.fixture(params=ROUNDS)
def place(request: pytest.FixtureRequest) -> tuple[str, int, int]:
    """The URL of a server that all tests share, and the rounds that it is good for."""
    return request.getfixturevalue(request.param), *ROUNDS[request.param]


def test_threads_share_a_store(place: tuple[str, int, int]) -> None:
    """Sync callers in many threads, and async ones on loops of their own in others, lose no update."""
    url, rounds, _ = place
    store, key, record = from_url(url), new_key(), new_record()
    run(store.create(key, record))

    def sync_work(number: int) -> None:
        for _ in range(rounds):
            add_one(store, key, record)

    def async_work(number: int) -> None:
        for turn in range(rounds):
            asyncio.run(store.commit(key, new_change(set={f"{number}/{turn}": b"x"})))

    with ThreadPoolExecutor(8) as threads:
        jobs = [threads.submit(work, number) for number in range(4) for work in (sync_work, async_work)]
        for job in jobs:
            job.result()
    final = run(store.load(key))
    assert final is not None
    assert (final.version, final.values["n"]) == (1 + 2 * 4 * rounds, b"%d" % (4 * rounds))


def test_a_store_survives_a_fork(place: tuple[str, int, int]) -> None:
    """Parent and child that share a store made and used before the fork do not read each other's answers."""
    program = (
        "import asyncio, os, signal, sys\n"
        "sys.path[:0] = sys.argv[3].split(os.pathsep)\n"
        "from records import add_one, new_change, new_key, new_record\n"
        "from holdfast._colour import run\n"
        "from holdfast.stores import from_url\n"
        "store, key, record = from_url(sys.argv[1]), new_key(), new_record()\n"
        "run(store.create(key, record))\n"
        "asyncio.run(store.load(key))\n"
        "for _ in range(8):\n"  # what two do to one connection depends on who is faster
        "    child = os.fork()\n"
        "    signal.alarm(90)\n"
        "    for _ in range(int(sys.argv[2])):\n"
        "        record = add_one(store, key, record)\n"
        "    if child == 0:\n"
        "        asyncio.run(store.commit(key, new_change(set={'child': b'x'})))\n"
        "        os._exit(7)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
        "print(run(store.load(key)).values['n'].decode())\n"
    )
    url, _, rounds = place
    command = [sys.executable, "-c", program, url, str(rounds), os.pathsep.join(sys.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"{16 * rounds}\n"), done.stderr
