"""The store in a SQLite file: its statements, its file, and many users of it at once."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from records import add_one, new_change, new_key, new_record

from holdfast import time_left
from holdfast._colour import run
from holdfast.errors import Conflict, SessionGone
from holdfast.stores import _sqlite_file, from_url
from holdfast.stores.sqlite import SQLiteStore
from servers.process import BUSY_SECONDS


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that connections opened from now on are given, but for their preparation."""
    traced: list[str] = []
    connect = _sqlite_file.connect

    def connect_traced(path: Path, timeout: float) -> sqlite3.Connection:
        connection = connect(path, timeout)
        connection.set_trace_callback(
            lambda statement: None if statement.startswith("PRAGMA") else traced.append(statement.split()[0])
        )
        return connection

    monkeypatch.setattr(_sqlite_file, "connect", connect_traced)
    return traced


def test_each_call_is_one_statement(tmp_path: Path, statements: list[str]) -> None:
    """Loading, creating, changing, ending and listing cost one statement each."""
    store, key = SQLiteStore(tmp_path / "s.db"), new_key()
    statements.clear()
    run(store.create(key, new_record(owner="ann")))
    run(store.load(key))
    run(store.commit(key, new_change(set={"a": b"1"}, unset=frozenset({"n"}), expires_at=2e9, base=1)))
    run(store.of("ann"))
    run(store.end(key, new_record(ended=True)))
    assert statements == ["INSERT", "SELECT", "UPDATE", "SELECT", "INSERT"]


def test_only_a_refused_change_costs_a_second_statement(tmp_path: Path, statements: list[str]) -> None:
    """What was not applied is looked at once, to say why."""
    store, key = SQLiteStore(tmp_path / "s.db"), new_key()
    run(store.create(key, new_record()))
    statements.clear()
    with pytest.raises(Conflict):
        run(store.commit(key, new_change(base=7)))
    with pytest.raises(SessionGone):
        run(store.commit(new_key(), new_change()))
    assert statements == ["UPDATE", "SELECT"] * 2


def test_what_is_remembered_costs_no_more_than_a_look(tmp_path: Path, statements: list[str]) -> None:
    """A session that was loaded before is one statement to load or change, and two if somebody else has changed it."""
    store, other, key = SQLiteStore(tmp_path / "s.db"), SQLiteStore(tmp_path / "s.db"), new_key()
    run(store.create(key, new_record(values={"n": b"0", "m": b"0"})))
    run(store.load(key))
    statements.clear()
    assert run(store.load(key)).version == 1
    assert run(store.commit(key, new_change(set={"n": b"1"}, unset=frozenset({"m"})))).values == {"n": b"1"}
    assert run(store.load(key)).version == 2
    assert statements == ["SELECT", "UPDATE", "SELECT"]
    run(other.commit(key, new_change(set={"o": b"1"})))
    statements.clear()
    assert run(store.commit(key, new_change(set={"n": b"2"}))).values == {"n": b"2", "o": b"1"}
    run(other.commit(key, new_change(set={"o": b"2"}, owner="ann", expires_at=2e9)))
    assert run(store.load(key)) == run(other.load(key))
    assert statements[:2] == ["UPDATE", "UPDATE"]
    assert statements.count("SELECT") == 3


@pytest.mark.parametrize("loaded", [True, False])
def test_what_has_no_part_in_a_change_is_not_written(tmp_path: Path, loaded: bool) -> None:
    """A change of values leaves both indexes alone: SQLite would write them anew for a column that is only named."""
    store, key = SQLiteStore(tmp_path / "s.db"), new_key()
    for _ in range(200):  # so that each index has pages of its own that a commit could touch
        run(store.create(new_key(), new_record(owner="x" * 500)))
    run(store.create(key, new_record(owner="ann")))
    if loaded:
        run(store.load(key))
    log = tmp_path / "s.db-wal"
    sqlite3.connect(tmp_path / "s.db").execute("PRAGMA wal_checkpoint(TRUNCATE)")
    run(store.commit(key, new_change(set={"n": b"1"})))
    pages = (log.stat().st_size - 32) // (4096 + 24)
    assert pages == 1


def test_a_session_that_another_process_ended_is_not_remembered_as_live(tmp_path: Path) -> None:
    """What one store has loaded is no reason to bring it back after another has ended it, by its very tag too."""
    store, other, key = SQLiteStore(tmp_path / "s.db"), SQLiteStore(tmp_path / "s.db"), new_key()
    record = new_record()
    run(store.create(key, record))
    run(store.load(key))
    run(other.end(key, record._replace(values={}, ended=True)))
    with pytest.raises(SessionGone):
        run(store.commit(key, new_change(set={"n": b"1"})))
    run(store.create(other_key := new_key(), record))
    run(store.load(other_key))
    run(other.end(other_key, record._replace(values={}, ended=True)))
    assert run(store.load(other_key)).ended


