"""Bearer tokens in bad weather: failing stores, garbage, races in between, and what is told of it all."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from holdfast import (
    BadToken,
    Bearer,
    ConfigError,
    Event,
    Keyring,
    Record,
    SessionGone,
    StoreError,
    StoreThrottled,
    StoreUnavailable,
    Token,
)
from holdfast.stores.memory import MemoryStore
from holdfast.testing import FakeClock, Flaky
from recording import RecordingStore

KEYS = Keyring.generate()


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore()


def bearer(store: Any, clock: FakeClock, **settings: Any) -> Bearer:
    return Bearer(store, settings.pop("token", None), keys=KEYS, clock=clock, **settings)


def refusal(bearer: Bearer, token: str | bytes) -> str:
    with pytest.raises(BadToken) as caught:
        bearer.sync.refresh(token)
    return caught.value.reason


class TestCost:
    """How often the store is asked."""

    def test_each_call(self, store: RecordingStore, clock: FakeClock) -> None:
        """One command to begin, none to open, two to refresh, one to repeat, two to sign out."""
        here = bearer(store, clock)
        pair = here.sync.issue("user-42", {"role": "admin"})
        assert store.taken() == ["create"]
        handle = here.open(f"Bearer {pair.access}").handle
        assert store.taken() == []
        newest = here.sync.refresh(pair.refresh)
        assert store.taken() == ["load", "commit"]
        here.sync.refresh(pair.refresh)
        assert store.taken() == ["load"]
        here.sync.load(handle)
        assert store.taken() == ["load"]
        here.sync.change(handle, {"role": "reader"})
        assert store.taken() == ["load", "commit"]
        here.sync.revoke(newest.refresh)
        assert store.taken() == ["load", "end"]

    def test_garbage_costs_nothing(self, store: RecordingStore, clock: FakeClock) -> None:
        """Neither tokens nor handles that cannot be ours get to the store (promise 5)."""
        here = bearer(store, clock)
        for token in ("", "x", "A" * 103, "\0" * 103, b"\xff" * 103, "A" * 1_000_000):
            assert refusal(here, token)
            with pytest.raises(BadToken):
                here.sync.revoke(token)
        for handle in ("", "x", "A" * 64, "0" * 63, "0" * 65, "../" * 22, "0" * 64 + "\n"):
            assert here.sync.end(handle) is False
            with pytest.raises(SessionGone):
                here.sync.load(handle)
            with pytest.raises(SessionGone):
                here.sync.change(handle, {})
        assert store.taken() == []

    def test_a_session_that_is_over_is_not_written_again(
        self, store: RecordingStore, clock: FakeClock
    ) -> None:
        """However often its tokens are tried: one read each."""
        here = bearer(store, clock)
        pair = here.sync.issue("user-42")
        here.sync.revoke(pair.refresh)
        store.taken()
        for _ in range(3):
            assert refusal(here, pair.refresh) == "ended"
            here.sync.revoke(pair.refresh)
        assert store.taken() == ["load"] * 6


class TestOutage:
    """A store that fails costs nobody the session."""

    @pytest.mark.parametrize("method", ["load", "commit"])
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_refresh_that_failed_is_done_again(self, clock: FakeClock, method: str, when: str) -> None:
        """Whether or not the change had arrived: the token that the client holds works within the grace."""
        events: list[Event] = []
        store = Flaky(MemoryStore(), methods={method})
        here = bearer(store, clock, on_event=events.append)
        pair = here.sync.issue("user-42", {"role": "admin"})
        for _ in range(3):
            store.schedule = [when]
            clock.advance(300)
            with pytest.raises(StoreUnavailable):
                here.sync.refresh(pair.refresh)
            assert events[-1].kind == "store unavailable"
            clock.advance(20)
            pair = here.sync.refresh(pair.refresh)
            assert here.open(f"Bearer {pair.access}").values == {"role": "admin"}

    def test_an_outage_that_is_longer_than_the_grace(self, clock: FakeClock) -> None:
        """Where nothing had arrived, the token is good after it, however long it takes."""
        store = Flaky(MemoryStore())
        here = bearer(store, clock)
        pair = here.sync.issue("user-42")
        store.schedule = ["ok", "before", *["before"] * 20]
        for _ in range(21):
            clock.advance(60)
            with pytest.raises(StoreUnavailable):
                here.sync.refresh(pair.refresh)
        assert here.sync.refresh(pair.refresh)

    def test_what_an_outage_can_cost(self, clock: FakeClock) -> None:
        """The limit that is documented: a change that arrived unnoticed, and no way to ask again within the grace.

        Nothing tells this from a stolen token. A longer grace makes it rarer.
        """
        for grace, survives in ((30.0, False), (600.0, True)):
            store = Flaky(MemoryStore(), methods={"commit"}, schedule=["after"])
            here = bearer(store, clock, grace=grace)
            pair = here.sync.issue("user-42")
            with pytest.raises(StoreUnavailable):
                here.sync.refresh(pair.refresh)
            clock.advance(300)
            if survives:
                assert here.sync.refresh(pair.refresh)
            else:
                assert refusal(here, pair.refresh) == "reused"

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_ending_that_failed_is_not_taken_for_done(self, clock: FakeClock, when: str) -> None:
        """Signing out says so, and a reused token is refused all the same; the next attempt ends the session."""
        store = Flaky(MemoryStore(), methods={"end"})
        here = bearer(store, clock)
        pair = here.sync.issue("user-42")
        store.schedule = [when]
        with pytest.raises(StoreUnavailable):
            here.sync.revoke(pair.refresh)
        here.sync.revoke(pair.refresh)
        assert refusal(here, pair.refresh) == "ended"

        stolen = here.sync.issue("user-42")
        newest = here.sync.refresh(stolen.refresh)
        clock.advance(31)
        store.schedule = [when]
        with pytest.raises(StoreUnavailable):
            here.sync.refresh(stolen.refresh)
        assert refusal(here, stolen.refresh) == ("reused" if when == "before" else "ended")
        assert refusal(here, newest.refresh) == "ended"

    def test_a_sign_in_that_failed_gives_nobody_a_token(self, clock: FakeClock) -> None:
        """Acknowledged means committed: no pair leaves before the store has the session."""
        store = Flaky(MemoryStore(), methods={"create"}, schedule=["before"])
        with pytest.raises(StoreUnavailable):
            bearer(store, clock).sync.issue("user-42")

    def test_access_tokens_do_not_notice(self, store: RecordingStore, clock: FakeClock) -> None:
        """Whoever has one goes on reading."""
        here = bearer(store, clock)
        pair = here.sync.issue("user-42")
        store.failure = ConnectionError()
        assert here.open(f"Bearer {pair.access}").owner == "user-42"


class TestBetween:
    """What another instance does between a refresh's read and its write."""

    def test_another_refresh(self, store: RecordingStore, clock: FakeClock) -> None:
        """Then this one is the repeat: it answers with the other's generation, and advances nothing."""
        here, there = bearer(store, clock), bearer(store, clock)
        pair = here.sync.issue("user-42")
        won: list[Any] = []
        store.before_commit = lambda: won.append(there.sync.refresh(pair.refresh))
        assert here.sync.refresh(pair.refresh).refresh == won[0].refresh
        assert here.sync.refresh(won[0].refresh)

    def test_two_refreshes_further(self, store: RecordingStore, clock: FakeClock) -> None:
        """A request that was held up until its token is older than the one before: that is what a thief's is like."""
        here, there = bearer(store, clock), bearer(store, clock)
        pair = here.sync.issue("user-42")
        store.before_commit = lambda: (there.sync.refresh(there.sync.refresh(pair.refresh).refresh), None)[1]
        assert refusal(here, pair.refresh) == "reused"

    def test_a_change_of_values(self, store: RecordingStore, clock: FakeClock) -> None:
        """The refresh tells of it, and keeps it."""
        here, there = bearer(store, clock), bearer(store, clock)
        pair = here.sync.issue("user-42", {"role": "admin", "old": 1})
        handle = here.open(f"Bearer {pair.access}").handle
        store.before_commit = lambda: there.sync.change(handle, {"role": "reader"}, unset={"old"})
        renewed = here.sync.refresh(pair.refresh)
        assert here.open(f"Bearer {renewed.access}").values == {"role": "reader"}
        assert here.sync.load(handle).values == {"role": "reader"}

    def test_the_end(self, store: RecordingStore, clock: FakeClock) -> None:
        """Ended stays ended: no pair, and no session that comes back."""
        here, there = bearer(store, clock), bearer(store, clock)
        pair = here.sync.issue("user-42")
        store.before_commit = lambda: there.sync.revoke(pair.refresh)
        assert refusal(here, pair.refresh) == "ended"
        assert there.sync.of("user-42") == []
        other = here.sync.issue("user-42")
        handle = here.open(f"Bearer {other.access}").handle
        store.before_commit = lambda: there.sync.revoke(other.refresh)
        with pytest.raises(SessionGone):
            here.sync.change(handle, {"role": "admin"})
        assert there.sync.of("user-42") == []

    def test_without_end(self, clock: FakeClock) -> None:
        """If others change the session each time, the refresh gives up; the token is as good as before."""

        class Busy(RecordingStore):
            async def commit(self, key: str, change: Any) -> Any:
                if self.before_commit is None and change.base is not None:
                    await MemoryStore.commit(
                        self, key, change._replace(tag=change.tag[::-1], base=None, set={})
                    )
                return await super().commit(key, change)

        store = Busy()
        here = bearer(store, clock)
        pair = here.sync.issue("user-42")
        with pytest.raises(StoreThrottled, match="still good"):
            here.sync.refresh(pair.refresh)
        assert len(store.taken()) <= 17
        assert bearer(_quiet(store), clock).sync.refresh(pair.refresh)


