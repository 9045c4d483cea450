"""The example on the page about moving runs, and so do its steps one after the other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from holdfast import Sessions
from holdfast.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "migrate.md"


def test_a_visitor_goes_through_all_steps_and_stays_signed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The steps of the page, each with a visitor from before: nobody is logged out and nothing is lost."""
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    steps: dict[str, Any] = {}
    exec(compile(example.replace("/tmp/", f"{tmp_path}/"), "example", "exec"), steps)

    cookies = [sign_in(steps["before"], f"user-{number}") for number in range(3)]
    for step in ("before", "step_1", "step_2"):
        assert visit(steps[step], cookies[0]) == "user-0"
    for step in ("step_1", "before", "step_1"):
        assert visit(steps[step], cookies[1]) == "user-1"
    sign_out(steps["step_1"], cookies[1])
    assert main(["migrate", steps["old"], steps["new"]]) == 0
    assert main(["migrate", steps["old"], steps["new"], "--verify"]) == 0
    for step in ("step_4", "step_2", "step_1"):
        assert visit(steps[step], cookies[0]) == "user-0"
        assert visit(steps[step], cookies[1]) is None
        assert visit(steps[step], cookies[2]) == "user-2"
    assert count(steps["step_4"], cookies[0]) == 6
    assert [len(steps[step].sync.of("user-0")) for step in ("step_1", "step_2", "step_4")] == [1, 1, 1]


def sign_in(sessions: Sessions, owner: str) -> bytes:
    """A new visitor's Cookie header."""
    session = sessions.open(None)
    sessions.sync.load(session)
    session["visits"] = 0
    session.login(owner)
    sessions.sync.commit(session)
    planted = [value.split(b";")[0] for _, value in session._planted]
    return b"; ".join(cookie for cookie in planted if b"-seen" not in cookie)


def visit(sessions: Sessions, cookie: bytes) -> str | None:
    """Who the visitor is; each visit is counted, and reads the store."""
    session = sessions.open(cookie)
    sessions.sync.load(session, "strong")
    if session.owner is not None:
        session.alter("visits", lambda number: number + 1)
        sessions.sync.commit(session)
    owner: str | None = session.owner
    return owner


def count(sessions: Sessions, cookie: bytes) -> int:
    session = sessions.open(cookie)
    sessions.sync.load(session, "strong")
    visits: int = session["visits"]
    return visits


def sign_out(sessions: Sessions, cookie: bytes) -> None:
    session = sessions.open(cookie)
    sessions.sync.load(session, "strong")
    session.logout()
    sessions.sync.commit(session)
