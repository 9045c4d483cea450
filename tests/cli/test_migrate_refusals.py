"""`holdfast migrate` refuses what would lose sessions, and says plainly what keeps it from its work."""

from __future__ import annotations

import secrets
import sqlite3
import sys
import time
from pathlib import Path

import pytest
from moving import Capture, filled, new_session

from holdfast import _colour
from holdfast._colour import run
from holdfast.cli import main
from holdfast.cli._progress import Teller
from holdfast.provision.sqlite import UnmadeSQLiteStore
from holdfast.stores import from_url
from servers.postgres import PostgresServer

OLD, NEW = "sqlite:///old.db", "sqlite:///new.db"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts take no time."""

    async def pause(seconds: float) -> None:
        pass

    monkeypatch.setattr(_colour, "pause", pause)


@pytest.mark.parametrize("option", [[], ["--verify"], ["--dry-run"]])
@pytest.mark.parametrize("target", ["memory://", "memcached://127.0.0.1:1"])
def test_a_target_that_would_lose_the_sessions_is_refused(
    target: str, option: list[str], capsys: Capture
) -> None:
    """Status 2, before anything is read: FROM keeps what it has."""
    sessions = filled(OLD, 5)
    assert main(["migrate", OLD, target, *option]) == 2
    assert f"TO: {target}" in capsys.readouterr().err
    assert all(run(from_url(OLD).load(key)) == record for key, record in sessions.items())


def test_a_target_whose_forgetting_is_accepted_is_taken(memcached_url: str) -> None:
    """Somebody who has said so may move to memcached."""
    sessions = filled(OLD, 5)
    assert main(["migrate", OLD, f"{memcached_url}?forgets=accepted"]) == 0
    there = from_url(f"{memcached_url}?forgets=accepted")
    assert all(run(there.load(key)) is not None for key in sessions)
    run(there.aclose())  # type: ignore[attr-defined]  # memcached's has it


@pytest.mark.parametrize("option", [[], ["--verify"], ["--dry-run"]])
def test_the_memory_of_the_command_is_no_source(option: list[str], capsys: Capture) -> None:
    """There is never a session in it."""
    assert main(["migrate", "memory://", NEW, *option]) == 2
    assert "FROM: memory://" in capsys.readouterr().err
    assert not Path("new.db").exists()


@pytest.mark.parametrize("option", [[], ["--verify"], ["--dry-run"]])
def test_a_mistyped_source_is_refused(option: list[str], tmp_path: Path, capsys: Capture) -> None:
    """Status 2, and no file is made in the place of the one that is meant."""
    assert main(["migrate", "sqlite:///typo.db", NEW, *option]) == 2
    assert "FROM: there is no file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [[], ["--verify"], ["--dry-run"]])
def test_another_file_is_no_source(option: list[str], capsys: Capture) -> None:
    """An empty file, or another application's: refused, and left as it is."""
    Path("empty.db").touch()
    with sqlite3.connect("other.db") as database:
        database.execute("CREATE TABLE theirs (a)")
    before = Path("other.db").read_bytes()
    for name in ("empty.db", "other.db"):
        assert main(["migrate", f"sqlite:///{name}", NEW, *option]) == 2
        assert name in capsys.readouterr().err
    assert Path("empty.db").stat().st_size == 0
    assert Path("other.db").read_bytes() == before


def test_only_looking_makes_no_target(tmp_path: Path, capsys: Capture) -> None:
    """--dry-run counts without it, and --verify says that it is not there."""
    filled(OLD, 3)
    assert main(["migrate", OLD, NEW, "--dry-run"]) == 0
    assert capsys.readouterr().out == "3 to be moved\n"
    assert main(["migrate", OLD, NEW, "--verify"]) == 2
    assert "TO: there is no file" in capsys.readouterr().err
    assert not list(tmp_path.glob("new.db*"))


@pytest.mark.parametrize("option", [[], ["--verify"], ["--dry-run"]])
def test_a_source_without_any_record_is_not_done(option: list[str], capsys: Capture) -> None:
    """Status 1: what holds nothing at all may be the wrong one."""
    filled(OLD, 0)
    filled(NEW, 2)
    assert main(["migrate", OLD, NEW, *option]) == 1
    out, err = capsys.readouterr()
    assert out == "no sessions\n"
    assert "FROM holds no record at all" in err