def _quiet(busy: RecordingStore) -> MemoryStore:
    quiet = MemoryStore()
    quiet._records = busy._records
    return quiet


class TestTelling:
    """Events and logs: enough for whoever keeps watch, and no secret."""

    def test_events_of_refused_tokens(self, store: RecordingStore, clock: FakeClock) -> None:
        """What somebody has made is told by its reason; what is only late, or is nothing at all, is not."""
        events: list[Event] = []
        here = bearer(store, clock, on_event=events.append)
        pair = here.sync.issue("user-42")
        stranger = Bearer(MemoryStore(), keys=Keyring.generate(), clock=clock).sync.issue("user-42")
        events.clear()
        for token in ("garbage", stranger.refresh, pair.refresh[:-4] + "AAAA"):
            assert refusal(here, token)
        for token in ("garbage", stranger.access, pair.access[:-4] + "AAAA"):
            with pytest.raises(BadToken):
                here.open(f"Bearer {token}")
        for header in (None, "Basic x"):
            with pytest.raises(BadToken):
                here.open(header)
        clock.advance(301)
        with pytest.raises(BadToken):
            here.open(f"Bearer {pair.access}")
        assert {event.kind for event in events} == {"token refused"}
        assert len(events) == 4

    def test_no_secret_is_logged(
        self, store: RecordingStore, clock: FakeClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """In a life with everything in it, neither a token nor a value gets into the log, an event or an error."""
        events: list[Event] = []
        errors: list[Exception] = []
        here = bearer(store, clock, on_event=events.append)
        with caplog.at_level(logging.DEBUG):
            pairs = [here.sync.issue("user-42", {"oauth_token": "xyzzy"})]
            pairs.append(here.sync.refresh(pairs[0].refresh))
            store.failure = ConnectionError()
            with pytest.raises(StoreError) as failed:
                here.sync.refresh(pairs[1].refresh)
            store.failure = None
            clock.advance(31)
            errors = [failed.value]
            for token in (pairs[0].refresh, pairs[1].refresh, pairs[1].refresh[::-1], pairs[1].access):
                with pytest.raises(BadToken) as caught:
                    here.sync.refresh(token)
                errors.append(caught.value)
        clock.advance(-31)
        claims = here.open(f"Bearer {pairs[1].access}")
        assert claims.values == {"oauth_token": "xyzzy"}
        told = caplog.text + repr(events) + repr(errors) + repr([here, here.sync, pairs, claims])
        assert "refresh token reused" in told
        for pair in pairs:
            for secret in (pair.refresh, pair.refresh[6:50], pair.access, "xyzzy"):
                assert secret not in told

    def test_a_theft_is_a_warning(
        self, store: RecordingStore, clock: FakeClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is in the log where nobody has set a hook, once, with handle and generation."""
        here = bearer(store, clock)
        pair = here.sync.issue("user-42")
        here.sync.refresh(pair.refresh)
        clock.advance(31)
        for _ in range(3):
            assert refusal(here, pair.refresh)
        (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
        assert "refresh token reused" in record.message
        assert here.open(f"Bearer {pair.access}").handle in record.message

    def test_a_hook_that_raises_harms_nobody(self, store: RecordingStore, clock: FakeClock) -> None:
        """The client has its pair."""

        def hook(event: Event) -> None:
            raise RuntimeError(event.kind)

        here = bearer(store, clock, on_event=hook)
        assert here.sync.refresh(here.sync.issue("user-42").refresh)


class TestGrace:
    """Zero, and what is not a time."""

    @pytest.mark.parametrize("grace", [0, 0.0, "0s"])
    def test_none(self, store: RecordingStore, clock: FakeClock, grace: Any) -> None:
        """Each token works once, to the instant: strict, and hard on clients whose responses get lost."""
        here = bearer(store, clock, grace=grace)
        first = here.sync.issue("user-42")
        second = here.sync.refresh(first.refresh)
        third = here.sync.refresh(second.refresh)
        assert refusal(here, second.refresh) == "reused"
        assert refusal(here, third.refresh) == "ended"

    async def test_none_with_two_tabs(self, store: RecordingStore, clock: FakeClock) -> None:
        """The second one ends the session for both: whoever sets it so has clients that wait for one another."""
        here = bearer(store, clock, grace=0)
        pair = await here.issue("user-42")
        results = await asyncio.gather(
            *(here.refresh(pair.refresh) for _ in range(2)), return_exceptions=True
        )
        assert [isinstance(result, BadToken) for result in results] == [False, True]


def test_a_list_that_is_out_of_date(clock: FakeClock) -> None:
    """A store's list of an owner's sessions may have entries left over: only the owner's are listed and ended."""

    class Careless(MemoryStore):
        async def of(self, owner: str) -> dict[str, Record]:
            return dict(self._records)

    here = bearer(Careless(), clock)
    mine, theirs = here.sync.issue("user-42"), here.sync.issue("user-43")
    assert len(here.sync.of("user-42")) == 1
    assert here.sync.end_all("user-42") == 1
    assert refusal(here, mine.refresh) == "ended"
    assert here.sync.refresh(theirs.refresh)


def test_every_sign_in_is_another_session(store: RecordingStore, clock: FakeClock) -> None:
    """Nothing that a client brings along goes into it: no fixation."""
    here = bearer(store, clock)
    pairs = [here.sync.issue("user-42") for _ in range(100)]
    assert len({here.open(f"Bearer {pair.access}").handle for pair in pairs}) == 100
    assert len({pair.refresh for pair in pairs}) == 100


def test_sync_callers_of_an_async_store(clock: FakeClock) -> None:
    """They hear of it when they ask for the sync calls, not at the first request."""

    class AsyncOnly(MemoryStore):
        colours = frozenset({"async"})

    class SyncOnly(MemoryStore):
        colours = frozenset({"sync"})

    with pytest.raises(ConfigError, match="blocking"):
        _ = bearer(AsyncOnly(), clock).sync
    with pytest.raises(ConfigError, match="no colour in common"):
        bearer(AsyncOnly(), clock, token=Token(revocation=SyncOnly()))


def test_the_sync_calls_are_those_of_the_bearer() -> None:
    """None is forgotten."""
    calls = {name for name in vars(Bearer) if not name.startswith("_")} - {"sync", "aclose"}
    here = Bearer(MemoryStore(), keys=KEYS).sync
    assert all(callable(getattr(here, name)) for name in calls)
