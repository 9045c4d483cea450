"""Every store that Holdfast has keeps the law for stores, in both colours, against real servers."""

from __future__ import annotations

import pytest
from makers import (
    Factory,
    Maker,
    cosmos,
    dynamodb,
    embedded,
    firestore,
    memcached,
    migrating,
    postgres,
    redis,
)

from holdfast.stores import from_url
from holdfast.testing import CHECKS, Check, conformance

ENGINES = (embedded, redis, memcached, dynamodb, cosmos, firestore, postgres, migrating)
BLOCKING: dict[str, Maker] = {row: maker for engine in ENGINES for row, maker in engine.BLOCKING.items()}
EVERY = BLOCKING | {row: maker for engine in ENGINES for row, maker in engine.AWAITED.items()}


@pytest.fixture
def make_store(request: pytest.FixtureRequest) -> Factory:
    """The factory of the stores that the test's row names."""
    return EVERY[request.param](request)


@pytest.mark.parametrize("make_store", BLOCKING, indirect=True)
@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_a_store_keeps_the_law_for_sync_callers(make_store: Factory, check: Check) -> None:
    """What the check's law says holds when the store's coroutines are driven by hand."""
    conformance(make_store, [check], colour="sync")


@pytest.mark.parametrize("make_store", EVERY, indirect=True)
@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_a_store_keeps_the_law_for_async_callers(make_store: Factory, check: Check) -> None:
    """What the check's law says holds on an event loop, each check on a fresh one."""
    conformance(make_store, [check], colour="async")


def test_one_store_serves_both_colours_and_many_loops(redis_url: str) -> None:
    """One store made from a URL passes all of it, however many loops come and go and whoever calls it."""
    store = from_url(redis_url)
    conformance(lambda: store)