@pytest.mark.usefixtures("no_waiting")
def test_a_source_that_cannot_be_reached_is_told_with_its_reason(
    unused_tcp_port: int, capsys: Capture
) -> None:
    """Status 1, and nothing of "no sessions": nobody has looked. While it waits it says what for."""
    url = f"redis://ann:the-secret-of-ann@127.0.0.1:{unused_tcp_port}/0"
    assert main(["migrate", url, NEW]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "FROM (RedisStore) is not available: " in err
    assert "refused" in err
    assert "trying again for another" in err
    assert "the-secret-of-ann" not in err


@pytest.mark.parametrize("option", [[], ["--verify"], ["--dry-run"]])
def test_a_target_without_its_table_is_told_once(
    option: list[str], postgres_url: str, capsys: Capture
) -> None:
    """At the start and with what to do, not for each session; and FROM keeps what it has."""
    sessions = filled(OLD, 20)
    mark = "&" if "?" in postgres_url else "?"
    assert main(["migrate", OLD, f"{postgres_url}{mark}table=t_{secrets.token_hex(4)}", *option]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("TO (PostgresStore): the table") == 1
    assert err.count("does not exist") == 1
    assert "run holdfast provision" in err
    assert all(run(from_url(OLD).load(key)) == record for key, record in sessions.items())


def test_a_directory_in_which_no_place_can_be_noted_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Status 2 and what to do, before anything is moved; only looking needs no place."""
    old, new = f"sqlite:///{tmp_path}/old.db", f"sqlite:///{tmp_path}/new.db"
    sessions = filled(old, 5)
    monkeypatch.chdir("/proc")  # where nobody can make files, root neither
    assert main(["migrate", old, new]) == 2
    assert "cannot be noted in /proc (" in capsys.readouterr().err
    assert all(run(from_url(old).load(key)) == record for key, record in sessions.items())
    assert main(["migrate", old, new, "--dry-run"]) == 0


@pytest.fixture
def readers_url(shared_postgres: PostgresServer) -> str:
    """A PostgreSQL with a table of its own and sessions in it, for a role that may only read."""
    table, role = f"t_{secrets.token_hex(4)}", f"reader_{secrets.token_hex(4)}"
    store = from_url(f"{shared_postgres.url}?table={table}")
    run(store.provision(create=True))  # type: ignore[attr-defined]  # PostgreSQL's has it
    for _ in range(5):
        run(store.create(*new_session()))
    shared_postgres.query(f"CREATE ROLE {role} LOGIN")
    shared_postgres.query(f"GRANT SELECT ON {table} TO {role}")
    return f"{shared_postgres.url_for(role)}?table={table}"


@pytest.mark.parametrize("role", ["TO", "FROM"])
def test_a_store_that_may_only_be_read_is_told_once(role: str, readers_url: str, capsys: Capture) -> None:
    """Before any session is sealed in FROM, from where it could not be served while TO does not take it."""
    sessions = filled(OLD, 20)
    urls = [OLD, readers_url] if role == "TO" else [readers_url, OLD]
    assert main(["migrate", *urls]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count(f"{role} (PostgresStore): the role may not do this") == 1
    assert all(run(from_url(OLD).load(key)) == record for key, record in sessions.items())
    assert main(["migrate", *urls, "--dry-run"]) == 0


def test_a_dry_run_tells_what_will_not_fit(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Status 1 and a line for each, as the run itself will say."""
    filled(OLD, 2)
    key, record = new_session()
    run(from_url(OLD).create(key, record._replace(values={"large": b"x" * 200})))
    with monkeypatch.context() as patched:
        patched.setattr(UnmadeSQLiteStore, "max_bytes", 100, raising=False)
        assert main(["migrate", OLD, NEW, "--dry-run"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{key} is too large for TO"
    assert sorted(out[1].split(", ")) == ["1 too large for TO", "2 to be moved"]


class Unhurried:
    """A standard output in which every single write takes a while."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text
        time.sleep(0.001)

    def flush(self) -> None:
        pass


def test_lines_of_many_threads_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is one session's."""
    keys = sorted(filled(OLD, 64))
    output = Unhurried()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", output)
        # The same store by another name, so that every session is live in both.
        assert main(["migrate", OLD, f"sqlite:///{Path('old.db').absolute()}"]) == 1
    assert sorted(output.text.splitlines()[:-1]) == [f"{key} is live in both stores" for key in keys]


def test_no_secret_is_told(capsys: Capture) -> None:
    """A client may repeat its URL in an error, which is shown without what is secret in it."""
    urls = "redis://ann:%2Fpass%2F@h/0", f"cosmos://a.example/d/c?key={'k' * 20}"
    teller = Teller(*urls)
    teller.note(f"cannot reach {urls[0]} with /pass/ and {urls[1]}")
    teller.tell("handle", f"could not be moved: {urls[1]}")
    out, err = capsys.readouterr()
    assert err == "cannot reach redis://ann:***@h/0 with *** and cosmos://a.example/d/c?key=***\n"
    assert out == "handle could not be moved: cosmos://a.example/d/c?key=***\n"
