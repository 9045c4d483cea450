"""A copy is served only if it is provably new enough for the browser that asks (design §7 and §8)."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import ConfigError, SessionGone, SessionRegression, Sessions, StoreUnavailable
from holdfast.copies.local import moment
from holdfast.stores.memory import MemoryStore
from visitor import Fleet, Visitor

FLOOR, PIN = "__Host-session-floor", "__Host-session-pin"


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def visitor(fleet: Fleet) -> Visitor:
    """A browser with a session of which instance 0 has a copy, and whose pin has gone."""
    visitor = fleet.visitor()
    visitor.put(n=1)
    visitor.settle()
    visitor.see(0)
    fleet.store.taken()
    fleet.kinds()
    return visitor


class TestLocalCopies:
    """The instance's own copies."""

    def test_a_read_from_a_local_copy_costs_nothing(self, fleet: Fleet, visitor: Visitor) -> None:
        """No store command, but the feed once in a while."""
        assert visitor.see(0) == {"n": 1}
        fleet.store.taken()
        for _ in range(10):
            assert visitor.see(0) == {"n": 1}
        assert fleet.store.taken() == []

    def test_a_write_with_a_warm_copy_is_one_command(self, fleet: Fleet, visitor: Visitor) -> None:
        """The change is based on what the copy says; the store judges it."""
        visitor.see(0)
        fleet.store.taken()
        visitor.put(0, m=2)
        assert fleet.store.taken() == ["commit"]
        assert visitor.see(1) == {"n": 1, "m": 2}

    def test_a_copy_on_another_instance_is_not_served_below_the_floor(
        self, fleet: Fleet, visitor: Visitor
    ) -> None:
        """After the pin has gone, the floor alone decides: at or above it, or not."""
        fleet.instances[0].sync.load(session := fleet.instances[0].open(visitor.header()))
        visitor.see(0)
        visitor.put(1, n=2)
        pinned = visitor.begin(0)
        assert pinned["n"] == 2
        del visitor.cookies[PIN]
        fleet.instances[0]._homes.local.put(session._key, session._record, moment(fleet.clock))  # type: ignore[union-attr, arg-type]
        assert visitor.see(0) == {"n": 2}

    def test_while_pinned_reads_are_strong(self, fleet: Fleet, visitor: Visitor) -> None:
        """By the cookie, whatever its value."""
        visitor.cookies[PIN] = ("anything", fleet.clock() + 3)
        for _ in range(2):
            assert visitor.home(0) == "store"

    @pytest.mark.parametrize("floor", [None, "", "x", "A" * 92, "é"])
    def test_a_missing_or_forged_floor_is_read_strongly_never_zero(
        self, fleet: Fleet, visitor: Visitor, floor: str | None
    ) -> None:
        """And the browser gets a new one."""
        visitor.see(0)
        if floor is None:
            del visitor.cookies[FLOOR]
        else:
            visitor.cookies[FLOOR] = (floor, fleet.clock() + 100)
        session = visitor.begin(0)
        assert session["n"] == 1
        assert fleet.instances[0].explain(session).home == "store"
        assert set(visitor.finish(session)) == {FLOOR, PIN}

    def test_a_floor_of_another_browser_counts_as_none(self, fleet: Fleet, visitor: Visitor) -> None:
        """It is bound to the identity."""
        other = fleet.visitor()
        other.put(n=9)
        visitor.see(0)
        visitor.cookies[FLOOR] = other.cookies[FLOOR]
        assert visitor.home(0) == "store"

    def test_a_copy_that_is_too_old_is_not_served(self, fleet: Fleet, visitor: Visitor) -> None:
        """At most `copy_age`."""
        visitor.see(0)
        fleet.clock.advance(4)
        assert visitor.home(0) == "local"
        fleet.clock.advance(1.1)
        assert visitor.home(0) == "store"

    def test_a_young_copy_of_a_session_that_has_expired_is_not_served(self) -> None:
        """Nor does it decide that the session is over: the store is asked."""
        fleet = Fleet(idle="10s", absolute="10s")
        visitor = fleet.visitor()
        visitor.put(n=1)
        visitor.settle()
        visitor.see(0)
        fleet.clock.advance(3.0)
        assert visitor.home(0) == "local"
        sessions, cookies = fleet.instances[0], visitor.header()
        fleet.clock.advance(0.5)
        sessions.sync.load(session := sessions.open(cookies))
        assert dict(session) == {}
        assert sessions.explain(session).home == "store"

    def test_a_copy_of_another_state_of_the_same_version_is_not_served(self) -> None:
        """The store has gone back and on again: by its tag it is not what this browser has seen."""
        fleet = Fleet()
        visitor, other, third = fleet.visitor(), fleet.visitor(), fleet.visitor()
        third.put(1, n=0)
        visitor.put(0, n=1)
        backup = dict(fleet.store._records)
        visitor.put(0, n=2)
        fleet.store._records = backup
        other.cookies = {"__Host-session": visitor.cookies["__Host-session"]}
        other.put(1, n=3)
        visitor.settle()
        other.see(1)
        third.see(1)
        third.see(1)  # the view of the feed is fresh
        assert other.home(1) == "local"
        assert visitor.home(1) == "store"

    def test_a_clock_that_went_backwards_makes_copies_unusable(self, fleet: Fleet, visitor: Visitor) -> None:
        """Nobody knows their age any more."""
        visitor.see(0)
        fleet.clock.advance(-1)
        assert visitor.home(0) == "store"

    def test_a_frozen_instance_does_not_take_old_copies_for_young(
        self, fleet: Fleet, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The monotonic clock went on although the wall clock was set back to where it was."""
        from holdfast.copies import local

        visitor.see(0)
        before = local.monotonic()
        monkeypatch.setattr(local, "monotonic", lambda: before + 60)
        assert visitor.home(0) == "store"

    def test_two_floors_that_land_in_the_wrong_order(self, fleet: Fleet, visitor: Visitor) -> None:
        """The four-request counter-example: two overlapping writes, a copy in between; the pin is what saves it."""
        one, two = visitor.begin(0), visitor.begin(1)
        one["a"] = 1
        fleet.instances[0].sync.commit(one)  # instance 0 has a copy of this version
        two["a"] = 2
        fleet.instances[1].sync.commit(two)
        visitor.receive(two)
        visitor.receive(one)  # late: the floor goes back, the pin does not
        assert visitor.see(0)["a"] == 2
        fleet.clock.advance(5.9)
        assert visitor.see(0)["a"] == 2

    def test_the_pin_outlives_copies(self, fleet: Fleet, visitor: Visitor) -> None:
        """For as long as a copy that is older than the write may be served, and a margin."""
        visitor.put(0, n=2)
        assert visitor.cookies[PIN][1] - fleet.clock() > 5
        assert visitor.cookies[PIN][0] == "1"

    def test_a_read_that_saw_something_new_raises_the_floor(self, fleet: Fleet, visitor: Visitor) -> None:
        """Another device has written; from now on this browser must not see less."""
        other = fleet.visitor()
        other.cookies = dict(visitor.cookies)
        other.put(1, n=2)
        fleet.clock.advance(5.1)
        session = visitor.begin(1)
        assert session["n"] == 2
        assert set(visitor.finish(session, 1)) == {FLOOR, PIN}
        session = visitor.begin(1)
        assert session["n"] == 2
        assert visitor.finish(session, 1) == []

    def test_nothing_is_said_about_a_session_that_was_not_looked_at(
        self, fleet: Fleet, visitor: Visitor
    ) -> None:
        """Such a response may be cached by anybody, so it carries no floor either."""
        del visitor.cookies[FLOOR]
        assert visitor.finish(visitor.begin(0)) == []

    def test_without_copies_there_is_neither_floor_nor_pin(self) -> None:
        """One cookie, as before."""
        fleet = Fleet(local=None)
        visitor = fleet.visitor()
        visitor.put(n=1)
        assert set(visitor.cookies) == {"__Host-session"}

    def test_local_copies_are_bounded_in_bytes(self) -> None:
        """The least recently used ones go first."""
        fleet = Fleet(local=20_000)
        visitors = [fleet.visitor() for _ in range(30)]
        for number, visitor in enumerate(visitors):
            visitor.put(0, blob=b"x" * 500, number=number)
        local = fleet.instances[0]._homes.local
        assert local is not None
        assert 10 < len(local) <= 20

    def test_a_copy_too_large_for_the_memory_is_not_kept(self) -> None:
        """And throws nothing else out."""
        fleet = Fleet(local=20_000)
        small, large = fleet.visitor(), fleet.visitor()
        small.put(0, n=1)
        large.put(0, blob=b"x" * 30_000)
        assert len(fleet.instances[0]._homes.local or ()) == 1


class TestFreshness:
    """Per route: `any`, `session`, `strong`."""

    def test_strong_reads_the_store(self, fleet: Fleet, visitor: Visitor) -> None:
        """Whatever copies there are."""
        visitor.see(0)
        assert visitor.home(0) == "local"
        assert visitor.home(0, freshness="strong") == "store"

    def test_any_takes_a_copy_without_asking_for_the_floor(self, fleet: Fleet, visitor: Visitor) -> None:
        """For routes that would rather be quick."""
        visitor.see(0)
        del visitor.cookies[FLOOR]
        assert visitor.home(0, freshness="any") == "local"

    def test_a_strong_load_after_a_copy_has_answered(self, fleet: Fleet, visitor: Visitor) -> None:
        """Before the session is changed."""
        visitor.see(0)
        other = fleet.visitor()
        other.cookies = dict(visitor.cookies)
        other.put(1, n=2)
        sessions = fleet.instances[0]
        session = visitor.begin(0)
        assert session["n"] == 1
        sessions.sync.load(session, "strong")
        assert session["n"] == 2
        late = visitor.begin(0, "any")
        late["n"] = 3
        if sessions.explain(late).home != "store":
            with pytest.raises(ConfigError, match="before"):
                sessions.sync.load(late, "strong")

    def test_a_strong_load_that_fails_leaves_nothing_to_look_at(self, fleet: Fleet, visitor: Visitor) -> None:
        """What a copy had said was not good enough; once the store is back, the session is there again."""
        sessions, session = fleet.instances[0], visitor.begin(0)
        assert sessions.explain(session).home == "local"
        assert session["n"] == 1
        fleet.store.failure = OSError("away")
        sessions.sync.load(session, "strong")
        for look in (lambda: session["n"], lambda: dict(session), lambda: session.owner, session.clear):
            with pytest.raises(StoreUnavailable):
                look()
        fleet.store.failure = None
        sessions.sync.load(session, "strong")
        assert session["n"] == 1
        assert sessions.explain(session).home == "store"

    def test_what_was_changed_in_place_is_not_lost_by_a_strong_load_that_fails(
        self, fleet: Fleet, visitor: Visitor
    ) -> None:
        """The handler holds a list of the copy's, and changes it later on: that is kept, or refused."""
        visitor.put(0, cart=["tea"])
        visitor.settle()
        visitor.see(0)
        session = visitor.begin(0)
        cart = session["cart"]
        fleet.store.failure = OSError("away")
        fleet.instances[0].sync.load(session, "strong")
        cart.append("milk")
        with pytest.raises(StoreUnavailable):
            fleet.instances[0].sync.commit(session)
        fleet.store.failure = None
        assert visitor.see(1)["cart"] == ["tea"]

    @pytest.mark.parametrize(("outage", "shown"), [("read_only", {"n": 1}), ("anonymous", {})])
    def test_the_outage_policy_goes_for_strong_loads_too(self, outage: str, shown: dict[str, int]) -> None:
        """Where reading on was asked for, a handler that reads strongly reads what the policy says."""
        fleet = Fleet(outage=outage)
        visitor = fleet.visitor()
        visitor.put(n=1)
        visitor.settle()
        visitor.see(0)
        session = visitor.begin(0)
        fleet.store.failure = OSError("away")
        fleet.instances[0].sync.load(session, "strong")
        assert dict(session) == shown


class TestEndings:
    """Ended stays ended, and revocation arrives, whatever copies are about."""

    @pytest.mark.parametrize("how", ["logout", "revocation", "login"])
    def test_an_ending_reaches_the_copies_of_other_instances_within_a_second(
        self, fleet: Fleet, visitor: Visitor, how: str
    ) -> None:
        """Before the copies have grown too old: by the feed."""
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
        assert fleet.instances[0].explain(thief.begin(0)).skipped[0][1] == "revoked"

    def test_an_unreadable_feed_means_strong_reads(self, fleet: Fleet, visitor: Visitor) -> None:
        """And the store that cannot be read cannot answer them either: 503, not an old copy."""
        visitor.see(0)
        fleet.clock.advance(2)
        fleet.store.failure = ConnectionError()
        with pytest.raises(StoreUnavailable):
            visitor.see(0)

    def test_an_ending_that_fails_half_way_can_be_repeated(self, fleet: Fleet, visitor: Visitor) -> None:
        """The feed is told first: a failure after that leaves no copy of an ended session about."""
        visitor.see(0)
        handle = str(visitor.begin(0).handle)
        note = fleet.store._note

        def fail_at_the_end(command: str) -> None:
            note(command)
            if command == "end":
                raise ConnectionError

        fleet.store._note = fail_at_the_end  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailable):
            fleet.instances[1].sync.end(handle)
        fleet.store._note = note  # type: ignore[method-assign]
        assert visitor.see(0) == {"n": 1}
        assert fleet.instances[1].sync.end(handle)
        fleet.clock.advance(1.01)
        assert visitor.see(0) == {}

    def test_the_feed_forgets_what_no_copy_can_remember(self, fleet: Fleet) -> None:
        """One tiny record, however many sessions end."""
        for _ in range(50):
            visitor = fleet.visitor()
            visitor.put(n=1)
            visitor.do(lambda session: session.logout())
            fleet.clock.advance(10)
        feed = fleet.store._records["holdfast-revoked"]
        assert len(feed.values) < 12

    def test_no_handle_ends_the_feed(self, fleet: Fleet) -> None:
        """Its name is not that of a session."""
        assert fleet.instances[0].sync.end("holdfast-revoked") is False

    def test_logout_clears_floor_and_pin_too(self, fleet: Fleet, visitor: Visitor) -> None:
        """Nothing of the session stays in the browser."""
        visitor.do(lambda session: session.logout())
        assert visitor.header() == b""


