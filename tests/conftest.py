"""Fixtures for every test: those of the real servers stand in `servers`, with what they start."""

import pytest
from hypothesis import HealthCheck, settings

# The same examples at every run, whatever the machine does meanwhile: how long one takes says nothing about the code.
settings.register_profile(
    "same", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")

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
_ALONE = (
    "tests/cli/test_demo.py::test_a_short_run",
    "tests/cli/test_demo.py::test_copies_are_compared",
    "tests/cli/test_demo.py::test_stopping",
    "tests/faults/",
    *(
        "tests/lab/test_copies.py",
        "tests/lab/test_faults.py",
        "tests/lab/test_trial",
        "tests/lab/test_platform",
    ),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that run one after the other, while all others share the cores (see `make test`)."""
    for item in items:
        if item.nodeid.startswith(_ALONE):
            item.add_marker(pytest.mark.alone)
