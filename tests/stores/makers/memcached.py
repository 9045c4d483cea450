"""Memcached."""

from __future__ import annotations

import pytest

from holdfast.stores import from_url
from servers.process import PATIENCE_SECONDS

from . import Factory, Maker


def _memcached(request: pytest.FixtureRequest) -> Factory:
    url: str = request.getfixturevalue("memcached_url")
    return lambda: from_url(f"{url}?timeout={PATIENCE_SECONDS}")


BLOCKING: dict[str, Maker] = {"memcached": _memcached}
AWAITED: dict[str, Maker] = {}