class TestLoss:
    """Loss is noticed (promise 8)."""

    @pytest.mark.parametrize("settings", [{}, {"local": None, "detect_loss": True}])
    def test_promise_8_loss_is_noticed(self, settings: dict[str, Any]) -> None:
        """The store was restored from a backup: an event, and by default what it has is accepted."""
        fleet = Fleet(**settings)
        visitor = fleet.visitor()
        visitor.put(n=1)
        backup = dict(fleet.store._records)
        visitor.put(n=2)
        fleet.store._records = backup
        assert visitor.see() == {"n": 1}
        assert fleet.kinds() == ["regression"]
        assert visitor.see() == {"n": 1}
        assert fleet.kinds() == [], "it is said once"

    def test_a_lost_session_is_noticed_too(self, fleet: Fleet, visitor: Visitor) -> None:
        """Not there before its time is over, and no tombstone."""
        fleet.store._records.clear()
        fleet.clock.advance(20)
        assert visitor.see() == {}
        assert fleet.kinds() == ["regression"]
        visitor.see()
        assert fleet.kinds() == []

    def test_a_session_that_expired_is_not_lost(self, fleet: Fleet, visitor: Visitor) -> None:
        """Collected by the store, in due time."""
        fleet.clock.advance(1801)
        fleet.store._records.clear()
        assert visitor.see() == {}
        assert fleet.kinds() == []

    def test_a_fork_is_noticed(self, fleet: Fleet, visitor: Visitor) -> None:
        """The same version, but another change: the tag tells them apart."""
        backup = dict(fleet.store._records)
        visitor.put(n=2)
        fleet.store._records = backup
        other = fleet.visitor()
        other.cookies = {"__Host-session": visitor.cookies["__Host-session"]}
        other.put(n=3)
        assert visitor.see() == {"n": 3}
        assert "regression" in fleet.kinds()

    def test_a_moment_of_failover_is_waited_for(self, fleet: Fleet, visitor: Visitor) -> None:
        """The newer state comes back within the budget: nothing has happened."""
        backup = dict(fleet.store._records)
        visitor.put(n=2)
        newer, fleet.store._records = fleet.store._records, backup
        note = fleet.store._note
        loads = 0

        def count(command: str) -> None:
            nonlocal loads
            note(command)
            loads += command == "load"
            if loads == 2:
                fleet.store._records = newer

        fleet.store._note = count  # type: ignore[method-assign]
        assert visitor.see() == {"n": 2}
        assert fleet.kinds() == []

    @pytest.mark.parametrize("policy", ["accept", "end"])
    @pytest.mark.parametrize("act", [lambda s: s.update(m=1), lambda s: s.alter("n", lambda n: n + 1)])
    def test_a_loss_between_the_read_and_the_write_is_noticed(self, policy: str, act: Any) -> None:
        """The write went onto what was rolled back: nobody could see it afterwards."""
        fleet = Fleet(regression=policy)
        visitor = fleet.visitor()
        visitor.put(n=1)
        backup = dict(fleet.store._records)
        visitor.put(n=2)
        session = visitor.begin()
        act(session)
        fleet.store._records = backup
        if policy == "end":
            with pytest.raises(SessionRegression):
                visitor.finish(session)
            fleet.clock.advance(1.01)
            assert visitor.see() == {}
        else:
            visitor.finish(session)
            assert visitor.see(1)["n"] in (1, 2)
        assert "regression" in fleet.kinds()

    @pytest.mark.parametrize("policy", ["accept", "end"])
    def test_a_loss_that_was_made_up_for_in_number_is_noticed(self, policy: str) -> None:
        """Rolled back and changed again, the store is at the version that was read, in another state."""
        fleet = Fleet(regression=policy)
        visitor, other = fleet.visitor(), fleet.visitor()
        visitor.put(n=1)
        other.cookies = {"__Host-session": visitor.cookies["__Host-session"]}
        backup = dict(fleet.store._records)
        visitor.put(lost=1)
        session = visitor.begin()
        session.alter("n", lambda n: n + 1)
        fleet.store._records = backup
        other.put(1, made_up=1)
        if policy == "end":
            with pytest.raises(SessionRegression):
                visitor.finish(session)
        else:
            visitor.finish(session)
            assert visitor.see(1) == {"n": 2, "made_up": 1}
        assert "regression" in fleet.kinds()

    def test_the_policy_end(self) -> None:
        """What is left is not to be trusted: the session ends, its writes are refused."""
        fleet = Fleet(regression="end")
        visitor = fleet.visitor()
        visitor.put(n=1)
        backup = dict(fleet.store._records)
        visitor.put(n=2)
        fleet.store._records = backup
        session = visitor.begin()
        assert dict(session) == {}
        session["n"] = 3
        with pytest.raises(SessionRegression):
            visitor.finish(session)
        with pytest.raises(SessionGone):
            visitor.put(n=4)


