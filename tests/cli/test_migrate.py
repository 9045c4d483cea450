"""`holdfast migrate` moves every live session, whatever happens to it on the way, and says what it did."""

from __future__ import annotations

import os
import random
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from moving import Capture, command, filled, interrupted, new_session

from holdfast._colour import run
from holdfast.cli import main
from holdfast.cli._checkpoint import Checkpoint
from holdfast.errors import SessionGone, StoreThrottled
from holdfast.record import Change, Record
from holdfast.stores import Store, from_url
from holdfast.stores.migrating import Migrating, Stage


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_live_sessions_are_moved_as_they_are(capsys: Capture) -> None:
    """Live ones arrive with everything that they hold; expired and ended ones do not; the file of the run is gone."""
    old, new = "sqlite:///old.db", "sqlite:///new.db"
    live, expired, (ended,) = filled(old, 30), filled(old, 3, life=-1.0), filled(old, 1)
    grave = Record(2, os.urandom(8), {}, None, time.time(), time.time() + 3600, ended=True)
    run(from_url(old).end(ended, grave))
    assert main(["migrate", old, new, "--page", "7"]) == 0
    assert capsys.readouterr().out.strip() in ("30 moved, 4 ended or expired", "4 ended or expired, 30 moved")
    there = from_url(new)
    for key, record in live.items():
        moved = run(there.load(key))
        assert moved is not None
        assert moved == record._replace(version=2, tag=moved.tag)
    assert [run(there.load(key)) for key in (*expired, ended)] == [None] * 4
    assert not list(Path().glob(".holdfast-migrate*"))


def test_a_second_run_finds_nothing_to_move(capsys: Capture) -> None:
    """It is safe to run it twice, and what a session has become in the meantime stays."""
    old, new = "sqlite:///old.db", "sqlite:///new.db"
    key = next(iter(filled(old, 1)))
    assert main(["migrate", old, new]) == 0
    changed = run(from_url(new).commit(key, Change(os.urandom(8), time.time(), set={"n": b"\x01"})))
    assert main(["migrate", old, new]) == 0
    assert capsys.readouterr().out == "1 moved\n1 already moved\n"
    assert run(from_url(new).load(key)) == changed


def test_a_dry_run_changes_nothing(capsys: Capture) -> None:
    """It counts, and that is all."""
    sessions = filled("sqlite:///old.db", 3)
    assert main(["migrate", "sqlite:///old.db", "sqlite:///new.db", "--dry-run"]) == 0
    assert capsys.readouterr().out == "3 to be moved\n"
    assert all(run(from_url("sqlite:///old.db").load(key)) == record for key, record in sessions.items())
    assert run(from_url("sqlite:///new.db").count()) == 0  # type: ignore[attr-defined]  # it is an SQLiteStore


