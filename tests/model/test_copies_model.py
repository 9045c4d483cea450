"""The mechanism that makes copies safe, explored exhaustively in small worlds; and what each of its rules is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from copies_explorer import Exploration, explore
from copies_state import (
    COPY_AGE,
    MONOTONIC_READS,
    NO_REVIVAL,
    READ_YOUR_WRITES,
    REVOCATION,
)
from copies_world import Rules, World

SMALL = {
    "local copies": World(local=True, external=1, visits=1, requests=2),
    "local copies, three requests": World(local=True),
    "shared cache": World(cache=True, requests=2, writes=2, external=1, instances=1, cold=False),
    "weak reads": World(weak=True, external=1, requests=2),
    "weak reads, three requests": World(weak=True),
    "all homes": World(local=True, cache=True, weak=True, requests=2, writes=1),
    "snapshots": World(snapshot_life=2, requests=3, instances=1),
    "snapshots and another device": World(snapshot_life=2, requests=2, external=1, instances=1),
    "snapshots and local copies": World(snapshot_life=2, local=True, requests=2, kills=False),
    "snapshots and revocation": World(snapshot_life=2, requests=1, writes=1, ends=True, feed_fails=True),
    "revocation": World(local=True, cache=True, weak=True, requests=1, writes=1, ends=True, feed_fails=True),
}

LARGE = {
    "shared cache, three requests": World(cache=True),
    "all homes and another device": World(
        local=True, cache=True, weak=True, requests=2, writes=1, external=1
    ),
    "snapshots and revocation, two requests": World(
        snapshot_life=2, requests=2, writes=1, ends=True, feed_fails=True
    ),
    "snapshots, three requests": World(snapshot_life=2, local=True, requests=3),
    "snapshots and the shared cache": World(snapshot_life=2, cache=True, requests=2, external=1),
    "snapshots and all homes": World(
        snapshot_life=2, local=True, cache=True, weak=True, requests=2, writes=1
    ),
    "snapshots, all homes, revocation": World(
        snapshot_life=2, local=True, cache=True, weak=True, requests=1, writes=1, ends=True
    ),
    "revocation, two requests": World(local=True, cache=True, ends=True, requests=2, writes=1),
}


# What the guarantee assumes. The first two are needed, as tests show; the others are built into the model.
ASSUMED = """
  - a replica lags for no longer than D, wherever responses overtake each other or cookies are lost
  - a browser that loses a pin loses its floor with it, and a long pin is not lost
  - the store does not go backwards, and answers strong reads with its newest record
  - the cache answers for each key in one order; it forgets and fails, but does not go back
  - clocks differ by less than the tick by which a pin outlives the copy age"""

explored: dict[str, Exploration] = {}


@pytest.fixture(scope="module", autouse=True)
def summary(pytestconfig: pytest.Config) -> Iterator[None]:
    """Say in the end how many states were explored, and under which assumptions; whatever pytest captures."""
    yield
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    if explored and capture is not None:
        with capture.global_and_fixture_disabled():
            states = sum(exploration.states for exploration in explored.values())
            print(f"\nModel of the copies: {states:,} states in {len(explored)} worlds.", end=" ")
            print(f"Assumed, for a copy age of D:{ASSUMED}")


def holds(name: str, world: World) -> None:
    exploration = explored[name] = explore(world)
    print(f"\n{name}: {exploration}\n  {world}")
    assert exploration.promise is None, str(exploration)


@pytest.mark.parametrize("name", SMALL)
def test_every_promise_holds_in_every_state(name: str) -> None:
    """No order of requests, responses, ticks and faults in the small worlds breaks a promise."""
    holds(name, SMALL[name])


@pytest.mark.proof
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", LARGE)
def test_every_promise_holds_in_larger_worlds(name: str) -> None:
    """The same with more at once; some minutes."""
    holds(name, LARGE[name])


def test_lag_without_bound_is_safe_for_a_browser_that_waits_and_keeps_its_cookies() -> None:
    """The replica's lag has to be bounded only where a floor can be misordered or lost."""
    holds("unbounded lag", World(weak=True, lag=None, in_order=True, loses_cookies=False, kills=False))


def test_without_the_pin_two_overlapping_writes_admit_an_old_copy() -> None:
    """The counter-example of design §7: two writes, the read that leaves a copy, the read that is shown it."""
    world = World(local=True, requests=4, commits_fill=False)
    rules = Rules(pin=False, floor_after_reads=False)
    found = explore(world, rules, frozenset({READ_YOUR_WRITES}))
    print(f"\n{found}")
    assert found.promise == READ_YOUR_WRITES
    assert found.requests == 4


def test_without_the_pin_three_requests_are_enough_where_commits_leave_copies() -> None:
    """A commit's own copy takes the place of the read that leaves one."""
    found = explore(World(local=True), Rules(pin=False))
    print(f"\n{found}")
    assert (found.promise, found.requests) == (READ_YOUR_WRITES, 3)