class TestOutages:
    """With copies, an outage can be read through."""

    def test_read_only(self) -> None:
        """This instance's copy, of whatever age; writes are refused, the cookie stays."""
        fleet = Fleet(outage="read_only")
        visitor = fleet.visitor()
        visitor.put(n=1)
        fleet.clock.advance(600)
        fleet.store.failure = ConnectionError()
        cookies = dict(visitor.cookies)
        assert visitor.see(0) == {"n": 1}
        with pytest.raises(StoreUnavailable):
            visitor.put(0, n=2)
        with pytest.raises(StoreUnavailable):
            visitor.see(1)
        assert visitor.cookies == cookies
        assert "store unavailable" in fleet.kinds()

    def test_read_only_shows_nothing_older_than_was_seen_and_nothing_that_is_known_to_have_ended(
        self,
    ) -> None:
        """Promises 3 and 4 hold in an outage too: a copy that is behind the floor, or without one, is not shown."""
        fleet = Fleet(outage="read_only")
        visitor, other = fleet.visitor(), fleet.visitor()
        visitor.put(0, n=1)
        other.put(0, n=1)
        visitor.put(1, n=2)  # instance 0 still has the first version
        ended = dict(other.cookies)
        other.do(lambda session: session.logout(), 1)
        fleet.clock.advance(7)
        third = fleet.visitor()
        third.put(0, n=3)
        third.settle()
        third.see(0)  # served by a copy: instance 0 has read the feed
        third.see(0)
        fleet.store.failure = ConnectionError()
        other.cookies = ended
        for browser in (visitor, other):
            with pytest.raises(StoreUnavailable):
                browser.see(0)
        without_floor = fleet.visitor()
        without_floor.cookies = {"__Host-session": third.cookies["__Host-session"]}
        with pytest.raises(StoreUnavailable):
            without_floor.see(0)
        assert third.see(0) == {"n": 3}

    def test_read_only_needs_local_copies(self) -> None:
        """Refused at construction."""
        with pytest.raises(ConfigError, match="read_only"):
            Sessions("memory://", outage="read_only", local=None)


