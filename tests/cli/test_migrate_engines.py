"""`holdfast migrate` between engines: what arrives is what was sent, to the last byte, and verifies."""

from __future__ import annotations

import os
import secrets
import time
from itertools import pairwise
from pathlib import Path

import pytest

from holdfast._colour import run
from holdfast.cli import main
from holdfast.record import Record
from holdfast.stores import from_url
from servers.cosmos import CONTAINER
from servers.dynamodb import TABLE
from servers.process import PATIENCE_SECONDS

# Each engine is moved to and from once, between those that have async clients, that block, or both.
RING = (
    *("sqlite", "dynamodb", "cosmos", "firestore", "redis+cluster", "postgres"),
    *("dynalite", "redis", "sqlite"),
)
PAIRS = [*pairwise(RING), ("sqlite", "postgres"), ("redis", "postgres"), ("redis", "redis")]


def url_of(engine: str, request: pytest.FixtureRequest) -> str:
    """A store of this engine in a place of its own, with no sessions."""
    name = f"t{secrets.token_hex(4)}"

    def at(fixture: str) -> str:
        return str(request.getfixturevalue(fixture))

    match engine:
        case "sqlite":
            return f"sqlite:///{name}.db"
        case "redis":
            return f"{at('redis_url')}/0?prefix={name}:"
        case "redis+cluster":
            return f"{request.getfixturevalue('redis_cluster').url}?prefix={name}:"
        case "postgres":
            return f"{at('postgres_url')}?table={name}"
        case "dynamodb" | "dynalite":
            url = at("moto_url" if engine == "dynamodb" else "dynalite_url")
            return url.replace(f"//{TABLE}?", f"//{name}?")
        case "cosmos":
            return at("cosmos_url").replace(f"/{CONTAINER}?", f"/{name}?")
        case _:
            return f"firestore://holdfast-tests/{name}?emulator={at('firestore_address')}&timeout={PATIENCE_SECONDS}"


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_sessions_move_between_engines(
    here: str, there: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Odd names and values, owners and exact times arrive; verifying and a second run find nothing to do."""
    monkeypatch.chdir(tmp_path)
    old, new = url_of(here, request), url_of(there, request)
    for url in (old, new):
        main(["provision", url])
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
        run(store.aclose())  # type: ignore[attr-defined]  # they all have it
