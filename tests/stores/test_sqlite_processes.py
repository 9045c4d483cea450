"""Many processes on one SQLite file: nothing acknowledged is lost, whatever happens to them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from records import add_one, new_change, new_key, new_record

from holdfast._colour import run
from holdfast.stores.sqlite import SQLiteStore
from servers.process import BUSY_SECONDS

PROCESSES, ROUNDS = 6, 25


def work(path: Path, key: str, number: int) -> None:
    """Count up, and write keys of one's own, in competition with the others."""
    store = SQLiteStore(path, timeout=20)
    record = run(store.load(key))
    assert record is not None
    for turn in range(ROUNDS):
        record = add_one(store, key, record)
        run(store.commit(key, new_change(set={f"{number}/{turn}": b"x"})))


def test_processes_lose_no_update(tmp_path: Path) -> None:
    """Separate processes that count and write at the same time lose nothing. They also race to make the file."""
    path, key = tmp_path / "s.db", new_key()
    store = SQLiteStore(path)
    run(store.create(key, new_record()))
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=work, args=(path, key, number)) for number in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    assert_nothing_is_lost(store, key)


def test_processes_may_all_make_the_file(tmp_path: Path) -> None:
    """Instances that start at the same moment on a fresh machine all come up."""
    program = f"from holdfast.stores import from_url; from_url('sqlite:///{tmp_path}/s.db?timeout=20')"
    starts = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(8)]
    assert [start.wait() for start in starts] == [0] * 8


def test_a_store_survives_a_fork(tmp_path: Path) -> None:
    """A store made before the server forks its workers works in all of them, and in the parent."""
    path, key = tmp_path / "s.db", new_key()
    store = SQLiteStore(path, timeout=20)
    record = new_record()
    run(store.create(key, record))

    def child(number: int) -> None:
        own = record
        for turn in range(ROUNDS):
            own = add_one(store, key, own)
            run(store.commit(key, new_change(set={f"{number}/{turn}": b"x"})))

    children = [fork(lambda number=number: child(number)) for number in range(1, PROCESSES)]
    child(0)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * (PROCESSES - 1)
    assert_nothing_is_lost(store, key)


def test_no_connection_is_open_during_a_fork(tmp_path: Path) -> None:
    """A child inherits no open database, by which it would lose the locks that protect its own."""
    store, key = SQLiteStore(tmp_path / "s.db"), new_key()
    run(store.create(key, new_record()))

    def child() -> None:
        files = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        assert not [file for file in files if file.startswith(str(tmp_path))]
        assert run(store.load(key)) is not None

    assert os.waitpid(fork(child), 0)[1] == 0
    assert run(store.load(key)) is not None


def test_a_connection_that_was_opened_during_a_fork_is_left_to_the_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread may open one between the closing of all and the fork: the child uses another, and closes neither."""
    store, key = SQLiteStore(tmp_path / "s.db"), new_key()
    run(store.create(key, new_record()))
    (inherited,) = store._idle
    monkeypatch.setattr(SQLiteStore, "close", lambda store: None)

    def child() -> None:
        assert run(store.load(key)) is not None
        assert all(cursor is not inherited for cursor in store._idle)
        assert inherited.connection.total_changes  # which raises for one that is closed

    assert os.waitpid(fork(child), 0)[1] == 0
    assert store._idle == [inherited]
    assert run(store.load(key)) is not None


def test_what_a_killed_process_had_acknowledged_is_there(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing loses nothing that was acknowledged, and leaves the file usable."""
    path, key = tmp_path / "s.db", new_key()
    store = SQLiteStore(path)
    run(store.create(key, new_record()))
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[3])\n"
        "from records import add_one, run; from holdfast.stores.sqlite import SQLiteStore\n"
        "store = SQLiteStore(Path(sys.argv[1])); record = run(store.load(sys.argv[2]))\n"
        "while True:\n"
        "    record = add_one(store, sys.argv[2], record); print(record.values['n'].decode(), flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(path), key, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(50)]
        writer.send_signal(signal.SIGKILL)
        acknowledged = int((lines + writer.stdout.read().split())[-1])
    record = run(store.load(key))
    assert record is not None
    assert acknowledged <= int(record.values["n"]) <= acknowledged + 1
    began = time.monotonic()
    run(store.commit(key, new_change()))
    assert time.monotonic() - began < BUSY_SECONDS


def fork(act: Callable[[], None]) -> int:
    """Run `act` in a forked child, whose exit status is 0 if it did not raise. Returns its pid."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    return child


def assert_nothing_is_lost(store: SQLiteStore, key: str) -> None:
    """Every process has counted and written in each of its rounds."""
    record = run(store.load(key))
    assert record is not None
    written = {f"{number}/{turn}": b"x" for number in range(PROCESSES) for turn in range(ROUNDS)}
    assert record.values == {"n": b"%d" % (PROCESSES * ROUNDS), **written}
    assert record.version == 1 + 2 * PROCESSES * ROUNDS
