"""Calls stop waiting before the platform ends the request, and loops of calls come to an end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import holdfast
from asgi_client import Browser
from holdfast import Change, Conflict, Record, Sessions, StoreThrottled, StoreUnavailable, deadline
from holdfast import _colour as colour
from holdfast.asgi import SessionMiddleware
from holdfast.copies.cache import SharedCache
from holdfast.stores._compare_and_set import settle
from holdfast.stores.memory import MemoryStore
from holdfast.testing import FakeClock
from recording import RecordingStore

KEYS = holdfast.Keyring.generate()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock that deadlines go by."""
    clock = FakeClock(1000.0)
    monkeypatch.setattr(deadline, "monotonic", clock)
    return clock


class TestTimeLeft:
    """`holdfast.time_left` and what stores ask about it."""

    def test_without_it_a_call_may_take_its_own_limit(self) -> None:
        """Nothing shortens it."""
        assert deadline.limit(2.0) == 2.0
        assert not deadline.is_over()

    def test_a_call_is_shortened_to_what_is_left_but_for_the_answer(self, clock: FakeClock) -> None:
        """A fifth of a second is kept back."""
        with holdfast.time_left(1.5):
            assert deadline.limit(2.0) == pytest.approx(1.3)
            assert deadline.limit(0.5) == 0.5
            clock.advance(1.0)
            assert deadline.limit(2.0) == pytest.approx(0.3)
        assert deadline.limit(2.0) == 2.0

    @pytest.mark.parametrize("seconds", [0.2, 0.1, 0.0, -5.0])
    def test_no_call_begins_when_nothing_is_left(self, clock: FakeClock, seconds: float) -> None:
        """TimeoutError, which every store's guard takes for "unavailable"."""
        with holdfast.time_left(seconds):
            assert deadline.is_over()
            with pytest.raises(TimeoutError):
                deadline.limit(2.0)
        assert not deadline.is_over()

    @pytest.mark.parametrize(("outer", "inner"), [(1.0, 30.0), (30.0, 1.0)])
    def test_the_earlier_end_counts(self, clock: FakeClock, outer: float, inner: float) -> None:
        """Whoever set it; afterwards the outer one again."""
        with holdfast.time_left(outer):
            with holdfast.time_left(inner):
                assert deadline.limit(60.0) == pytest.approx(0.8)
            assert deadline.limit(60.0) == pytest.approx(outer - 0.2)

    def test_an_error_within_ends_it(self, clock: FakeClock) -> None:
        """It does not leak into the next request of the same thread."""
        with pytest.raises(ZeroDivisionError), holdfast.time_left(1.0):
            raise ZeroDivisionError
        assert deadline.limit(2.0) == 2.0

    async def test_worker_threads_and_tasks_inherit_it(self, clock: FakeClock) -> None:
        """Where blocking stores do their work."""

        async def ask() -> float:
            return deadline.limit(2.0)

        with holdfast.time_left(1.0):
            assert await asyncio.to_thread(deadline.limit, 2.0) == pytest.approx(0.8)
            assert await asyncio.create_task(ask()) == pytest.approx(0.8)
            assert await colour.off_loop(ask()) == pytest.approx(0.8)

    async def test_requests_on_one_loop_do_not_share_it(self, clock: FakeClock) -> None:
        """Each task has its own."""

        async def request(seconds: float) -> float:
            with holdfast.time_left(seconds):
                await asyncio.sleep(0)
                return deadline.limit(60.0)

        assert await asyncio.gather(request(1.2), request(3.2)) == pytest.approx([1.0, 3.0])


class TestRounds:
    """Loops of calls: none goes on for long."""

    def test_as_many_as_are_asked_for(self) -> None:
        """While there is time."""
        assert list(deadline.rounds(4)) == [0, 1, 2, 3]

    def test_none_begins_after_five_seconds(self, clock: FakeClock) -> None:
        """Whatever the calls take."""
        assert list(self._passing(clock, 2.0)) == [0, 1, 2]

    def test_none_begins_when_the_platform_is_about_to_end_the_request(self, clock: FakeClock) -> None:
        """The first always does: it is refused by its call."""
        with holdfast.time_left(1.2):
            assert list(self._passing(clock, 0.6)) == [0, 1]
        with holdfast.time_left(0.0):
            assert list(self._passing(clock, 0.6)) == [0]

    def test_compare_and_set_gives_up_in_time(self, clock: FakeClock) -> None:
        """A store that takes 1.9 seconds to say that somebody else was faster is not asked 64 times."""
        asked = []

        async def attempt() -> None:
            asked.append(clock())
            clock.advance(1.9)

        with pytest.raises(StoreThrottled):
            colour.run(settle(attempt))
        assert asked == [1000.0, 1001.9, 1003.8]

    def test_a_commit_gives_up_in_time(self, clock: FakeClock) -> None:
        """A change that is based on what others replace again and again ends as `StoreThrottled`: 503."""

        class Busy(RecordingStore):
            async def commit(self, key: str, change: Change) -> Record:
                self._note("commit")
                clock.advance(1.9)
                raise Conflict(self._records[key])

        store = Busy()
        sessions = Sessions(store, keys=KEYS, local=None)
        session = sessions.open(None)
        session["n"] = 1
        sessions.sync.commit(session)
        session.alter("n", lambda n: n + 1)
        with pytest.raises(StoreThrottled):
            sessions.sync.commit(session)
        assert store.commands == ["create", "commit", "commit", "commit"]

    @staticmethod
    def _passing(clock: FakeClock, seconds: float) -> Iterator[int]:
        for turn in deadline.rounds(64):
            yield turn
            clock.advance(seconds)


