"""`holdfast demo`: what it refuses before anything starts, what it writes, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from holdfast.cli import demo, main
from holdfast.lab import trial as trial_module
from holdfast.lab.strategies import Strategy
from holdfast.lab.trial import Trial

COUNTS = ("sessions_lost", "updates_lost", "stale_reads", "revived", "crossed", "false_acks")
ROOT = Path(__file__).parents[2]
HOLDFAST = (sys.executable, "-m", "holdfast.cli")


class Lab(NamedTuple):
    """A stand-in for the trials: what they were asked for, and what they answer."""

    asked: list[dict[str, Any]]
    broken: dict[str, int]


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    """Trials that take no time, and a place of its own for what the demo leaves behind."""
    stand_in = Lab([], {})

    async def trial(strategy: Strategy, *, progress: Any, **settings: Any) -> Trial:
        stand_in.asked.append({"strategy": strategy, **settings})
        progress(0.5)
        progress(1.0)
        row = {
            "name": strategy.name,
            "holdfast": strategy.holdfast,
            **dict.fromkeys(("requests", "errors", "instances_started", "instances_killed", "sessions"), 9),
            **{name: stand_in.broken.get(name, 0) if strategy.holdfast else 4 for name in COUNTS},
            "p50_ms": 61.5,
            "p99_ms": None,
        }
        return Trial(strategy, row, [], [], 20.0)

    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(trial_module, "trial", trial)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    return stand_in


def refusal(lab: Lab, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that the demo refuses these arguments with, before any trial."""
    assert main(["demo", *arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    assert lab.asked == []
    return errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seconds", "0"], "--seconds must be between 1 and 3600"),
        (["--seconds", "nan"], "--seconds must be between 1 and 3600"),
        (["--seconds", "1e9"], "--seconds must be between 1 and 3600"),
        (["--users", "0"], "--users must be between 1 and 2000"),
        (["--min-instances", "0"], "1 <= --min-instances <= --max-instances <= 64, not 0 and 6"),
        (["--min-instances", "7"], "not 7 and 6"),
        (["--max-instances", "65"], "not 1 and 65"),
    ],
)
def test_bounds(lab: Lab, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """A number out of bounds is refused, and the line says which bounds."""
    assert said in refusal(lab, capsys, *arguments)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gopher://x", "gopher"),
        ("redis://127.0.0.1:1/0", "--store redis://127.0.0.1:1/0 does not answer"),
        ("redis://user:hush@127.0.0.1:1/0", "--store redis://…@127.0.0.1:1/0 does not answer"),
        ("memory://", "not shared between processes"),
        ("sqlite:////no/such/folder/sessions.db", "/no/such/folder"),
    ],
)
def test_a_store_that_cannot_be_used(
    lab: Lab, capsys: pytest.CaptureFixture[str], url: str, said: str
) -> None:
    """An unknown, unreachable or unshared store is refused before the first process, without its password."""
    line = refusal(lab, capsys, "--store", url)
    assert said in line
    assert "hush" not in line


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gopher://x", "gopher"),
        ("redis://user:hush@127.0.0.1:1/0", "--cache redis://…@127.0.0.1:1/0 does not answer"),
        ("memory://", "not shared between processes"),
        ("sqlite:///sessions.db", "cannot hold copies"),
    ],
)
def test_a_cache_that_cannot_be_used(
    lab: Lab, capsys: pytest.CaptureFixture[str], url: str, said: str
) -> None:
    """It is refused before the first process, without its password."""
    line = refusal(lab, capsys, "--cache", url)
    assert said in line
    assert "hush" not in line


