"""`holdfast migrate` that was cut off goes on where it was, and leaves out nothing that came into being meanwhile."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from moving import Capture

from holdfast._colour import run
from holdfast.cli import _progress, main
from holdfast.cli._checkpoint import Checkpoint
from holdfast.record import Record
from holdfast.stores import from_url

OLD, NEW = "sqlite:///old.db", "sqlite:///new.db"
MIGRATE = ["migrate", OLD, NEW, "--page", "4"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(*keys: str) -> None:
    """A session of each key in FROM."""
    now, store = time.time(), from_url(OLD)
    for key in keys:
        assert run(store.create(key, Record(1, os.urandom(8), {"n": b"\x00"}, None, now, now + 3600)))


def has_arrived(key: str) -> bool:
    return run(from_url(NEW).load(key)) is not None


def cut_off_after(pages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run it until it has noted so many places, and then stop it."""
    write, left = Checkpoint.write, [pages]

    def write_and_stop(self: Checkpoint, *noted: Any) -> None:
        write(self, *noted)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "write", write_and_stop)
        assert main(MIGRATE) == 1


def test_sessions_made_before_the_place_are_not_left_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """FROM was in use again between two runs: whatever the second one calls done has been moved."""
    put(*(f"m{number:02}" for number in range(20)))
    cut_off_after(2, monkeypatch)
    put("early", "zlate")
    capsys.readouterr()
    assert main(MIGRATE) == 0
    out, err = capsys.readouterr()
    assert out == "14 moved, 8 already moved\n"
    assert has_arrived("early")
    assert has_arrived("zlate")
    assert main([*MIGRATE, "--verify"]) == 0
    assert not list(Path().glob(".holdfast-migrate*"))
    assert f"cut off at {time.strftime('%Y-', time.gmtime())}" in err
    assert "after 8 sessions" in err


def test_cut_off_again_and_again_it_leaves_out_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever each run is cut off, behind the first place or on the way back to it, the one that ends has seen all."""
    put(*(f"m{number:02}" for number in range(30)))
    for turn, pages in enumerate((3, 1, 4, 6, 2)):
        cut_off_after(pages, monkeypatch)
        put(f"a{turn}", f"m{turn:02}b", f"z{turn}")
    assert main(MIGRATE) == 0
    assert all(
        has_arrived(f"{name}") for turn in range(5) for name in (f"a{turn}", f"m{turn:02}b", f"z{turn}")
    )
    assert main([*MIGRATE, "--verify"]) == 0


def test_what_failed_before_and_is_done_now_counts_as_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit status tells of what is, not of an earlier run."""
    put(*(f"m{number:02}" for number in range(8)))
    now = time.time()
    stranger = Record(1, os.urandom(8), {}, None, now, now + 3600)
    run(from_url(NEW).create("m00", stranger))
    cut_off_after(1, monkeypatch)
    run(from_url(NEW).end("m00", stranger._replace(version=2, ended=True)))
    import sqlite3

    with sqlite3.connect("new.db") as database:
        database.execute("DELETE FROM sessions WHERE key = 'm00'")
    assert main(MIGRATE) == 0
    assert has_arrived("m00")


def test_what_fails_is_told_and_counted_once(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Though a run that goes on meets some sessions twice, its lines and numbers are those of one look at each."""
    put(*(f"m{number:02}" for number in range(10)))
    now = time.time()
    for key in ("m01", "m09"):
        run(from_url(NEW).create(key, Record(1, os.urandom(8), {}, None, now, now + 3600)))
    cut_off_after(1, monkeypatch)
    capsys.readouterr()
    assert main(MIGRATE) == 1
    *lines, summary = capsys.readouterr().out.splitlines()
    assert sorted(lines) == ["m01 is live in both stores", "m09 is live in both stores"]
    assert sorted(summary.split(", ")) == ["2 failed", "3 already moved", "5 moved"]


def test_progress_begins_with_what_was_done_before(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Going on does not look like beginning anew."""
    monkeypatch.setattr(_progress, "_LINE_EVERY_SECONDS", 0.0)
    put(*(f"m{number:02}" for number in range(20)))
    cut_off_after(3, monkeypatch)
    assert shown(capsys) == [(4, 20), (8, 20), (12, 20)]
    assert main(MIGRATE) == 0
    assert shown(capsys) == [(done, 40) for done in (16, 20, 20, 24, 28, 32, 36, 40, 40)]


def shown(capsys: Capture) -> list[tuple[int, int]]:
    """The lines of progress, as numbers."""
    lines = re.findall(r"^(\d+) of about (\d+)$", capsys.readouterr().err, re.MULTILINE)
    return [(int(done), int(total)) for done, total in lines]


@pytest.mark.parametrize(
    "noted",
    [
        "",
        "{",
        "[]",
        "null",
        '{"after": 5, "passed": 1, "at": 1.0}',
        '{"after": "m01", "counts": {}}',
        '{"after": "m01", "passed": "1", "at": 1.0}',
        '{"after": "m01", "passed": 1, "at": null}',
    ],
)
def test_a_file_that_says_nothing_is_as_none(noted: str) -> None:
    """It begins from the beginning, and takes the file away at its end."""
    put("m00", "m01", "m02")
    path = Checkpoint(OLD, NEW).path
    path.write_text(noted)
    assert Checkpoint(OLD, NEW).read() is None
    assert main(MIGRATE) == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dynamodb://sessions?profile=staging", "dynamodb://sessions?profile=production"),
        ("dynamodb://sessions?region=eu-west-1", "dynamodb://sessions?region=eu-west-2"),
        ("dynamodb://sessions?endpoint=http://a", "dynamodb://sessions?endpoint=http://b"),
        ("postgresql:///app?host=/run/staging", "postgresql:///app?host=/run/production"),
        ("postgresql://alice@db", "postgresql://bob@db"),
        ("postgresql://db?table=a", "postgresql://db?table=b"),
        ("redis+sentinel://h/one", "redis+sentinel://h/two"),
        ("redis://h/0", "redis://h/1"),
        ("redis://h/0?prefix=a:", "redis://h/0?prefix=b:"),
        ("firestore://p/c?database=a", "firestore://p/c?database=b"),
        ("cosmos://a.example/d/c", "cosmos://b.example/d/c"),
    ],
)
def test_two_stores_never_share_a_file(one: str, other: str) -> None:
    """Whatever tells the stores apart tells the files apart, on either side."""
    assert Checkpoint(one, "redis://new").path != Checkpoint(other, "redis://new").path
    assert Checkpoint("redis://old", one).path != Checkpoint("redis://old", other).path


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:{}@h/0",
        "redis://:{}@h/0",
        "cosmos://a.example/d/c?key={}",
        "redis+sentinel://ann:{}@h/one?sentinel_user=bob",
        "redis+sentinel://h/one?sentinel_password={}",
        "postgresql://ann:{}@db?table=a",
    ],
)
def test_a_secret_that_has_changed_is_the_same_place(url: str) -> None:
    """A password is neither in the file nor in its name, so that a new one does not begin anew."""
    path = Checkpoint(url.format("secret"), NEW).path
    assert path == Checkpoint(url.format("another"), NEW).path
    Checkpoint(url.format("secret"), NEW).write("m01", 2)
    assert set(json.loads(path.read_text())) == {"after", "passed", "at"}
