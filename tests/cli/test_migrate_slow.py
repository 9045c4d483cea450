"""`holdfast migrate` and stores that are slow: it asks for less at once, waits, and shows how far it is."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from moving import new_session

from holdfast import _colour
from holdfast._colour import run
from holdfast.cli._checkpoint import Checkpoint
from holdfast.cli._migration import Migration
from holdfast.cli._progress import Bar, Lines, progress
from holdfast.errors import StoreError
from holdfast.stores import Page
from holdfast.stores.memory import MemoryStore

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts take no time."""

    async def pause(seconds: float) -> None:
        pass

    monkeypatch.setattr(_colour, "pause", pause)


class Slow(MemoryStore):
    """Hands out so many records in time and no more, and none at all for its first calls."""

    def __init__(self, in_time: int, away: int = 0) -> None:
        super().__init__()
        self.asked: list[int] = []
        self._in_time = in_time
        self._away = away

    async def scan(self, after: str | None, most: int) -> Page:
        self.asked.append(most)
        if len(self.asked) <= self._away:
            raise ConnectionRefusedError("away")
        if most > self._in_time:
            raise TimeoutError("so much takes too long")
        return await super().scan(after, most)


def filled_with(store: Slow, number: int) -> None:
    for _ in range(number):
        run(store.create(*new_session()))


def works(tmp_path: Path) -> dict[str, Callable[[Migration], Coroutine[Any, Any, None]]]:
    file = Checkpoint("memory:a", "memory:b", tmp_path)
    return {
        "moved": lambda migration: migration.move(file, lambda number: None),
        "to move": lambda migration: migration.rehearse(lambda number: None),
        "wrong": lambda migration: migration.verify(lambda number: None),
    }


@pytest.mark.parametrize("verdict", ["moved", "to move", "wrong"])
def test_pages_that_do_not_come_in_time_are_made_smaller(verdict: str, tmp_path: Path) -> None:
    """Large sessions are read few at a time, however many were asked for: each kind of run comes to its end."""
    old = Slow(in_time=7)
    filled_with(old, 100)
    migration = Migration(old, MemoryStore(), page=500, tell=lambda handle, what: None)
    run(works(tmp_path)[verdict](migration))
    assert migration.counts == {verdict: 100}
    in_time = [most for most in old.asked if most <= 7]
    assert len(old.asked) - len(in_time) < len(in_time)


def test_pages_grow_again_once_the_store_is_back(tmp_path: Path) -> None:
    """A store that was away for a while is not read in small pieces ever after."""
    old = Slow(in_time=32, away=10)
    filled_with(old, 600)
    migration = Migration(old, MemoryStore(), page=32, tell=lambda handle, what: None)
    run(migration.move(Checkpoint("memory:a", "memory:b", tmp_path), lambda number: None))
    assert migration.counts == {"moved": 600}
    assert min(old.asked) == 1
    assert old.asked[-1] == 32
    assert max(old.asked) == 32


def test_waiting_is_told_with_its_reason_and_ends() -> None:
    """Somebody who looks on hears what is waited for and for how long yet; at last it is an error."""
    heard: list[tuple[str, float]] = []
    old = Slow(in_time=1, away=10_000)

    def waiting(error: StoreError, seconds: float) -> None:
        heard.append((str(error), seconds))

    migration = Migration(
        old, MemoryStore(), page=1, tell=lambda handle, what: None, waiting=waiting, patience=30.0
    )
    with pytest.raises(StoreError, match=r"FROM \(Slow\) is not available"):
        run(migration.rehearse(lambda number: None))
    assert {text for text, _ in heard} == {"FROM (Slow) is not available: ConnectionRefusedError"}
    left = [seconds for _, seconds in heard]
    assert left == sorted(left, reverse=True)
    assert all(0.0 < seconds < 30.0 for seconds in left)


def test_the_bar_is_there_where_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, with the extra that docs/migrate.md names; as lines without it, or without a terminal."""
    page = (ROOT / "docs" / "migrate.md").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "pip install 'holdfast[lab]'" in page
    assert any(requirement.startswith("rich") for requirement in extras["lab"])
    assert isinstance(progress(10, 0), Lines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(progress(10, 0), Bar)
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert isinstance(progress(10, 0), Lines)


@pytest.mark.parametrize("on_terminal", [True, False])
def test_the_bar_leaves_the_output_where_it_was_sent(
    on_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`holdfast migrate … > file` puts each line about a session into the file, whole, though a bar is shown."""
    key = "k" * 64
    line = f"{key} could not be moved: {'words ' * 20}".strip()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: on_terminal, raising=False)
    with Bar(10, 0):
        print(line)
    out, err = capsys.readouterr()
    assert (out == f"{line}\n") is not on_terminal
    assert (key in err) is on_terminal
