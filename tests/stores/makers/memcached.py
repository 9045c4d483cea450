"""Memcached."""

from __future__ import annotations

import pytest

from holdfast.stores import from_url

from . import Factory, Maker


def _memcached(request: pytest.FixtureRequest) -> Factory:
    url: str = request.getfixturevalue("memcached_url")
    return lambda: from_url(url)


BLOCKING: dict[str, Maker] = {"memcached": _memcached}
AWAITED: dict[str, Maker] = {}