def test_copies_are_compared_when_asked_for(lab: Lab, redis_url: str) -> None:
    """Local copies need no server; a cache adds its rows to theirs. Then all shoppers browse, and only then."""
    assert main(["demo"]) == main(["demo", "--copies"]) == main(["demo", "--cache", redis_url]) == 0
    assert [asked["browse"] for asked in lab.asked] == [False] * 4 + [True] * 10 + [True] * 13
    names = [asked["strategy"].name for asked in lab.asked]
    assert names[4:8] == names[14:18] == names[:4]
    assert names[8:14] == names[18:24]
    assert [name for name in names[24:] if not name.startswith("cache-aside")] == [
        "holdfast: store + cache",
        "holdfast: store + cache + local",
    ]


def test_missing_packages(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the lab's extra, the line says exactly what to install."""
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name in ("aiohttp", "rich") else object())
    assert "the demo needs aiohttp, rich: pip install 'holdfast[lab]'\n" in refusal(lab, capsys)


def test_the_extra_brings_all_that_the_demo_needs() -> None:
    """Whoever installs `holdfast[lab]` can run every strategy, those that seal something among them."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lab = {re.split(r"[>=\[ ]", line)[0] for name in ("lab", "tokens") for line in extras[name]}
    assert "holdfast[tokens]" in extras["lab"]
    assert set(demo.PACKAGES) <= lab
    assert "cryptography" in demo.PACKAGES


def test_a_missing_client(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a store's extra, the line says what to install."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "holdfast.stores.redis", raising=False)
    assert "pip install 'holdfast[redis]'" in refusal(lab, capsys, "--store", "redis://127.0.0.1/0")


def test_files_that_cannot_be_written(lab: Lab, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A folder, a path below a file, and one file for both reports are refused before the work is done."""
    (tmp_path / "file").write_text("mine")
    assert "--html tmp cannot be written" in refusal(lab, capsys, "--html", "tmp")
    assert "--json file/demo.json cannot be written" in refusal(lab, capsys, "--json", "file/demo.json")
    assert "the same file" in refusal(lab, capsys, "--json", "out", "--html", "./out")
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "out").exists()