class Asking(MemoryStore):
    """Notes how long each call may take."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: list[float] = []

    async def create(self, key: str, record: Record) -> bool:
        self.limits.append(deadline.limit(60.0))
        return await super().create(key, record)

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        self.limits.append(deadline.limit(60.0))
        return await super().load(key, weak=weak)

    async def get_copy(self, key: str) -> bytes | None:
        raise ConnectionError

    claim_copy = fill_copy = put_copy = get_copy  # type: ignore[assignment]  # never reached


class LambdaContext:
    """What AWS Lambda tells a function about its invocation."""

    def __init__(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds


class TestRequests:
    """What the ASGI middleware makes of what the platform says."""

    @pytest.mark.parametrize(
        ("told", "expected"),
        [
            ({}, 60.0),
            ({"aws.context": LambdaContext(3200)}, 3.0),
            ({"holdfast.time_left": 3.2}, 3.0),
            ({"aws.context": LambdaContext(9000), "holdfast.time_left": 3.2}, 3.0),
            ({"aws.context": LambdaContext(3200), "holdfast.time_left": 9.0}, 3.0),
            ({"aws.context": SimpleNamespace()}, 60.0),
            ({"aws.context": None, "holdfast.time_left": None}, 60.0),
        ],
        ids=lambda value: str(sorted(value)) if isinstance(value, dict) else None,
    )
    async def test_calls_to_the_store_may_take_what_is_left(
        self, clock: FakeClock, told: dict[str, Any], expected: float
    ) -> None:
        """By Lambda's context as Mangum passes it on, or by the scope's own word; the smaller of the two."""
        store = Asking()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scope["session"]["n"] = 1
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        sessions = Sessions(store, keys=KEYS, insecure_http=True)

        async def outer(scope: Any, receive: Any, send: Any) -> None:
            await SessionMiddleware(app, sessions)({**scope, **told}, receive, send)

        assert (await Browser(outer).get("/")).status == 200
        assert store.limits == [pytest.approx(expected)]
        assert not deadline.is_over()

    async def test_a_request_whose_time_is_up_is_refused_in_time(self) -> None:
        """503, and no cookie is touched."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scope["session"]["n"] = 1
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        sessions = Sessions(Asking(), keys=KEYS, insecure_http=True)

        async def outer(scope: Any, receive: Any, send: Any) -> None:
            await SessionMiddleware(app, sessions)({**scope, "holdfast.time_left": 0.1}, receive, send)

        response = await Browser(outer).get("/")
        assert response.status == 503

    def test_a_guard_takes_it_for_unavailable(self) -> None:
        """Also for callers without a middleware."""
        sessions = Sessions(Asking(), keys=KEYS)
        with holdfast.time_left(0.1), pytest.raises(StoreUnavailable):
            sessions.sync.end("0" * 64)


class TestSharedCache:
    """A request whose time is up says nothing about the cache."""

    def test_it_does_not_keep_other_requests_from_the_cache(self, clock: FakeClock) -> None:
        """Neither when its time was up before, nor when it ran out meanwhile."""
        events: list[str] = []
        failing = Asking()
        cache = SharedCache(failing, clock=clock, on_event=lambda kind, **_: events.append(kind))
        with holdfast.time_left(0.1):
            assert colour.run(cache.look("0" * 64)).why == "no time left"

        async def out_of_time(key: str) -> bytes | None:
            clock.advance(1.0)
            raise TimeoutError

        failing.get_copy = out_of_time  # type: ignore[method-assign]
        with holdfast.time_left(1.0):
            assert colour.run(cache.look("0" * 64)).why == "no time left"
        assert events == []
        assert colour.run(cache.look("0" * 64)).why == "down"  # it was asked
        assert events == ["cache bypassed"]
