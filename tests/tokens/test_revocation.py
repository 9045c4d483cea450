"""Notes of ended sessions: what an instance knows, for how long, and what no race covers up."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import OrderedDict
from typing import Any

import pytest

from holdfast import StoreError
from holdfast._colour import run
from holdfast.copies.local import moment
from holdfast.record import Record
from holdfast.stores import from_url
from holdfast.stores.guard import Guard
from holdfast.testing import FakeClock
from holdfast.tokens import revocation
from holdfast.tokens.revocation import Ending, Revocations
from recording import RecordingStore

DAY = 86_400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_800_000_000.0)


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore()


def instance(store: Any, clock: FakeClock, **settings: float) -> Revocations:
    return Revocations(
        Guard(store), **{"within": 5.0, "longest_life": DAY, "skew": 10.0, **settings}, clock=clock
    )


class TestNotes:
    """What is noted on one instance is known on the others, once they ask."""

    def test_an_ended_session(self, store: RecordingStore, clock: FakeClock) -> None:
        """It alone is over, and since when is said."""
        one, other = instance(store, clock), instance(store, clock)
        run(one.end("a" * 64))
        assert run(other.ask("a" * 64, "ann", clock.now)) == Ending(clock.now)
        assert run(other.ask("b" * 64, "ann", clock.now)) is None

    def test_a_session_that_goes_on(self, store: RecordingStore, clock: FakeClock) -> None:
        """A new identity is no logout."""
        run(instance(store, clock).end("a" * 64, moves=True))
        assert run(instance(store, clock).ask("a" * 64, None, 0.0)) == Ending(clock.now, goes_on=True)

    def test_a_signed_out_user(self, store: RecordingStore, clock: FakeClock) -> None:
        """What began before is over, what begins afterwards counts, and others are not concerned."""
        one, other = instance(store, clock, skew=0.0), instance(store, clock)
        run(one.end_all("ann"))
        assert run(other.ask("a" * 64, "ann", clock.now)) == Ending(clock.now)
        assert run(other.ask("a" * 64, "ann", clock.now + 0.001)) is None
        assert run(other.ask("a" * 64, "bob", clock.now)) is None
        assert run(other.ask("a" * 64, None, clock.now)) is None

    def test_clocks_that_differ(self, store: RecordingStore, clock: FakeClock) -> None:
        """A session that began on an instance whose clock is ahead is signed out too, and a later one counts."""
        one = instance(store, clock)
        run(one.end_all("ann"))
        assert run(one.ask("a" * 64, "ann", clock.now + 9)) is not None
        began = run(instance(store, clock).begins("ann", clock.now))
        assert clock.now < began <= clock.now + 10.01
        assert run(one.ask("b" * 64, "ann", began)) is None

    def test_a_clock_that_is_behind_takes_nothing_back(self, store: RecordingStore, clock: FakeClock) -> None:
        """Signed out a second time, by an instance that believes it is earlier."""
        run(instance(store, clock).end_all("ann"))
        behind = FakeClock(clock.now - 60)
        run(instance(store, behind).end_all("ann"))
        assert run(instance(store, clock).ask("a" * 64, "ann", clock.now)) is not None

    def test_a_note_outlives_every_token(self, store: RecordingStore, clock: FakeClock) -> None:
        """It expires when the last token that it could be about has, and not before; then it can be swept."""
        one = instance(store, clock)
        run(one.end("a" * 64))
        run(one.end_all("ann"))
        assert {record.expires_at for record in store._records.values()} == {clock.now + DAY + 60}
        assert run(store.sweep(clock.now + DAY)) == 0
        assert run(store.sweep(clock.now + DAY + 61)) == 2

    def test_a_note_is_made_now(self, store: RecordingStore, clock: FakeClock) -> None:
        """A store that tidies up by the times of what it is given must not take a note for news from the future."""
        run(store.create("f" * 64, Record(1, b"12345678", {}, None, clock.now, clock.now + 60)))
        for number in range(10):
            run(instance(store, clock).end(f"{number:064}"))
        assert run(store.load("f" * 64)) is not None
        assert {record.created_at for record in store._records.values()} == {clock.now}


@pytest.fixture(params=["memory", "sqlite", "redis", "memcached"])
def any_store(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    """Each store that there is."""
    if request.param == "memory":
        return RecordingStore()
    if request.param == "sqlite":
        return from_url(f"sqlite:///{tmp_path}/notes.db")
    url = request.getfixturevalue(f"{request.param}_url")
    return from_url(url + ("?forgets=accepted" if request.param == "memcached" else ""))


def test_every_store_keeps_notes(any_store: Any) -> None:
    """By its own clock too: endings and sign-outs are there for another instance."""
    import os
    import time

    clock = FakeClock(time.time())
    owner, handle, moved = (os.urandom(32).hex() for _ in range(3))
    one, other = instance(any_store, clock), instance(any_store, clock)
    run(one.end(handle))
    run(one.end(moved, moves=True))
    run(one.end_all(owner))
    assert run(other.ask(handle, None, clock.now)).goes_on is False
    assert run(other.ask(moved, None, clock.now)).goes_on is True
    assert run(other.ask("0" * 64, owner, clock.now + 9.9)) is not None
    assert run(other.ask("0" * 64, owner, clock.now + 10.1)) is None
    assert run(other.begins(owner, clock.now)) > clock.now + 10


class TestBound:
    """An answer counts for the stated time, by both clocks, and what is over stays over."""

    def test_an_answer_counts_for_so_long(self, store: RecordingStore, clock: FakeClock) -> None:
        """For five seconds nothing is asked; then it is, by one command for the session and one for its user."""
        one, other = instance(store, clock), instance(store, clock)
        assert one.at_hand("a" * 64, "ann", clock.now).is_due
        assert run(one.ask("a" * 64, "ann", clock.now)) is None
        assert store.taken() == ["load", "load"]
        run(other.end("a" * 64))
        store.taken()
        clock.advance(5)
        assert one.at_hand("a" * 64, "ann", clock.now) == (None, False)
        assert run(one.ask("a" * 64, "ann", clock.now)) is None
        assert store.taken() == []
        clock.advance(0.1)
        assert one.at_hand("a" * 64, "ann", clock.now).is_due
        assert run(one.ask("a" * 64, "ann", clock.now)) is not None

    def test_a_clock_that_goes_back(self, store: RecordingStore, clock: FakeClock) -> None:
        """Answers from the future are none."""
        one = instance(store, clock)
        run(one.ask("a" * 64, None, clock.now))
        clock.advance(-1)
        assert one.at_hand("a" * 64, None, clock.now).is_due

    def test_a_frozen_instance(
        self, store: RecordingStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One whose wall clock stood still while time went on asks again."""
        one = instance(store, clock)
        run(one.ask("a" * 64, None, clock.now))
        later = moment(clock).steady + 5.1
        monkeypatch.setattr("holdfast.copies.local.monotonic", lambda: later)
        assert one.at_hand("a" * 64, None, clock.now).is_due

    def test_at_once_where_it_was_done(self, store: RecordingStore, clock: FakeClock) -> None:
        """The instance that ends a session needs no store to refuse it."""
        one = instance(store, clock)
        run(one.ask("a" * 64, "ann", clock.now))
        run(one.end("a" * 64))
        run(one.end_all("bob"))
        store.failure = ConnectionError()
        assert one.at_hand("a" * 64, "ann", clock.now).ending is not None
        assert one.at_hand("b" * 64, "bob", clock.now).ending is not None

    def test_what_is_over_stays_over(self, store: RecordingStore, clock: FakeClock) -> None:
        """Known once, it is not asked again, and an outage does not make it uncertain."""
        one = instance(store, clock)
        run(instance(store, clock).end("a" * 64))
        run(one.ask("a" * 64, None, clock.now))
        store.failure = ConnectionError()
        clock.advance(3_600)
        assert one.at_hand("a" * 64, None, clock.now) == (Ending(clock.now - 3_600), False)

    def test_an_outage_is_no_permission(self, store: RecordingStore, clock: FakeClock) -> None:
        """Once the answer is too old, and no other is to be had, nobody says that the session is good."""
        one = instance(store, clock)
        run(one.ask("a" * 64, None, clock.now))
        store.failure = ConnectionError()
        clock.advance(5)
        assert run(one.ask("a" * 64, None, clock.now)) is None
        clock.advance(1)
        with pytest.raises(StoreError):
            run(one.ask("a" * 64, None, clock.now))

    def test_an_ending_that_was_not_noted_is_not_remembered(
        self, store: RecordingStore, clock: FakeClock
    ) -> None:
        """Otherwise a repeated logout would find nothing left to do here, while others serve the session on."""
        one = instance(store, clock)
        store.failure = ConnectionError()
        with pytest.raises(StoreError):
            run(one.end("a" * 64))
        store.failure = None
        assert run(one.ask("a" * 64, None, clock.now)) is None