class TestEvents:
    """One typed hook, without secrets."""

    def test_the_life_of_a_session(self, fleet: Fleet) -> None:
        """Created, renewed, ended, used again."""
        visitor = fleet.visitor()
        visitor.put(n=1)
        old = dict(visitor.cookies)
        visitor.do(lambda session: session.login("ann"))
        late = fleet.visitor()
        late.cookies = old
        late.see()
        fleet.instances[0].sync.end(str(visitor.begin().handle))
        assert [event.kind for event in fleet.events] == [
            "session created",
            "session renewed",
            "old identity used",
            "session revoked",
        ]
        secrets = [value for value, _ in (*old.values(), *visitor.cookies.values()) if len(value) > 10]
        assert secrets
        assert not any(secret in repr(fleet.events) for secret in secrets)

    def test_a_conflict_is_told(self, fleet: Fleet, visitor: Visitor) -> None:
        """An `alter` that was based on what is no longer there."""
        one, two = visitor.begin(0), visitor.begin(1)
        one.alter("n", lambda n: n + 1)
        two.alter("n", lambda n: n + 1)
        visitor.finish(one, 0)
        visitor.finish(two, 1)
        assert fleet.kinds() == ["conflict retried"]
        assert visitor.see() == {"n": 3}

    def test_a_hook_that_raises_harms_no_request(self) -> None:
        """Its error is logged."""

        def hook(event: object) -> None:
            raise ZeroDivisionError

        fleet = Fleet(on_event=hook)
        visitor = fleet.visitor()
        visitor.put(n=1)
        assert visitor.see() == {"n": 1}


