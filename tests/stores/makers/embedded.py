"""Stores that need no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.stores import from_url
from servers.process import PATIENCE_SECONDS

from . import Factory, Maker


def _sqlite(request: pytest.FixtureRequest) -> Factory:
    directory: Path = request.getfixturevalue("tmp_path")
    return lambda: from_url(f"sqlite:///{directory}/sessions.db?timeout={PATIENCE_SECONDS}")


BLOCKING: dict[str, Maker] = {"memory": lambda _: lambda: from_url("memory://"), "sqlite": _sqlite}
AWAITED: dict[str, Maker] = {}