def test_the_reports(lab: Lab, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The table goes to standard output, the counts and the page into their files, in folders that it makes."""
    assert main(["demo", "--seed", "5", "--json", "new/demo.json", "--html", "new/demo.html"]) == 0
    report = json.loads((tmp_path / "new/demo.json").read_text())
    assert report["seed"] == 5
    assert [row["name"] for row in report["strategies"]] == [
        "memory",
        "memory + affinity",
        "signed cookie",
        "holdfast (sqlite)",
    ]
    assert (tmp_path / "new/demo.html").read_text().startswith("<!doctype html>")
    output, errors = capsys.readouterr()
    assert "Kept every promise: holdfast (sqlite)." in output
    assert "The report with plots: new/demo.html" in output
    assert max(map(len, output.splitlines())) <= 100
    assert "memory: runs for 20 s" in errors
    assert "\x1b" not in output + errors


def test_without_html_no_report_is_written(lab: Lab, tmp_path: Path) -> None:
    """Nothing is left behind that was not asked for."""
    assert main(["demo"]) == 0
    assert list(tmp_path.iterdir()) == [tmp_path / "tmp"]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_all_strategies_meet_the_same_churn(lab: Lab) -> None:
    """Every trial gets the same numbers and the same seed, and a history of its own; a store adds a strategy."""
    arguments = [
        "--seconds",
        "3",
        "--users",
        "5",
        "--min-instances",
        "2",
        "--max-instances",
        "3",
        "--seed",
        "11",
    ]
    assert main(["demo", *arguments, "--store", "sqlite:///own.db"]) == 0
    assert [asked["strategy"].name for asked in lab.asked][3:] == ["holdfast (sqlite)", "holdfast (sqlite 2)"]
    for asked in lab.asked:
        assert (asked["seconds"], asked["users"], asked["seed"]) == (3.0, 5, 11)
        assert (asked["min_instances"], asked["max_instances"]) == (2, 3)
    assert len({asked["history_path"] for asked in lab.asked}) == 5


def test_a_seed_is_chosen_and_told(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a seed there is a random one, the same for all strategies, and the first line names it."""
    assert main(["demo"]) == 0
    told = re.match(r"Seed (\d+); --seed (\d+) repeats this run\.\n", capsys.readouterr().out)
    assert told is not None
    assert {asked["seed"] for asked in lab.asked} == {int(told[1])} == {int(told[2])}


@pytest.mark.parametrize("promise", COUNTS)
def test_a_broken_promise_is_the_exit_status(
    lab: Lab, capsys: pytest.CaptureFixture[str], tmp_path: Path, promise: str
) -> None:
    """If Holdfast breaks any promise, the status is 1 and the histories stay for whoever looks for the reason."""
    lab.broken[promise] = 1
    assert main(["demo"]) == 1
    (kept,) = (tmp_path / "tmp").iterdir()
    assert f"Histories, for whoever looks for the reason: {kept}" in capsys.readouterr().out


def test_a_lab_that_fails_is_told_in_one_line(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the platform cannot go on, the status says that the demo could not run, and not that a promise broke."""

    async def trial(strategy: Strategy, **settings: Any) -> Trial:
        raise ExceptionGroup("in a group", [OSError("no more processes")])

    monkeypatch.setattr(trial_module, "trial", trial)
    assert main(["demo"]) == 2
    assert capsys.readouterr().err.endswith("holdfast: the demo could not go on: no more processes\n")


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_it_ends_every_process(tmp_path: Path, sent: signal.Signals, status: int) -> None:
    """Ctrl-C and SIGTERM in the middle of real work end the demo, its instances and its files, without a traceback."""
    command = [*HOLDFAST, "demo", "--seconds", "60", "--users", "20", "--html", "demo.html"]
    running = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A job in the background of a shell inherits that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stderr is not None
    try:
        assert "memory: runs" in running.stderr.readline()
        # In the middle of real work: something is in the history, and an instance is up (one may just be killed).
        deadline = time.monotonic() + 60
        while (
            not any(history.stat().st_size for history in tmp_path.glob("*/history-1.jsonl"))
            or len(members(running.pid)) < 2
        ):
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.send_signal(sent)
        rest = running.stderr.read()
        assert running.wait(60) == status
    finally:
        running.kill()
        running.wait()
    assert rest == "holdfast: stopped; all processes of the demo have ended\n"
    assert members(running.pid) == []
    assert list(tmp_path.iterdir()) == []


def test_a_short_run_on_real_processes(tmp_path: Path) -> None:
    """The whole demo, two seconds a strategy: Holdfast keeps every promise, and the report has the promised shape."""
    command = [*HOLDFAST, "demo", "--seconds", "2", "--users", "16", "--seed", "1", "--json", "demo.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "demo.json").read_text())
    assert report["seed"] == 1
    assert [row["holdfast"] for row in report["strategies"]] == [False, False, False, True]
    for row in report["strategies"]:
        assert row["requests"] > row["errors"] >= 0
        assert row["instances_started"] > row["instances_killed"] >= 0
        assert row["sessions"] > 0
        assert row["p99_ms"] >= row["p50_ms"] > 0
    assert any(row["instances_killed"] for row in report["strategies"])
    assert [report["strategies"][3][name] for name in COUNTS] == [0] * len(COUNTS)


def members(session: int) -> list[int]:
    """The processes of a session, by `/proc`; those that are dead and not yet reaped do not count."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, belongs_to = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has ended meanwhile
            continue
        if int(belongs_to) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found


def test_help_is_quick() -> None:
    """Asking for help imports neither asyncio nor anything of the lab."""
    script = (
        "import contextlib, sys\n"
        "from holdfast.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['demo', '--help'])\n"
        "heavy = {'asyncio', 'rich', 'aiohttp', 'starlette', 'uvicorn', 'holdfast.lab'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--min-instances" in done.stdout
