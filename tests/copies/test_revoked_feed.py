"""The feed of ended sessions, also where the store takes few changes of one record: then it is several."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast import Change, Record, Sessions, StoreThrottled
from holdfast import _colour as colour
from holdfast.copies.local import moment
from holdfast.copies.revoked import FEED_KEY, RevokedFeed
from holdfast.stores.guard import Guard
from holdfast.stores.memory import MemoryStore
from holdfast.testing import FakeClock, Lagging
from recording import RecordingStore
from visitor import KEYS, Fleet

EVERY_RECORD = {f"{FEED_KEY}-{digit}" for digit in "0123456789abcdef"}


class SlowToWrite(RecordingStore):
    """Takes few changes of one record, and notes which records are read and changed."""

    writes_per_second = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.changed: Counter[str] = Counter()
        self.read: Counter[str] = Counter()

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        self.read[key] += 1
        return await super().load(key, weak=weak)

    async def commit(self, key: str, change: Change) -> Record:
        self.changed[key] += 1
        return await super().commit(key, change)


class SlowFleet(Fleet):
    """Instances over a store that takes few changes of one record."""

    def __init__(self, instances: int = 2) -> None:
        super().__init__(instances)
        self.store: SlowToWrite = SlowToWrite()
        self.instances = [
            Sessions(self.store, keys=KEYS, clock=self.clock, copy_age="5s") for _ in range(instances)
        ]


def feed_of(store: RecordingStore, clock: FakeClock) -> RevokedFeed:
    return RevokedFeed(Guard(store), max_view_age=1.0, horizon=5.0, clock=clock)


def key_with(digit: str) -> str:
    return digit + os.urandom(32).hex()[1:]


@pytest.mark.parametrize("how", ["logout", "revocation", "login"])
def test_an_ending_arrives_within_a_second_wherever_its_record_is(how: str) -> None:
    """On every instance, for sessions of every one of the feed's records."""
    fleet = SlowFleet()
    for _ in range(500):
        if set(fleet.store.changed) >= EVERY_RECORD:
            return
        visitor = fleet.visitor()
        visitor.put(n=1)
        visitor.settle()
        visitor.see(0)
        thief = fleet.visitor()
        thief.cookies = dict(visitor.cookies)
        assert thief.home(0) == "local"
        session = visitor.begin(1)
        if how == "revocation":
            fleet.instances[1].sync.end(str(session.handle))
        else:
            session.logout() if how == "logout" else session.login("ann")
            visitor.finish(session, 1)
        fleet.clock.advance(1.01)
        assert thief.see(0) == {}
        assert "revoked" in str(fleet.instances[0].explain(thief.begin(0)))
    pytest.fail("500 sessions did not meet all of the feed's records")


def test_endings_at_the_same_time_spread_over_the_records() -> None:
    """400 from eight threads: no record takes much more than its sixteenth, and each ending is found by others."""
    store, clock = SlowToWrite(), FakeClock(1_800_000_000.0)
    keys = [os.urandom(32).hex() for _ in range(400)]
    feeds = [feed_of(store, clock) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        told = [pool.submit(colour.run, feeds[n % 8].tell(key)) for n, key in enumerate(keys)]
        for one in told:
            one.result()
    endings = {name: len(store._records[name].values) for name in EVERY_RECORD}
    assert sum(endings.values()) == len(keys)
    assert max(endings.values()) <= 60  # 25 each; more than 60 in one of 16 happens in none of a billion runs
    elsewhere = feed_of(store, clock)
    for key in keys:
        assert colour.run(elsewhere.refresh(key))
        assert key in elsewhere
        assert not elsewhere.clears(key, moment(clock))


def test_a_request_reads_only_the_record_of_its_own_session() -> None:
    """So an instance with little to do reads no more than one record for a request, and none twice within a second."""
    fleet = SlowFleet()
    visitor = fleet.visitor()
    visitor.put(n=1)
    visitor.settle()
    visitor.see(0)
    fleet.store.read.clear()
    for _ in range(10):
        assert visitor.home(0) == "local"
        fleet.clock.advance(0.05)
    own = f"{FEED_KEY}-{str(visitor.begin(0).handle)[0]}"
    assert fleet.store.read == {own: 1}


def test_a_view_of_one_record_says_nothing_about_the_others() -> None:
    """Sessions whose endings would stand in a record that was not read lately are not cleared by it."""
    store, clock = SlowToWrite(), FakeClock(1_800_000_000.0)
    feed = feed_of(store, clock)
    assert colour.run(feed.refresh(key_with("0")))
    assert feed.clears(key_with("0"), moment(clock))
    assert not feed.clears(key_with("f"), moment(clock))


def test_a_store_that_takes_many_changes_has_a_feed_of_one_record() -> None:
    """Under the name that earlier releases know."""
    store, clock = RecordingStore(), FakeClock(1_800_000_000.0)
    feed = feed_of(store, clock)
    for digit in "0af":
        colour.run(feed.tell(key_with(digit)))
    assert set(store._records) == {FEED_KEY}
    assert len(store._records[FEED_KEY].values) == 3
    assert colour.run(feed.refresh(key_with("0")))
    assert feed.clears(key_with("f"), moment(clock))


@pytest.mark.parametrize("digit", "09af")
def test_no_name_of_the_feed_is_that_of_a_session(digit: str) -> None:
    """No handle names it, so nobody can end it."""
    fleet = SlowFleet()
    assert fleet.instances[0].sync.end(f"{FEED_KEY}-{digit}") is False
    assert fleet.store.commands == []


def test_a_view_lasts_a_second_by_both_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the wall clock stands still, or goes back."""
    store, clock = SlowToWrite(), FakeClock(1_800_000_000.0)
    feed, key = feed_of(store, clock), key_with("7")
    assert colour.run(feed.refresh(key))
    now = moment(clock)
    assert feed.clears(key, now._replace(wall=now.wall + 1.0))
    assert not feed.clears(key, now._replace(wall=now.wall + 1.01))
    assert not feed.clears(key, now._replace(wall=now.wall - 0.01))
    assert not feed.clears(key, now._replace(steady=now.steady + 1.5))


def test_a_store_that_is_asked_too_much_refuses_the_ending() -> None:
    """The logout is answered with an error, not with a promise that copies elsewhere would break."""
    store, clock = SlowToWrite(), FakeClock(1_800_000_000.0)
    feed = feed_of(store, clock)
    store.failure = StoreThrottled("slow down")
    with pytest.raises(StoreThrottled):
        colour.run(feed.tell(key_with("3")))


def test_a_replica_that_is_behind_by_a_minute_shows_no_ended_session() -> None:
    """Other sessions that end meanwhile do not let this one be forgotten: whoever has copied a cookie sees nothing."""
    fleet = Fleet(1)
    store = Lagging(MemoryStore(), lag=59.0, clock=fleet.clock)
    fleet.instances = [
        Sessions(store, keys=KEYS, clock=fleet.clock, weak=True, local=None, copy_age="1s") for _ in range(2)
    ]
    visitor, thief, other = (fleet.visitor() for _ in range(3))
    visitor.put(n=1)
    fleet.clock.advance(60)
    assert visitor.home(0) == "weak"
    copied = {name: value for name, (value, _) in visitor.cookies.items() if not name.endswith("-pin")}
    thief.cookies = {name: (value, fleet.clock() + 900) for name, value in copied.items()}
    visitor.do(lambda session: session.logout())
    for instance in (0, 1) * 29:
        fleet.clock.advance(1)
        assert thief.see(instance) == {}
        other.put(n=1)
        other.do(lambda session: session.logout(), 1)
