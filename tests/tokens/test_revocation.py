"""Notes of ended sessions: what an instance knows, for how long, and what no race covers up."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import tracemalloc
from collections import OrderedDict
from typing import Any

import pytest

from holdfast import SessionGone, StoreError
from holdfast._colour import run
from holdfast.copies.local import moment
from holdfast.record import Record
from holdfast.stores import from_url
from holdfast.stores.guard import Guard
from holdfast.testing import FakeClock
from holdfast.tokens import answers
from holdfast.tokens.answers import Ending
from holdfast.tokens.revocation import Revocations
from recording import RecordingStore

DAY = 86_400.0
BYTES_PER_NAME = 300


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_800_000_000.0)


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore()


def instance(store: Any, clock: FakeClock, tokens: str = "app", **settings: float) -> Revocations:
    return Revocations(
        Guard(store),
        tokens=tokens,
        **{"within": 5.0, "longest_life": DAY, "skew": 10.0, **settings},
        clock=clock,
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
        run(instance(store, clock).move("a" * 64))
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

    def test_a_longer_note_is_not_cut_short(self, store: RecordingStore, clock: FakeClock) -> None:
        """By an instance whose tokens live shorter: those of the other are out there still."""
        long, short = instance(store, clock, longest_life=90 * DAY), instance(store, clock)
        run(long.end_all("ann"))
        began = clock.now
        clock.advance(60)
        run(short.end_all("ann"))
        clock.advance(2 * DAY)
        run(store.sweep(clock.now))
        assert run(instance(store, clock).ask("a" * 64, "ann", began)) is not None

    def test_notes_of_other_tokens(self, store: RecordingStore, clock: FakeClock) -> None:
        """In the same store, the same user and the same handle under another purpose are somebody else's."""
        run(instance(store, clock, "web").end_all("ann"))
        run(instance(store, clock, "web").end("a" * 64))
        assert run(instance(store, clock, "mobile").ask("a" * 64, "ann", clock.now)) is None
        assert run(instance(store, clock, "mobile").begins("ann", clock.now)) == clock.now
        assert len(store._records) == 2

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
    run(one.move(moved))
    for over in (handle, moved):
        with pytest.raises(SessionGone):
            run(other.move(over))
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
        monkeypatch.setattr(answers, "_MOST_NAMES", 4)
        monkeypatch.setattr(answers, "_MOST_NOTES", 4)
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

    class Contested(OrderedDict[bytes, answers.Note]):
        def __setitem__(self, name: bytes, note: answers.Note) -> None:
            super().__setitem__(name, note)
            self.pop(name)

    memory = Contested()
    answers._remember(memory, b"a", answers.Note(1.0, Ending(1.0)), 1)
    assert memory == {}


def test_an_older_note_does_not_take_the_place_of_a_newer_one() -> None:
    """The slow answer of a question from before a user was signed out once more."""
    memory: OrderedDict[bytes, answers.Note] = OrderedDict()
    for before in (2.0, 1.0):
        answers._remember(memory, b"a", answers.Note(before, Ending(before)), 10)
    assert memory[b"a"].before == 2.0


