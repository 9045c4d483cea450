"""Fixtures for the tests of bearer tokens: one clock, and each of the stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from holdfast.stores import Store, from_url
from holdfast.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """The time of all instances in a test."""
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Connects one more instance to the store that all instances share."""
    if request.param == "memory":
        shared = from_url("memory://")
        return lambda: shared
    if request.param == "sqlite":
        return lambda: from_url(f"sqlite:///{tmp_path}/sessions.db")
    url = request.getfixturevalue("redis_url")
    prefix = uuid4().hex  # the server is there for all tests
    return lambda: from_url(f"{url}/0?prefix={prefix}:")


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    """A connection to that store."""
    return open_store()
