"""`holdfast provision`: what a store needs is made, checked, or printed as code."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from holdfast import ConfigError, stores
from holdfast.cli import main
from holdfast.stores import Known, Part, from_url
from holdfast.stores.memory import MemoryStore


class ClientError(Exception):
    """What a client of some engine raises."""


class Engine(MemoryStore):
    """A third party's store, whose parts a test sets."""

    parts: list[Part]
    failure: Exception | None
    asked: list[bool]
    urls: list[str]
    closed: int
    unavailable = (ClientError,)

    @classmethod
    def from_url(cls, url: str) -> Engine:
        cls.urls.append(url)
        return cls()

    async def provision(self, *, create: bool) -> list[Part]:
        self.asked.append(create)
        if self.failure is not None:
            raise self.failure
        return [
            part._replace(state="made") if create and part.state == "missing" else part for part in self.parts
        ]

    def as_code(self, form: str) -> str:
        if form != "runes":
            raise ConfigError(f"an engine is printed as runes, not as {form!r}")
        return "ᚠᚢᚦ\n"

    def close(self) -> None:
        type(self).closed += 1


class AwaitedEngine(Engine):
    """The same, on an async client only."""

    colours = frozenset({"async"})

    async def aclose(self) -> None:
        type(self).closed += 1


@pytest.fixture(params=["engine", "awaited"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Engine]:
    """The store that `engine://` names, in both colours."""
    monkeypatch.delenv("HOLDFAST_STORE", raising=False)
    kind = {"engine": Engine, "awaited": AwaitedEngine}[request.param]
    kind.parts, kind.failure, kind.asked, kind.urls, kind.closed = [], None, [], [], 0
    monkeypatch.setitem(stores.KNOWN, "engine", Known(f"{__name__}:{kind.__name__}"))
    return kind


class TestAnyStore:
    """Whatever the store is: one that a third party has written."""

    def test_what_is_missing_is_made(self, engine: type[Engine], capsys: pytest.CaptureFixture[str]) -> None:
        """And what is there is said to be there; exit status 0."""
        engine.parts = [Part("table t", "there"), Part("index i", "missing", "on owner")]
        assert main(["provision", "engine://host/name"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "engine://host/name",
            "  there    table t",
            "  made     index i  on owner",
            "Made what was missing (1).",
        ]
        assert (engine.asked, engine.closed) == ([True], 1)

    def test_check_makes_nothing(self, engine: type[Engine], capsys: pytest.CaptureFixture[str]) -> None:
        """Exit status 1, for a pipeline that stops there."""
        engine.parts = [Part("table t", "there"), Part("index i", "missing", "on owner")]
        assert main(["provision", "--check", "engine://host/name"]) == 1
        assert "  missing  index i  on owner\n" in capsys.readouterr().out
        assert engine.asked == [False]

    def test_all_there(self, engine: type[Engine], capsys: pytest.CaptureFixture[str]) -> None:
        """Exit status 0, with and without --check."""
        engine.parts = [Part("table t", "there")]
        assert main(["provision", "engine://host/name"]) == 0
        assert main(["provision", "engine://host/name", "--check"]) == 0
        assert capsys.readouterr().out.count("All is there.") == 2

    def test_what_is_wrong_is_left_as_it_is(
        self, engine: type[Engine], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """And said to be; exit status 1, though nothing is missing any more."""
        engine.parts = [Part("table t", "wrong", "its key should be id"), Part("index i", "missing")]
        assert main(["provision", "engine://host/name"]) == 1
        out = capsys.readouterr().out
        assert "  wrong    table t  its key should be id\n" in out
        assert "\n1 made, 1 wrong.\nWhat is wrong is left as it is: it is for you to change.\n" in out
        assert out.endswith("\nWhat may stay as it is can be named: --accept PART.\n")

    def test_what_is_wrong_can_be_accepted(
        self, engine: type[Engine], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """By its name, and only where it is wrong; it is shown all the same."""
        engine.parts = [
            Part("table t", "there"),
            Part("log", "wrong", "it is off"),
            Part("log size", "there"),
        ]
        for extra in ([], ["--check"]):
            assert main(["provision", "engine://host/name", *extra, "--accept", "log", "--accept", "x"]) == 0
            out = capsys.readouterr().out
            assert "\n  accepted log  it is off\n" in out
            assert out.endswith("\nAll is there. Accepted as it is: 1.\n")
        engine.parts = [
            Part("log", "wrong", "it is off"),
            Part("log size", "wrong"),
            Part("place", "missing"),
        ]
        assert (
            main(["provision", "engine://host/name", "--check", "--accept", "log", "--accept", "place"]) == 1
        )
        out = capsys.readouterr().out
        assert "  missing  place\n" in out
        assert "  wrong    log size\n" in out
        assert "\n1 missing, 1 wrong, 1 accepted.\n" in out

    def test_a_store_that_cannot_be_asked(
        self, engine: type[Engine], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """One line on stderr with the client's words, and exit status 2: never a traceback."""
        engine.failure = ClientError("no route\nto host")
        assert main(["provision", "engine://host/name"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err == (
            f"holdfast: engine://host/name: {engine.__name__} is not available: ClientError: no route to host\n"
        )
        assert engine.closed == 1

    def test_an_error_that_nobody_has_thought_of(
        self, engine: type[Engine], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Is one line as well."""
        engine.failure = ZeroDivisionError()
        assert main(["provision", "engine://host/name"]) == 2
        assert "failed: ZeroDivisionError\n" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("url", "secret"),
        [
            ("engine://me:s3cr3t@host/name", "s3cr3t"),
            ("engine://me:s%40cr%3At@host/name", "s@cr:t"),
            ("engine://:s3cr3t@host/name", "s3cr3t"),
            ("engine://host/name?key=c2VjcmV0IHNlY3JldCBzZWNyZXQ=", "c2VjcmV0IHNlY3JldCBzZWNyZXQ="),
        ],
    )
    def test_no_secret_is_shown(
        self, engine: type[Engine], capsys: pytest.CaptureFixture[str], url: str, secret: str
    ) -> None:
        """Neither in the heading, nor in an error whose client quotes it."""
        engine.parts = [Part("table t", "there")]
        assert main(["provision", url]) == 0
        engine.failure = ClientError(f"cannot log in with {secret}, by {url}")
        assert main(["provision", url]) == 2
        out, err = capsys.readouterr()
        assert secret not in out + err
        assert url.rpartition(":")[2].partition("@")[0] not in err
        assert "host/name" in out
        assert engine.urls == [url, url]

    def test_print_only_prints(self, engine: type[Engine], capsys: pytest.CaptureFixture[str]) -> None:
        """The code and nothing else, for a file; the engine is not asked for anything."""
        assert main(["provision", "engine://host/name", "--print", "runes"]) == 0
        assert capsys.readouterr() == ("ᚠᚢᚦ\n", "")
        assert engine.asked == []

    def test_print_of_a_form_that_there_is_not(
        self, engine: type[Engine], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Exit status 2, with what there is."""
        assert main(["provision", "engine://host/name", "--print", "sql"]) == 2
        assert capsys.readouterr() == ("", "holdfast: an engine is printed as runes, not as 'sql'\n")

    def test_the_store_of_the_environment(
        self,
        engine: type[Engine],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Without a URL, as applications find it."""
        engine.parts = [Part("table t", "there")]
        monkeypatch.setenv("HOLDFAST_STORE", "engine://host/name")
        assert main(["provision", "--check"]) == 0
        assert capsys.readouterr().out.startswith("engine://host/name\n")

    def test_a_long_detail_is_wrapped_on_a_terminal_only(
        self, engine: type[Engine], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In a log each part is one line."""
        detail = "the settings of this part should be " + "quite different " * 8
        engine.parts = [Part("table t", "wrong", detail), Part("index i", "there")]
        main(["provision", "engine://host/name"])
        assert f"  wrong    table t  {detail.strip()}\n" in capsys.readouterr().out
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        main(["provision", "engine://host/name"])
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        assert lines[1] == "  wrong    table t"
        assert lines[2].startswith("             the settings")

    def test_a_stop_by_the_keyboard(self, engine: type[Engine], capsys: pytest.CaptureFixture[str]) -> None:
        """Is no traceback either."""
        engine.failure = KeyboardInterrupt()  # type: ignore[assignment]
        assert main(["provision", "engine://host/name"]) == 130
        assert capsys.readouterr().err.startswith("holdfast: stopped")


class TestConfiguration:
    """What could not work is said, with exit status 2."""

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["nosuch://host"], "no store is known for 'nosuch'"),
            (["sqlite:///"], "write sqlite:///relative.db"),
            ([], "name the store"),
        ],
    )
    def test_wrong_arguments(
        self,
        arguments: list[str],
        said: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """In one line."""
        monkeypatch.delenv("HOLDFAST_STORE", raising=False)
        assert main(["provision", *arguments]) == 2
        assert said in capsys.readouterr().err

    def test_check_and_print_exclude_each_other(self, capsys: pytest.CaptureFixture[str]) -> None:
        """One prints without asking, the other asks."""
        with pytest.raises(SystemExit) as stop:
            main(["provision", "memory://", "--check", "--print", "sql"])
        assert stop.value.code == 2
        assert "not allowed with" in capsys.readouterr().err

    @pytest.mark.parametrize("extra", [[], ["--check"], ["--print", "terraform"]])
    def test_a_store_that_needs_nothing(self, extra: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        """Is not a failure; what is printed for a file stays empty."""
        assert main(["provision", "memory://", *extra]) == 0
        out, err = capsys.readouterr()
        assert "nothing has to be provisioned" in out + err
        assert out == "" or "--print" not in extra


class TestSQLite:
    """The store that needs a file."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "sessions.db"

    def states(self, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
        """The states of the parts that were shown, by name."""
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
        return {line[11:].split("  ")[0]: line[:11].strip() for line in lines}

    def test_check_does_not_make_the_file(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Though the store makes it as soon as it is constructed; nor does printing."""
        assert main(["provision", "--print", "sql", f"sqlite:///{path}"]) == 0
        capsys.readouterr()
        assert main(["provision", "--check", f"sqlite:///{path}"]) == 1
        assert set(self.states(capsys).values()) == {"missing"}
        assert list(path.parent.iterdir()) == []

    def test_made_then_there(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Twice is the same as once."""
        assert main(["provision", f"sqlite:///{path}"]) == 0
        made = self.states(capsys)
        assert made["table sessions"] == made["file"] == "made"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for extra in ([], ["--check"]):
            assert main(["provision", f"sqlite:///{path}", *extra]) == 0
            assert set(self.states(capsys).values()) == {"there"}

    def test_a_file_that_others_can_read(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Is wrong: whoever reads it has everybody's data."""
        main(["provision", f"sqlite:///{path}"])
        path.chmod(0o644)
        assert main(["provision", f"sqlite:///{path}"]) == 1
        assert "wrong    permissions" in (out := capsys.readouterr().out)
        assert "chmod 600" in out

    def test_an_index_that_somebody_has_dropped(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Is made again."""
        main(["provision", f"sqlite:///{path}"])
        with sqlite3.connect(path) as connection:
            connection.execute("DROP INDEX sessions_owner")
        capsys.readouterr()
        assert main(["provision", "--check", f"sqlite:///{path}"]) == 1
        assert self.states(capsys)["index sessions_owner"] == "missing"
        assert main(["provision", f"sqlite:///{path}"]) == 0
        assert self.states(capsys)["index sessions_owner"] == "made"

    @pytest.mark.parametrize("contents", ["text", "stranger", "directory"])
    def test_what_is_not_holdfasts_is_left_alone(
        self, path: Path, contents: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """And said to be wrong."""
        if contents == "text":
            path.write_text("some text that is no database " * 50)
        elif contents == "stranger":
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE accounts (id)")
        else:
            path.mkdir()
        before = path.read_bytes() if path.is_file() else None
        assert main(["provision", f"sqlite:///{path}"]) == 1
        assert self.states(capsys) == {"file": "wrong"}
        assert (path.read_bytes() if path.is_file() else None) == before

    def test_a_missing_directory(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Is said in one line."""
        assert main(["provision", f"sqlite:///{path.parent}/nowhere/x.db"]) == 2
        assert "its directory does not exist" in capsys.readouterr().err

    def test_what_is_printed_makes_what_is_needed(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Run by SQLite itself, it leaves nothing missing, and a store takes the file."""
        main(["provision", "--print", "sql", f"sqlite:///{path}"])
        path.touch(0o600)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.executescript(capsys.readouterr().out)
        connection.close()
        assert main(["provision", "--check", f"sqlite:///{path}"]) == 0
        store: Any = from_url(f"sqlite:///{path}")
        store.close()