class TestMemory:
    """What an instance remembers is bounded, and what it forgets it asks for again."""

    def test_names(self, store: RecordingStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        """The last ones that were asked about; at least half of the most are always there."""
        monkeypatch.setattr(answers, "_MOST_NAMES", 100)
        one = instance(store, clock)
        for number in range(220):
            run(one.ask(f"{number:064}", None, clock.now))
        assert 50 <= len(one._answers) <= 100
        assert one.at_hand(f"{0:064}", None, clock.now).is_due
        assert not any(one.at_hand(f"{number:064}", None, clock.now).is_due for number in range(170, 220))

    def test_a_note_that_is_forgotten(
        self, store: RecordingStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While its answer counts it counts, and then it is asked for again: never taken for the absence of one."""
        monkeypatch.setattr(answers, "_MOST_NOTES", 5)
        one = instance(store, clock)
        for number in range(20):
            run(one.end(f"{number:064}"))
        assert len(one._answers._notes) == 5
        for number in range(20):
            assert one.at_hand(f"{number:064}", None, clock.now).ending is not None
        for number in range(2):
            clock.advance(6)
            run(one.ask(f"{number:063}x", None, clock.now))
        assert one.at_hand(f"{0:064}", None, clock.now) == (None, True)
        assert run(one.ask(f"{0:064}", None, clock.now)) is not None

    def test_what_is_too_old_takes_no_room(self, store: RecordingStore, clock: FakeClock) -> None:
        """Twice the time for which answers count, and they are gone."""
        one = instance(store, clock)
        for number in range(300):
            run(one.ask(f"{number:064}", None, clock.now))
            clock.advance(0.5)
        assert len(one._answers) <= 21

    def test_six_thousand_users(self, store: RecordingStore, clock: FakeClock) -> None:
        """Within ten minutes each of them is asked about once, however many there are."""
        one = instance(store, clock, within=600.0)
        for _ in range(2):
            for number in range(6_000):
                run(one.ask(f"{number:064}", f"user-{number}", clock.now))
        assert len(store.taken()) == 12_000

    def test_its_bytes(self, store: RecordingStore, clock: FakeClock) -> None:
        """As docs/tokens.md states them."""
        one = instance(store, clock, within=600.0)
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(40_000):
                clock.now += 0.001
                name = number.to_bytes(32, "big")[::-1]
                one._answers.put(name, moment(clock), None)
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert taken / 40_000 <= BYTES_PER_NAME


class TestOneQuestion:
    """However many requests come at once, a name is asked about once."""

    async def test_twenty_requests(self, clock: FakeClock) -> None:
        """On one event loop: one command for the session, one for its user."""
        store = Slow()
        one = instance(store, clock)
        asking = [asyncio.create_task(one.ask("a" * 64, "ann", clock.now)) for _ in range(20)]
        await store.asked.wait()
        store.go_on.set()
        assert await asyncio.gather(*asking) == [None] * 20
        assert store.taken() == ["load", "load"]
        assert one._questions._asked == {}

    async def test_all_hear_of_an_ending(self, clock: FakeClock) -> None:
        """Whoever has waited is refused as whoever has asked."""
        store = Slow()
        run(instance(store, clock).end("a" * 64))
        one = instance(store, clock)
        asking = [asyncio.create_task(one.ask("a" * 64, None, clock.now)) for _ in range(5)]
        await store.asked.wait()
        store.go_on.set()
        assert await asyncio.gather(*asking) == [Ending(clock.now)] * 5

    async def test_all_hear_of_a_failure(self, clock: FakeClock) -> None:
        """503 for each of them, after one question; and then it can be asked again."""
        store = Slow()
        one = instance(store, clock)
        asking = [asyncio.create_task(one.ask("a" * 64, None, clock.now)) for _ in range(5)]
        await store.asked.wait()
        store.fails = True
        store.go_on.set()
        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(outcome, StoreError)
        assert store.taken() == ["load"]
        store.fails = False
        assert await one.ask("a" * 64, None, clock.now) is None

    async def test_one_who_goes_away(self, clock: FakeClock) -> None:
        """A visitor who hangs up takes nobody else along: whoever has waited asks."""
        store = Slow()
        one = instance(store, clock)
        first = asyncio.create_task(one.ask("a" * 64, None, clock.now))
        await store.asked.wait()
        other = asyncio.create_task(one.ask("a" * 64, None, clock.now))
        await asyncio.sleep(0)
        first.cancel()
        store.go_on.set()
        assert await other is None
        assert first.cancelled()
        assert one._questions._asked == {}

    async def test_an_answer_that_has_become_too_old(self, clock: FakeClock) -> None:
        """Whoever has waited for longer than answers count asks anew."""
        store = Slow()
        one = instance(store, clock)
        first = asyncio.create_task(one.ask("a" * 64, None, clock.now))
        await store.asked.wait()
        other = asyncio.create_task(one.ask("a" * 64, None, clock.now))
        await asyncio.sleep(0)
        clock.advance(6)
        run(instance(store, clock).end("a" * 64))
        store.go_on.set()
        await first
        assert await other is not None

    async def test_a_sign_in_asks_for_itself(self, clock: FakeClock) -> None:
        """What was asked before it began says nothing about who was signed out since."""
        store = Slow()
        one = instance(store, clock)
        store.go_on.set()
        await one.ask("a" * 64, None, clock.now)
        store.go_on.clear()
        asking = asyncio.create_task(one.ask("a" * 64, "ann", clock.now))
        beginning = asyncio.create_task(one.begins("ann", clock.now))
        for _ in range(5):
            await asyncio.sleep(0)
        assert store.taken() == ["load"] * 3
        store.go_on.set()
        assert await asyncio.gather(asking, beginning) == [None, clock.now]

    def test_threads_of_sync_callers(self, clock: FakeClock) -> None:
        """Over a blocking client: the others wait for the one that has asked."""
        begun, go_on = threading.Event(), threading.Event()

        class Blocking(RecordingStore):
            async def load(self, key: str, *, weak: bool = False) -> Record | None:
                begun.set()
                assert go_on.wait(60)
                return await super().load(key)

        store = Blocking()
        one = instance(store, clock)
        found: list[Ending | None] = []
        threads = [
            threading.Thread(target=lambda: found.append(run(one.ask("a" * 64, None, clock.now))))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        assert begun.wait(60)
        go_on.set()
        for thread in threads:
            thread.join()
        assert found == [None] * 8
        assert store.taken() == ["load"]


class TestAnew:
    """What must be known now is asked now."""

    def test_remembered_answers_do_not_count(self, store: RecordingStore, clock: FakeClock) -> None:
        """Signed out on another instance a moment ago: a strong question hears of it, another one need not."""
        one = instance(store, clock)
        assert run(one.ask("a" * 64, "ann", clock.now)) is None
        run(instance(store, clock).end_all("ann"))
        assert run(one.ask("a" * 64, "ann", clock.now)) is None
        assert run(one.ask("a" * 64, "ann", clock.now, anew=True)) is not None


class Slow(RecordingStore):
    """A store that answers once it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()
        self.fails = False

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        found = await super().load(key)
        self.asked.set()
        await self.go_on.wait()
        if self.fails:
            raise ConnectionError
        return found