class TestRaces:
    """A slow answer from before an ending covers nothing up."""

    @pytest.mark.parametrize("what", ["session", "owner"])
    async def test_an_ending_while_the_store_is_asked(
        self, store: RecordingStore, clock: FakeClock, what: str
    ) -> None:
        """The answer was true when it was given; the instance has ended the session since, and knows it."""
        asked, go_on = asyncio.Event(), asyncio.Event()

        class Slow(RecordingStore):
            async def load(self, key: str, *, weak: bool = False) -> Record | None:
                found = await super().load(key)
                asked.set()
                await go_on.wait()
                return found

        slow = Slow()
        one = instance(slow, clock, skew=0.0)
        asking = asyncio.create_task(one.ask("a" * 64, "ann", clock.now))
        await asked.wait()
        if what == "session":
            await one.end("a" * 64)
        else:
            go_on.set()
            await one.end_all("ann")
        go_on.set()
        await asking
        assert one.at_hand("a" * 64, "ann", clock.now).ending is not None

    def test_threads(self, store: RecordingStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        """Many at once, over a memory that is always full: no error, and no ending is forgotten on the way."""
        monkeypatch.setattr(revocation, "_KEPT", 4)
        one = instance(store, clock)
        run(one.end("e" * 64))
        failures: list[BaseException] = []

        def work(seed: int) -> None:
            try:
                for number in range(400):
                    assert run(one.ask(f"{(seed + number) % 9:064}", "ann", clock.now)) is None
                    assert run(one.ask("e" * 64, None, clock.now)) is not None
            except BaseException as error:
                failures.append(error)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        assert failures == []


def test_an_entry_that_another_thread_throws_out() -> None:
    """Between any two steps of remembering it: nobody finds a hole."""

    class Contested(OrderedDict[str, int]):
        def __setitem__(self, name: str, what: int) -> None:
            super().__setitem__(name, what)
            self.pop(name)

    memory = Contested()
    revocation._remember(memory, "a", 1)
    assert memory == {}


def test_memory_is_bounded(store: RecordingStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance remembers so many answers, those that were asked last; the rest it asks for again."""
    monkeypatch.setattr(revocation, "_KEPT", 50)
    one = instance(store, clock)
    for number in range(200):
        run(one.ask(f"{number:064}", None, clock.now))
        run(one.end(f"{number:063}x"))
    assert len(one._asked) == len(one._notes) == 50
    assert one.at_hand(f"{0:064}", None, clock.now).is_due
    assert not one.at_hand(f"{199:064}", None, clock.now).is_due
    assert run(one.ask(f"{0:063}x", None, clock.now)) is not None