LOCAL = World(local=True, kills=False)
CACHE = World(cache=True, instances=1, kills=False, loses_cookies=False, loses_answers=False)
CACHE_THAT_KEEPS = replace(CACHE, evicts=False)
CACHE_THAT_ANSWERS = replace(
    CACHE_THAT_KEEPS, cache_fails=False
)  # whatever breaks there, an outage is not to blame
BRIEF = {"copy_age": 0, "cache_life": 2}  # without local copies, nothing is as old as D
AND_A_DEVICE = replace(CACHE_THAT_KEEPS, external=1, cold=False)
CARRIED = World(snapshot_life=2, instances=1, kills=False)
ENDING = World(local=True, ends=True, requests=2, writes=1, kills=False, loses_cookies=False)

MUTANTS = {
    "no pin": (Rules(pin=False), LOCAL, READ_YOUR_WRITES),
    "a pin that dies with the copy age": (Rules(pin_is_short=True), LOCAL, READ_YOUR_WRITES),
    "floor on writes only": (
        Rules(floor_after_reads=False),
        World(local=True, external=1, requests=2),
        MONOTONIC_READS,
    ),
    "absent floor as zero": (Rules(absent_floor_is_zero=True), World(local=True), READ_YOUR_WRITES),
    "delete instead of tombstone": (Rules(tombstones=False), ENDING, NO_REVIVAL),
    "no revoked feed": (
        Rules(feed=False),
        World(local=True, cache=True, ends=True, requests=1, writes=1),
        REVOCATION,
    ),
    "cache set without version guard": (Rules(put_guard=False), CACHE_THAT_ANSWERS, READ_YOUR_WRITES),
    "refill without claim": (
        Rules(claims=False),
        replace(AND_A_DEVICE, cold=True, warm=False, cache_fails=False, **BRIEF),
        READ_YOUR_WRITES,
    ),
    "no long pin": (Rules(long_pin=False), CACHE_THAT_KEEPS, READ_YOUR_WRITES),
    "one pin for both lives": (Rules(one_pin=True), CACHE_THAT_KEEPS, READ_YOUR_WRITES),
    "a put fills an empty place": (
        Rules(put_into_empty=True),
        replace(CACHE, cache_fails=False, **BRIEF),
        READ_YOUR_WRITES,
    ),
    "reads do not confirm the cache": (
        Rules(confirm_reads=False),
        replace(AND_A_DEVICE, **BRIEF),
        MONOTONIC_READS,
    ),
    "answers of local copies do not confirm the cache": (
        Rules(confirm_local=False),
        replace(AND_A_DEVICE, local=True, cache_fails=False),
        MONOTONIC_READS,
    ),
    "weak reads leave copies": (
        Rules(weak_fills=True),
        World(local=True, weak=True, visits=1, kills=False, loses_cookies=False),
        READ_YOUR_WRITES,
    ),
    "a life that counts from the refill": (Rules(age_from_read=False), CACHE_THAT_ANSWERS, COPY_AGE),
    "a pin that snapshots outlive": (Rules(pin_outlives_snapshots=False), CARRIED, READ_YOUR_WRITES),
    "no pin over snapshots": (Rules(pin=False), CARRIED, READ_YOUR_WRITES),
    "snapshots without a floor": (
        Rules(snapshot_floor=False),
        replace(CARRIED, in_order=True, loses_cookies=False, loses_pin_alone=True),
        READ_YOUR_WRITES,
    ),
    "a snapshot's age that counts from the answer": (
        Rules(snapshot_age_from_read=False),
        replace(CARRIED, requests=2, external=1),
        COPY_AGE,
    ),
    "snapshots without the feed": (
        Rules(snapshot_feed=False),
        replace(CARRIED, requests=1, ends=True),
        REVOCATION,
    ),
    "a feed that snapshots outlive": (
        Rules(feed_outlives_snapshots=False),
        replace(CARRIED, requests=1, ends=True),
        REVOCATION,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_rule_is_needed(name: str) -> None:
    """Without the rule, the promise that it is for is broken."""
    rules, world, promise = MUTANTS[name]
    found = explore(world, rules, frozenset({promise}), limit=1_000_000)
    print(f"\n{name}: {found.states} states, {found.seconds:.1f} s\n{found}")
    assert found.promise == promise


@pytest.mark.proof
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTANTS)
def test_with_the_rule_the_same_world_is_safe(name: str) -> None:
    """It is the missing rule that breaks the promise, and not the world."""
    _, world, promise = MUTANTS[name]
    found = explore(world, promises=frozenset({promise}))
    print(f"\n{name}: {found}")
    assert found.promise is None


ASSUMPTIONS = {
    "a replica lags for longer than copies may": World(weak=True, lag=3, loses_cookies=False, kills=False),
    "the browser loses its pin and keeps a floor": World(local=True, loses_pin_alone=True, kills=False),
}


@pytest.mark.parametrize("name", ASSUMPTIONS)
def test_each_assumption_is_needed(name: str) -> None:
    """What the guarantee assumes of the world is not assumed in vain."""
    found = explore(ASSUMPTIONS[name], promises=frozenset({READ_YOUR_WRITES, MONOTONIC_READS}))
    print(f"\n{name}: {found}")
    assert found.promise is not None
