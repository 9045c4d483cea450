"""The stores that misbehave on purpose do so as they were told, and keep the law for stores otherwise."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import pytest

from holdfast import Sessions
from holdfast._colour import run
from holdfast.errors import ConfigError
from holdfast.record import Change, Record
from holdfast.stores import Caches, Owned, Store, Sweeps
from holdfast.stores.memory import MemoryStore
from holdfast.testing import CHECKS, Check, FakeClock, Flaky, Lagging, Losing, conformance

KEY = "a" * 64
ONE = Record(1, b"tag-0001", {"n": b"1"}, "ann", 0.0, 1e12)


def change(n: int) -> Change:
    """The change that makes version n of ONE."""
    return Change(b"tag-%04d" % n, 0.0, set={"n": b"%d" % n})


@pytest.mark.parametrize("check", CHECKS, ids=str)
@pytest.mark.parametrize(
    "wrap", [Lagging, Flaky, Losing, lambda store: Lagging(Flaky(Losing(store)), math.inf)]
)
def test_a_wrapped_store_keeps_the_law(wrap: Any, check: Check) -> None:
    """Lag in weak reads is allowed, and what is not asked to fail or to be lost does not."""
    conformance(lambda: wrap(MemoryStore()), [check])


@pytest.mark.parametrize("wrap", [Lagging, Flaky, Losing])
def test_what_the_store_offers_is_passed_through(wrap: Any) -> None:
    """Listing, sweeping, copies, limits: whoever asks the wrapper for them finds them."""
    inner = MemoryStore()
    store = wrap(inner)
    assert isinstance(store, Owned)
    assert isinstance(store, Sweeps)
    assert isinstance(store, Caches)
    assert (store.max_bytes, store.colours) == (inner.max_bytes, inner.colours)


class Bare:
    """A store with nothing beyond the contract."""

    def __init__(self) -> None:
        inner = MemoryStore()
        self.create, self.load, self.commit, self.end = inner.create, inner.load, inner.commit, inner.end


@pytest.mark.parametrize("wrap", [Lagging, Flaky, Losing])
def test_what_the_store_does_not_offer_is_not_made_up(wrap: Any) -> None:
    """A wrapper does not claim what the store inside cannot do."""
    store = wrap(Bare())
    assert not isinstance(store, Owned)
    assert not isinstance(store, Sweeps)
    assert not isinstance(store, Caches)
    assert not hasattr(store, "max_bytes")


def test_weak_reads_show_the_state_of_some_time_ago() -> None:
    """What was missing then, too; strong reads show the truth."""
    clock = FakeClock(100.0)
    store = Lagging(MemoryStore(), 5.0, clock=clock)
    run(store.create(KEY, ONE))
    assert run(store.load(KEY, weak=True)) is None
    clock.advance(5)
    assert run(store.load(KEY, weak=True)) == ONE
    run(store.commit(KEY, change(2)))
    clock.advance(4)
    assert run(store.load(KEY, weak=True)) == ONE
    newest = run(store.load(KEY))
    assert newest is not None
    assert newest.version == 2
    clock.advance(1)
    assert run(store.load(KEY, weak=True)) == newest
    store.lag = math.inf
    assert run(store.load(KEY, weak=True)) is None


def test_a_tombstone_lags_too() -> None:
    """A replica shows an ended session for a while."""
    clock = FakeClock(100.0)
    store = Lagging(MemoryStore(), 5.0, clock=clock)
    run(store.create(KEY, ONE))
    clock.advance(10)
    tombstone = ONE._replace(version=2, values={}, ended=True)
    run(store.end(KEY, tombstone))
    assert run(store.load(KEY, weak=True)) == ONE
    clock.advance(5)
    assert run(store.load(KEY, weak=True)) == tombstone


def test_replication_can_be_paused() -> None:
    """Weak reads stand still meanwhile, and catch up at once when it goes on."""
    clock = FakeClock(100.0)
    store = Lagging(MemoryStore(), 0.0, clock=clock)
    run(store.create(KEY, ONE))
    store.pause()
    clock.advance(1)
    run(store.commit(KEY, change(2)))
    clock.advance(1000)
    assert run(store.load(KEY, weak=True)) == ONE
    store.resume()
    assert run(store.load(KEY, weak=True)) == run(store.load(KEY))


def test_what_was_there_before_the_wrapper_is_an_earlier_state() -> None:
    """The first change through the wrapper lags behind what the store had."""
    inner, clock = MemoryStore(), FakeClock(100.0)
    run(inner.create(KEY, ONE))
    store = Lagging(inner, 5.0, clock=clock)
    run(store.commit(KEY, change(2)))
    assert run(store.load(KEY, weak=True)) == ONE


def test_a_call_fails_before_or_after_its_effect() -> None:
    """By the list, in its order; then all is well again."""
    store = Flaky(MemoryStore(), schedule=["before", "ok", "after"], methods={"create", "commit"})
    with pytest.raises(ConnectionError):
        run(store.create(KEY, ONE))
    assert run(store.load(KEY)) is None
    assert run(store.create(KEY, ONE))
    with pytest.raises(ConnectionError):
        run(store.commit(KEY, change(2)))
    done = run(store.load(KEY))
    assert done is not None
    assert done.version == 2
    assert [tuple(failure) for failure in store.failures] == [
        ("create", KEY, "before"),
        ("commit", KEY, "after"),
    ]


def test_chance_repeats_itself() -> None:
    """The same seed makes the same calls fail, about as many as the rate says."""

    def fates(seed: int) -> list[bool]:
        store = Flaky(MemoryStore(), rate=0.25, seed=seed)
        fates = []
        for _ in range(400):
            before = len(store.failures)
            with suppress(ConnectionError):
                run(store.load(KEY))
            fates.append(len(store.failures) > before)
        return fates

    assert fates(7) == fates(7) != fates(8)
    assert 60 < sum(fates(7)) < 140


@pytest.mark.parametrize(
    "settings", [{"rate": 1.5}, {"when": "never"}, {"methods": {"lode"}}, {"schedule": ["perhaps"]}]
)
def test_a_setting_that_means_nothing_is_refused(settings: Any) -> None:
    """At construction, as everywhere."""
    with pytest.raises(ConfigError):
        Flaky(MemoryStore(), **settings)


def test_a_roll_back_takes_everything_to_the_checkpoint() -> None:
    """Changed records are what they were, new ones are gone, ended ones are back, and all can be used again."""
    store = Losing(MemoryStore())
    other, new = "b" * 64, "c" * 64
    run(store.create(KEY, ONE))
    run(store.create(other, ONE))
    store.checkpoint()
    run(store.commit(KEY, change(2)))
    run(store.end(other, ONE._replace(version=2, ended=True)))
    run(store.create(new, ONE))
    assert store.roll_back() == 3
    assert run(store.load(KEY)) == ONE
    assert run(store.load(other)) == ONE
    assert run(store.load(new)) is None
    assert run(store.of("ann")) == {KEY: ONE, other: ONE}
    assert run(store.commit(KEY, change(3))).version == 2
    assert run(store.create(new, ONE))


def test_it_can_be_rolled_back_again() -> None:
    """To the same checkpoint, or, without one, to nothing."""
    store = Losing(MemoryStore())
    run(store.create(KEY, ONE))
    store.checkpoint()
    for _ in range(2):
        run(store.commit(KEY, change(2)))
        store.roll_back()
        assert run(store.load(KEY)) == ONE
    assert store.roll_back() == 0
    fresh = Losing(MemoryStore())
    run(fresh.create(KEY, ONE))
    assert fresh.roll_back() == 1
    assert run(fresh.load(KEY)) is None


def test_sessions_takes_them() -> None:
    """Each is a store like any other, to `Sessions` and to the type checker."""
    stores: list[Store] = [Lagging(MemoryStore()), Flaky(MemoryStore()), Losing(MemoryStore())]
    for store in stores:
        Sessions(store, keys="0123456789abcdefghijklmnopqrstuvwxyz")
