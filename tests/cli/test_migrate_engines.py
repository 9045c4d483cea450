"""`holdfast migrate` between engines: what arrives is what was sent, to the last byte, and verifies."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

import pytest

from holdfast._colour import run
from holdfast.cli import main
from holdfast.record import Record
from holdfast.stores import from_url

# Nothing is moved out of the PostgreSQL, which holds the sessions of other tests too.
PAIRS = [("sqlite", "postgres"), ("redis", "postgres"), ("redis", "sqlite"), ("redis", "redis")]


def url_of(engine: str, name: str, request: pytest.FixtureRequest) -> str:
    """A store of this engine, with no sessions but for PostgreSQL's, whose server and table are shared."""
    if engine == "redis":
        return f"{request.getfixturevalue('redis_url')}/0?prefix={secrets.token_hex(4)}:"
    return str(request.getfixturevalue("postgres_url")) if engine == "postgres" else f"sqlite:///{name}.db"


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_sessions_move_between_engines(
    here: str, there: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Odd names and values, owners and exact times arrive; verifying and a second run find nothing to do."""
    monkeypatch.chdir(tmp_path)
    old, new = url_of(here, "old", request), url_of(there, "new", request)
    source, now = from_url(old), time.time()
    sessions = {}
    for number in range(120):
        values = {"": b"", "a\0b": os.urandom(50), "日本": b"\xff", "n": b"%d" % number}
        record = Record(number + 1, os.urandom(8), values, f"Zoë {number % 5}", now + 0.1, now + 3600.1 + 0.2)
        sessions[secrets.token_hex(32)] = record
    for key, record in sessions.items():
        run(source.create(key, record))
    assert main(["migrate", old, new, "--page", "50"]) == 0
    assert main(["migrate", old, new, "--verify"]) == 0
    assert main(["migrate", old, new]) == 0
    target = from_url(new)
    for key, record in sessions.items():
        moved = run(target.load(key))
        assert moved is not None
        assert moved == record._replace(version=record.version + 1, tag=moved.tag)
    for store in (source, target):
        run(store.aclose())  # type: ignore[attr-defined]  # both have it
