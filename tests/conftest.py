"""Fixtures for every test: those of the real servers stand in `servers`, with what they start."""

import pytest

pytest_plugins = [
    "servers.cosmos",
    "servers.dynamodb",
    "servers.firestore",
    "servers.memcached",
    "servers.postgres",
    "servers.redis",
    "servers.redis_cluster",
    "servers.redis_sentinel",
]

# Runs of the lab fill both cores by themselves, and what they show is worth nothing if they have to share them.
_ALONE = ("tests/lab/", "tests/faults/", "tests/cli/test_demo.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that run one after the other, while all others share the cores (see `make test`)."""
    for item in items:
        if item.nodeid.startswith(_ALONE):
            item.add_marker(pytest.mark.alone)
