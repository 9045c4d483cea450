"""What `Migrating` costs, refuses, and does with the feed of ended sessions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from records import new_change, new_key, new_record

from holdfast import ConfigError, Keyring, Sessions
from holdfast._colour import run
from holdfast.copies.revoked import FEED_KEY, RevokedFeed
from holdfast.record import Record
from holdfast.stores import Store, from_url
from holdfast.stores._migrating_marks import MARK
from holdfast.stores.guard import Guard
from holdfast.stores.memory import MemoryStore
from holdfast.stores.migrating import Migrating, Stage
from holdfast.testing import FakeClock

CLOCK = FakeClock(1_800_000_000.0)


class Counted(MemoryStore):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __getattribute__(self, name: str) -> Any:
        if name in ("create", "load", "commit", "end"):
            self.calls += 1
        return super().__getattribute__(name)


class Few(MemoryStore):
    """A store that takes few changes of one record, so that the feed in it is split."""

    writes_per_second = 1.0


def costs(stage: Stage, *, begun_in: str) -> dict[str, tuple[int, int]]:
    """The calls to (old, new) that each operation takes, for a session that is in the store `begun_in`."""
    counted: dict[str, tuple[int, int]] = {}
    for name in ("load", "commit", "second commit", "deadline", "create", "end"):
        old, new = Counted(), Counted()
        store = Migrating(old, new, stage=stage)
        key, record = new_key(), new_record()
        run((old if begun_in == "old" else new).create(key, record))
        if name == "second commit":
            run(store.commit(key, new_change()))
        old.calls = new.calls = 0
        if name == "load":
            run(store.load(key))
        elif name == "create":
            run(store.create(new_key(), record))
        elif name == "end":
            run(store.end(key, record._replace(values={}, ended=True)))
        else:
            run(store.commit(key, new_change(expires_at=record.expires_at if name == "deadline" else None)))
        counted[name] = old.calls, new.calls
    return counted


def test_what_each_call_costs() -> None:
    """As many calls to the two stores as docs/migrate.md says."""
    ordinary = {"create": (1, 1)}
    assert costs("prepare", begun_in="old") == ordinary | {
        "load": (1, 0),
        "commit": (2, 0),
        "second commit": (1, 0),
        "deadline": (2, 0),
        "end": (3, 1),
    }
    assert costs("move", begun_in="old") == ordinary | {
        "load": (1, 1),
        "commit": (3, 3),
        "second commit": (0, 1),
        "deadline": (4, 3),
        "end": (3, 1),
    }
    assert costs("move", begun_in="new") == ordinary | {
        "load": (0, 1),
        "commit": (0, 1),
        "second commit": (0, 1),
        "deadline": (1, 1),
        "end": (2, 1),
    }


def test_what_could_not_work_is_refused() -> None:
    """At construction, saying why."""
    store = MemoryStore()
    with pytest.raises(ConfigError, match="same store"):
        Migrating(store, store)
    with pytest.raises(ConfigError, match="stage"):
        Migrating("memory://", store, stage="moving")  # type: ignore[arg-type]  # the mistake
    other = MemoryStore()
    other.colours = frozenset({"async"})  # type: ignore[misc]  # an instance of another kind
    store.colours = frozenset({"sync"})  # type: ignore[misc]  # see above
    with pytest.raises(ConfigError, match="colour"):
        Migrating(store, other)


def test_what_is_no_store_is_refused() -> None:
    """Naming it, on either side."""
    with pytest.raises(ConfigError, match=r"object is no store: it has no method create\(\)"):
        Migrating(object(), MemoryStore())  # type: ignore[arg-type]  # the mistake
    with pytest.raises(ConfigError, match="dict is no store"):
        Migrating(MemoryStore(), {})  # type: ignore[arg-type]  # the mistake


def test_a_store_that_forgets_is_refused_by_its_name() -> None:
    """On either side, unless its URL says that this is accepted."""
    forgetful = "memcached://localhost"
    for stores in ((forgetful, "memory://"), ("memory://", forgetful)):
        with pytest.raises(ConfigError, match="MemcachedStore forgets"):
            Migrating(*stores)
    Migrating("memory://", f"{forgetful}?forgets=accepted")


def test_it_promises_what_both_stores_keep() -> None:
    """Colours, size and errors are those that hold for both."""
    both = Migrating("memory://", from_url("redis://localhost"))
    assert both.colours == {"sync", "async"}
    assert both.max_bytes is not None
    assert both.max_bytes < MemoryStore.max_bytes
    assert set(from_url("redis://localhost").unavailable) <= set(both.unavailable)  # type: ignore[attr-defined]  # optional


def test_a_session_that_is_too_large_for_the_new_store_stays_usable() -> None:
    """It is not sealed, so that it is changed and read in the old store."""
    old, new = MemoryStore(), MemoryStore()
    new.max_bytes = 100
    key, record = new_key(), new_record(values={"large": b"x" * 200})
    run(old.create(key, record))
    store = Migrating(old, new)
    changed = run(store.commit(key, new_change(set={"n": b"1"})))
    assert run(store.load(key)) == run(old.load(key)) == changed
    assert run(new.load(key)) is None
    run(store.commit(key, new_change(unset=frozenset({"large"}))))
    assert run(new.load(key)) is not None


def test_a_session_that_has_moved_is_only_a_mark_in_the_old_store() -> None:
    """Its values are in one place."""
    old, new = MemoryStore(), MemoryStore()
    key = new_key()
    run(old.create(key, new_record(owner="ann")))
    changed = run(Migrating(old, new).commit(key, new_change(set={"m": b"1"})))
    left = run(old.load(key))
    assert isinstance(left, Record)
    assert set(left.values) == {MARK}
    assert run(new.load(key)) == changed
    for stage in ("prepare", "move"):
        assert run(Migrating(old, new, stage=stage).of("ann")) == {key: changed}


def test_a_session_goes_back_once_the_mark_is_forgotten() -> None:
    """Until then it is held back, and used where it is."""
    first, second = MemoryStore(), MemoryStore()
    key = new_key()
    run(first.create(key, new_record()))
    run(Migrating(first, second).commit(key, new_change(set={"m": b"1"})))
    back = Migrating(second, first)
    kept = run(back.commit(key, new_change(set={"b": b"1"})))
    assert run(back.load(key)) == run(second.load(key)) == kept
    with first._lock:
        first._remove(key)
    gone = run(back.commit(key, new_change(set={"c": b"1"})))
    assert run(back.load(key)) == run(first.load(key)) == gone
    assert gone.version == kept.version + 1
    assert set(gone.values) == {"n", "m", "b", "c"}


def feed(store: Store) -> RevokedFeed:
    return RevokedFeed(Guard(store), max_view_age=1.0, horizon=5.0, clock=CLOCK)


@pytest.mark.parametrize(
    "kinds", [(MemoryStore, MemoryStore), (MemoryStore, Few), (Few, MemoryStore), (Few, Few)]
)
def test_every_ending_is_heard_of_in_neighbouring_steps(
    kinds: tuple[type[MemoryStore], type[MemoryStore]],
) -> None:
    """Whoever ends a session, every instance of the same or a neighbouring step has it in its feed."""
    old, new = kinds[0](), kinds[1]()
    steps = [
        lambda: old,
        lambda: Migrating(old, new, stage="prepare"),
        lambda: Migrating(old, new),
        lambda: new,
    ]
    heard: Counter[bool] = Counter()
    for here, there in [(0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2)]:
        for digit in "0f":
            key = digit + new_key()
            teller, hearer = feed(steps[here]()), feed(steps[there]())
            run(teller.tell(key))
            assert run(hearer.refresh(key))
            heard[key in hearer] += 1
    assert heard == {True: 16}
    assert all(key.startswith(FEED_KEY) for key in (*old._records, *new._records))


def test_sessions_sweep_both_stores() -> None:
    """Where both have to be swept; a store that lets go by itself is left to that."""
    both = Sessions(Migrating(MemoryStore(), MemoryStore()), keys=Keyring.generate())
    assert both.sync.sweep() == 0
    assert not hasattr(Migrating("memory://", from_url("redis://localhost")), "sweep")
