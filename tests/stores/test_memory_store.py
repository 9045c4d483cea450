"""The store in memory: what it does beyond the law for stores."""

from __future__ import annotations

import pytest
from records import new_change, new_key, new_record

from holdfast._colour import run
from holdfast.errors import ConfigError
from holdfast.stores import from_url
from holdfast.stores.memory import MemoryStore
from holdfast.testing import FakeClock


def test_expired_records_are_forgotten_without_being_asked() -> None:
    """Sessions that nobody comes back to do not pile up, and the clock is the one that the records tell of."""
    store, clock = MemoryStore(), FakeClock()
    keys = [new_key() for _ in range(1000)]
    for key in keys:
        clock.advance(1)
        run(store.create(key, new_record(created_at=clock.now, expires_at=clock.now + 30, owner="ann")))
    left = [key for key in keys if run(store.load(key)) is not None]
    assert left == keys[-91:]  # 30 seconds of life and 60 of margin
    assert set(run(store.of("ann"))) == set(left)


def test_a_session_that_is_used_is_not_forgotten() -> None:
    """A record whose expiry moves on stays, however old it is."""
    store, clock, key = MemoryStore(), FakeClock(), new_key()
    run(store.create(key, new_record(created_at=clock.now, expires_at=clock.now + 30)))
    for _ in range(100):
        clock.advance(20)
        run(store.commit(key, new_change(now=clock.now, expires_at=clock.now + 30)))
        run(store.create(new_key(), new_record(created_at=clock.now, expires_at=clock.now + 1)))
    record = run(store.load(key))
    assert record is not None
    assert record.version == 101


def test_a_tombstone_stays_for_its_time() -> None:
    """A tombstone is there until it expires and a while longer, and then goes like everything else."""
    store, clock, key = MemoryStore(), FakeClock(), new_key()
    run(store.end(key, new_record(created_at=clock.now, expires_at=clock.now + 100, ended=True)))
    for seconds, is_there in ((159, True), (2, False)):
        clock.advance(seconds)
        run(store.create(new_key(), new_record(created_at=clock.now, expires_at=clock.now + 1)))
        assert (run(store.load(key)) is not None) is is_there


def test_a_sweep_leaves_the_rest_to_be_forgotten_as_before() -> None:
    """After a sweep the remaining records still go by themselves."""
    store, clock = MemoryStore(), FakeClock()
    keys = [new_key() for _ in range(10)]
    for number, key in enumerate(keys):
        run(store.create(key, new_record(created_at=clock.now, expires_at=clock.now + number)))
    assert run(store.sweep(clock.now + 5)) == 5
    clock.advance(100)
    for _ in range(5):
        run(store.create(new_key(), new_record(created_at=clock.now, expires_at=clock.now + 1)))
    assert [run(store.load(key)) for key in keys] == [None] * 10


@pytest.mark.parametrize("url", ["memory://host", "memory:///path", "memory://?a=b"])
def test_a_url_that_says_too_much_is_refused(url: str) -> None:
    """What the store would ignore is an error at construction."""
    with pytest.raises(ConfigError, match="memory://"):
        from_url(url)


def test_copies_go_away_by_themselves() -> None:
    """Copies whose life is over are not kept, however many sessions come and go."""
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    for number in range(1000):
        run(store.claim_copy(f"{number}", b"claim", 1.0))
        run(store.fill_copy(f"{number}", b"claim", 1, b"copy", 9.5))
        clock.advance(1.0)
    assert len(store._places) == 10
    assert run(store.get_copy("999")) == b"copy"
    clock.advance(8.5)
    assert run(store.get_copy("999")) is None