def test_lists_and_sweeps_use_the_indexes(tmp_path: Path) -> None:
    """Neither reads the whole table."""
    SQLiteStore(tmp_path / "s.db")
    connection = sqlite3.connect(tmp_path / "s.db")
    for statement, index in (
        ("SELECT * FROM sessions WHERE owner = ? AND NOT ended", "sessions_owner"),
        ("SELECT key FROM sessions WHERE expires_at < ? LIMIT 1", "sessions_expires_at"),
    ):
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", ("x",)).fetchall()
        assert index in str(plan)
    connection.close()


def test_the_file_and_its_log_are_for_their_owner_only(tmp_path: Path) -> None:
    """Other users of the machine cannot read sessions, whatever the umask."""
    before = os.umask(0)
    try:
        store = from_url(f"sqlite:///{tmp_path}/s.db")
        run(store.create(new_key(), new_record()))
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert files == {"s.db": 0o600, "s.db-wal": 0o600, "s.db-shm": 0o600}


def test_another_store_on_the_same_file_finds_everything(tmp_path: Path) -> None:
    """What is acknowledged is in the file: a restart of the application loses nothing."""
    key, record = new_key(), new_record()
    run(SQLiteStore(tmp_path / "s.db").create(key, record))
    assert run(SQLiteStore(tmp_path / "s.db", synchronous="normal").load(key)) == record


def test_a_relative_path_stays_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the working directory after construction does not lead to another file."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store, key = from_url("sqlite:///a%20b.db"), new_key()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run(store.create(key, new_record()))
    assert run(SQLiteStore(tmp_path / "a b.db").load(key)) is not None


def test_closing_lets_go_of_the_file_and_a_later_call_opens_it_again(tmp_path: Path) -> None:
    """After close() no file of the store is open; using it again works."""
    store, key = SQLiteStore(tmp_path / "s.db"), new_key()
    run(store.create(key, new_record()))
    assert open_files(tmp_path)
    store.close()
    assert not open_files(tmp_path)
    assert run(store.load(key)) is not None


def test_threads_share_a_store(tmp_path: Path) -> None:
    """Parallel counting and parallel changes to different keys lose nothing."""
    store, key, record = SQLiteStore(tmp_path / "s.db", timeout=60), new_key(), new_record()
    run(store.create(key, record))

    def work(number: int) -> None:
        for _ in range(20):
            add_one(store, key, record)
            run(store.commit(key, new_change(set={f"thread {number}": b"%d" % number})))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    final = run(store.load(key))
    assert final is not None
    assert final.version == 1 + 8 * 20 * 2
    assert final.values == {"n": b"160"} | {f"thread {number}": b"%d" % number for number in range(8)}


def test_a_writer_who_holds_the_file_too_long_is_an_outage(tmp_path: Path) -> None:
    """After `timeout` seconds the error is one of those that mean StoreUnavailable; reading still works."""
    store, key = SQLiteStore(tmp_path / "s.db", timeout=0.2), new_key()
    run(store.create(key, new_record()))
    holder = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(SQLiteStore.unavailable):
        run(store.commit(key, new_change()))
    assert 0.1 < time.monotonic() - began < 0.2 + BUSY_SECONDS
    assert run(store.load(key)) is not None
    holder.execute("ROLLBACK")
    holder.close()
    assert run(store.commit(key, new_change())).version == 2


def test_a_long_sweep_goes_in_steps(tmp_path: Path, statements: list[str]) -> None:
    """No other writer waits for all of it."""
    store = SQLiteStore(tmp_path / "s.db", synchronous="normal")
    for _ in range(1001):
        run(store.create(new_key(), new_record(life=-1)))
    statements.clear()
    assert run(store.sweep(time.time())) == 1001
    assert statements == ["DELETE", "DELETE"]


def open_files(directory: Path) -> list[str]:
    """The files in the directory that this process has open."""
    targets = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            targets.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue
    return [target for target in targets if target.startswith(str(directory))]


def test_a_call_that_was_shortened_leaves_no_trace(tmp_path: Path) -> None:
    """The next one on the same connection waits for other writers as long as it should."""
    store, key = SQLiteStore(tmp_path / "s.db", timeout=60), new_key()
    with time_left(10):
        run(store.create(key, new_record()))
    (connection,) = (cursor.connection for cursor in store._idle)
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (60_000,)
    with time_left(0.1), pytest.raises(TimeoutError):
        run(store.load(key))
    assert run(store.load(key)) is not None