class TestCache:
    """The shared cache in front of the store."""

    @pytest.fixture
    def fleet(self) -> Fleet:
        return Fleet(cache=MemoryStore(), local=None)

    def test_what_one_instance_commits_another_reads_from_the_cache(
        self, fleet: Fleet, visitor: Visitor
    ) -> None:
        """Written through: no store command but the feed."""
        visitor.put(0, n=2)
        visitor.settle()
        assert visitor.home(1) == "cache"
        fleet.store.taken()
        assert visitor.see(1) == {"n": 2}
        assert fleet.store.taken() == []

    def test_a_cache_that_cannot_be_written_makes_the_pin_long(self, fleet: Fleet, visitor: Visitor) -> None:
        """It may hold what is older, for as long as an entry lives."""
        holder = fleet.instances[0]._homes.cache._store  # type: ignore[union-attr]

        async def fail(*arguments: Any) -> bool:
            raise ConnectionError

        holder.put_copy = fail  # type: ignore[method-assign]
        visitor.put(0, n=2)
        assert visitor.cookies["__Host-session-long-pin"][1] - fleet.clock() > 300
        visitor.cookies[PIN] = ("1", fleet.clock())  # a short one comes late, and does not shorten it
        assert visitor.see(1) == {"n": 2}
        fleet.clock.advance(60)
        assert visitor.see(1) == {"n": 2}

    def test_news_from_a_local_copy_is_put_into_the_cache_first(self) -> None:
        """It may hold what is older: the commit that this copy comes from could not reach it."""
        fleet = Fleet(cache=MemoryStore())
        visitor, other, third = fleet.visitor(), fleet.visitor(), fleet.visitor()
        visitor.put(0, n=1)
        third.put(0, n=0)
        visitor.settle()
        third.see(0)
        other.cookies = dict(visitor.cookies)
        holder = fleet.instances[0]._homes.cache._store  # type: ignore[union-attr]

        async def fail(*arguments: Any) -> bool:
            raise ConnectionError

        holder.put_copy = fail  # type: ignore[method-assign]
        other.put(0, n=2)
        del holder.put_copy
        fleet.clock.advance(1.5)
        third.see(0)  # the view of the feed is fresh
        assert visitor.home(0) == "local"
        visitor.settle()
        assert visitor.home(1) == "cache"
        assert visitor.see(1) == {"n": 2}

    def test_an_ended_session_is_not_served_from_the_cache(self, fleet: Fleet, visitor: Visitor) -> None:
        """Its tombstone is there."""
        thief = fleet.visitor()
        thief.cookies = dict(visitor.cookies)
        assert thief.home(1) in ("cache", "store")
        visitor.do(lambda session: session.logout())
        assert thief.see(1) == {}

    def test_a_negative_answer_is_never_kept(self, fleet: Fleet) -> None:
        """better-auth#10884: what is not there now may be there in a moment."""
        visitor = fleet.visitor()
        visitor.put(n=1)
        record = fleet.store._records
        fleet.store._records = {}
        visitor.settle()
        fleet.clock.advance(400)
        visitor.see(0)
        fleet.store._records = record
        assert visitor.see(0) == {"n": 1}

    def test_after_a_loss_the_cache_does_not_bring_back_what_is_no_more(
        self, fleet: Fleet, visitor: Visitor
    ) -> None:
        """Its copies are newer than the store; they are taken away, and nothing flickers."""
        backup = dict(fleet.store._records)
        visitor.put(0, n=2)
        fleet.store._records = backup
        for step in range(40):
            assert visitor.see(step % 2) == {"n": 1}
            fleet.clock.advance(3)
        assert fleet.kinds() == ["regression"]