def test_verify_names_what_is_wrong(capsys: Capture) -> None:
    """Status 1 and a line for each session that is not moved, lost, or not what it was."""
    old, new = "sqlite:///old.db", "sqlite:///new.db"
    lost, changed, _ = filled(old, 3)
    assert main(["migrate", old, new]) == 0
    assert main(["migrate", old, new, "--verify"]) == 0
    (left,) = filled(old, 1)
    there = from_url(new)
    record = run(there.load(changed))
    assert record is not None
    import sqlite3

    with sqlite3.connect("new.db") as database:
        database.execute("DELETE FROM sessions WHERE key = ?", (lost,))
    run(there.end(changed, record._replace(owner="bob")))
    capsys.readouterr()
    assert main(["migrate", old, new, "--verify"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in lines[:3]} == {
        lost: "was moved, and is not in TO",
        changed: "is not in TO what it was in FROM",
        left: "is still in FROM",
    }


def test_a_session_that_was_moved_before_is_held_back_on_the_way_back(capsys: Capture) -> None:
    """Going back, what the target has handed over itself stays where it is, and is told."""
    old, new = "sqlite:///old.db", "sqlite:///new.db"
    (key,) = filled(old, 1)
    assert main(["migrate", old, new]) == 0
    assert main(["migrate", new, old]) == 1
    assert "1 held back" in capsys.readouterr().out
    back = Migrating(new, old)
    assert (
        run(back.commit(key, Change(os.urandom(8), time.time(), set={"n": b"\x01"}))).values["n"] == b"\x01"
    )
    assert run(back.load(key)) == run(from_url(new).load(key))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["memory://", "memory://"], "same store"),
        (["NOT_SET", "memory://"], "NOT_SET"),
        (["memcached://localhost?forgets=accepted", "sqlite:///new.db"], "cannot list"),
        (["memory://", "sqlite:///new.db", "--page", "0"], "--page"),
        (["memory://", "sqlite:///new.db", "--verify", "--dry-run"], "--dry-run"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], complaint: str, capsys: Capture) -> None:
    """Status 2, and what to do."""
    assert main(["migrate", *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_urls_may_stand_in_variables(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """So that a password is not among the arguments of a process."""
    filled("sqlite:///old.db", 2)
    monkeypatch.setenv("HOLDFAST_OLD", "sqlite:///old.db")
    monkeypatch.setenv("HOLDFAST_NEW", "sqlite:///new.db")
    assert main(["migrate", "HOLDFAST_OLD", "HOLDFAST_NEW"]) == 0
    assert capsys.readouterr().out == "2 moved\n"


def test_a_checkpoint_knows_stores_and_no_secrets(tmp_path: Path) -> None:
    """Two passwords of one store are one place; two stores are two."""
    path = Checkpoint("redis://u:secret@a/0", "sqlite:///x", tmp_path).path
    assert path == Checkpoint("redis://u:other@a/0", "sqlite:///x", tmp_path).path
    assert path != Checkpoint("redis://u:secret@b/0", "sqlite:///x", tmp_path).path


def test_a_store_that_asks_to_slow_down_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing fails because a store is busy for a while."""
    monkeypatch.setattr("holdfast.cli._patience._LONGEST_PAUSE_SECONDS", 0.05)
    from holdfast.cli._migration import Migration
    from holdfast.stores.memory import MemoryStore

    class Busy(MemoryStore):
        refusals = 20

        async def create(self, key: str, record: Record) -> bool:
            self.refusals -= 1
            if self.refusals >= 0:
                raise StoreThrottled("slowly")
            return await super().create(key, record)

    old, new = MemoryStore(), Busy()
    for _ in range(10):
        run(old.create(*new_session()))
    migration = Migration(old, new, page=3, tell=lambda handle, what: None)
    run(migration.move(Checkpoint("memory:a", "memory:b", tmp_path), lambda number: None))
    assert migration.counts == {"moved": 10}


def test_ctrl_c_leaves_it_resumable() -> None:
    """It says so, and the next run goes on from there."""
    old, new = "sqlite:///old.db?synchronous=normal", "sqlite:///new.db?synchronous=normal"
    filled(old, 3000)
    status, _, err = interrupted(signal.SIGINT, old, new, "--page", "50")
    assert status == 1, err
    assert "run the same command again" in err
    assert list(Path().glob(".holdfast-migrate*.json"))
    assert main(["migrate", old, new]) == 0
    assert main(["migrate", old, new, "--verify"]) == 0


class Visitors:
    """Threads that read and write sessions through `Migrating` all the while, and know what they were told."""

    def __init__(self, make_store: Callable[[], Store], keys: list[str]) -> None:
        self.counts: dict[str, int] = {}
        self.ended: set[str] = set()
        self.complaints: list[str] = []
        self._stop = threading.Event()
        shares = [keys[number::3] for number in range(3)]
        self._threads = [threading.Thread(target=self._visit, args=(make_store(), share)) for share in shares]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, store: Store, keys: list[str]) -> None:
        dice, versions = random.Random(len(keys)), dict[str, int]()
        while not self._stop.is_set():
            key = dice.choice(keys)
            record = run(store.load(key))
            if key in self.ended:
                if record is not None and record.is_live(time.time()):
                    self.complaints.append(f"{key} came back")
                continue
            if record is None or not record.is_live(time.time()):
                self.complaints.append(f"{key} was logged out")
                continue
            if record.version < versions.get(key, 0) or record.values["n"] != b"%d" % self.counts.get(key, 0):
                self.complaints.append(f"{key} went back")
            if dice.random() < 0.05:
                now = time.time()
                run(
                    store.end(
                        key, Record(record.version + 1, os.urandom(8), {}, None, now, now + 3600, ended=True)
                    )
                )
                self.ended.add(key)
                continue
            more = {"n": b"%d" % (self.counts.get(key, 0) + 1)}
            try:
                versions[key] = run(store.commit(key, Change(os.urandom(8), time.time(), set=more))).version
            except SessionGone:
                self.complaints.append(f"{key} was gone")
                continue
            self.counts[key] = int(more["n"])


def test_nothing_is_lost_when_it_is_killed_under_traffic(redis_url: str) -> None:
    """kill -9 in the middle, with readers and writers on instances of both stages; then it goes on: all is there."""
    old, new = "sqlite:///old.db?synchronous=normal", f"{redis_url}/0?prefix={secrets.token_hex(4)}:"
    store = from_url(old)
    keys = []
    for _ in range(3000):
        key, record = new_session()
        run(store.create(key, record._replace(values={**record.values, "n": b"0"})))
        keys.append(key)
    stages: Iterator[Stage] = iter(("prepare", "move", "move"))
    with Visitors(lambda: Migrating(old, new, stage=next(stages)), keys) as visitors:
        status, _, _ = interrupted(signal.SIGKILL, old, new, "--page", "100")
        assert status == -signal.SIGKILL
        assert list(Path().glob(".holdfast-migrate*.json"))
        process = command(old, new)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
    assert not visitors.complaints
    assert main(["migrate", old, new, "--verify"]) == 0
    there = from_url(new)
    for key in keys:
        record = run(there.load(key))
        assert record is not None
        assert record.ended == (key in visitors.ended)
        assert record.ended or record.values["n"] == b"%d" % visitors.counts.get(key, 0)
    assert len(visitors.counts) > 50
    assert visitors.ended
