"""The life of bearer sessions on every store: refreshing, racing, stealing, ending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from holdfast import BadToken, Bearer, Event, Keyring, SessionGone, Sessions, Token
from holdfast.stores import Store
from holdfast.stores.memory import MemoryStore
from holdfast.testing import FakeClock, Losing
from holdfast.tokens.pairs import Pair

KEYS = Keyring.generate()
TOKEN = Token("jws", public={"role"})

DAY = 86400.0


class App:
    """An instance of the application: a Bearer, and what it tells of."""

    def __init__(self, store: Store, clock: FakeClock, **settings: object) -> None:
        self.events: list[Event] = []
        self.clock = clock
        self.bearer = Bearer(store, TOKEN, keys=KEYS, clock=clock, on_event=self.events.append, **settings)  # type: ignore[arg-type]
        self.sync = self.bearer.sync

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def handle(self, pair: Pair) -> str:
        return self.bearer.open(f"Bearer {pair.access}").handle

    def refused(self, token: str) -> str:
        with pytest.raises(BadToken) as caught:
            self.sync.refresh(token)
        return caught.value.reason

    def role(self, pair: Pair) -> object:
        return self.bearer.open(f"Bearer {pair.access}").values["role"]


@pytest.fixture
def app(store: Store, clock: FakeClock) -> App:
    return App(store, clock)


def test_a_session_goes_from_pair_to_pair(app: App) -> None:
    """Every refresh brings another pair, the same session, and what was put into it."""
    pair = app.sync.issue("user-42", {"role": "admin"})
    handle = app.bearer.open(f"Bearer {pair.access}").handle
    seen = {pair.access, pair.refresh}
    for _ in range(5):
        app.clock.advance(300)
        with pytest.raises(BadToken, match="expired"):
            app.bearer.open(f"Bearer {pair.access}")
        pair = app.sync.refresh(pair.refresh)
        claims = app.bearer.open(f"Bearer {pair.access}")
        assert (claims.owner, claims.handle, dict(claims.values)) == ("user-42", handle, {"role": "admin"})
        assert claims.expires_at == app.clock.now + 300
        assert (pair.expires_in, pair.token_type) == (300, "Bearer")
        assert seen.isdisjoint((pair.access, pair.refresh))
        seen |= {pair.access, pair.refresh}
    assert app.kinds() == ["session created"] + 5 * ["session renewed"]


async def test_two_tabs_refresh_at_once(open_store: Callable[[], Store], clock: FakeClock) -> None:
    """Over separate connections, a dozen at a time: one generation for all, and all of them go on from it."""
    apps = [App(open_store(), clock) for _ in range(4)]
    pair = await apps[0].bearer.issue("user-42", {"role": "admin"})
    for _ in range(5):
        clock.advance(300)
        pairs = await asyncio.gather(*(app.bearer.refresh(pair.refresh) for app in apps for _ in range(3)))
        assert len({each.refresh for each in pairs}) == 1
        assert {app.role(each) for app in apps for each in pairs} == {"admin"}
        pair = pairs[0]
    kinds = [kind for app in apps for kind in app.kinds()]
    assert kinds.count("session renewed") == 5
    assert "refresh token reused" not in kinds
    for app in apps:
        await app.bearer.aclose()


def test_two_tabs_refresh_at_once_from_threads(open_store: Callable[[], Store], clock: FakeClock) -> None:
    """The same for sync callers: eight threads that start together, on connections of their own."""
    apps = [App(open_store(), clock) for _ in range(8)]
    pair = apps[0].sync.issue("user-42", {"role": "admin"})
    start = Barrier(len(apps), timeout=30)

    def refresh(app: App, token: str) -> Pair:
        start.wait()
        return app.sync.refresh(token)

    with ThreadPoolExecutor(len(apps)) as threads:
        for _ in range(5):
            clock.advance(300)
            pairs = list(threads.map(refresh, apps, [pair.refresh] * len(apps)))
            assert len({each.refresh for each in pairs}) == 1
            pair = pairs[0]
    assert [kind for app in apps for kind in app.kinds()].count("session renewed") == 5


def test_a_lost_response_is_asked_for_again(app: App) -> None:
    """Within the grace the same answer comes once more, as often as it takes, and the chain goes on from it."""
    first = app.sync.issue("user-42", {"role": "admin"})
    app.clock.advance(300)
    lost = app.sync.refresh(first.refresh)
    for _ in range(3):
        app.clock.advance(10)
        again = app.sync.refresh(first.refresh)
        assert again.refresh == lost.refresh
        assert app.role(again) == "admin"
    app.clock.advance(300)
    assert app.sync.refresh(again.refresh).refresh != again.refresh
    assert "refresh token reused" not in app.kinds()


def test_a_token_that_comes_back_too_late_ends_the_session(app: App) -> None:
    """Whoever has it is out: the one who used it twice, and the one who holds the newest."""
    first = app.sync.issue("user-42", {"role": "admin"})
    second = app.sync.refresh(first.refresh)
    app.clock.advance(30.5)
    assert app.refused(first.refresh) == "reused"
    assert app.refused(second.refresh) == "ended"
    assert app.refused(first.refresh) == "ended"
    (event,) = [event for event in app.events if event.kind == "refresh token reused"]
    assert event.owner == "user-42"
    assert event.handle == app.bearer.open(f"Bearer {second.access}").handle
    assert event.detail == "generation 1 of 2, which is 30 seconds old"


def test_an_older_token_ends_the_session_at_once(app: App) -> None:
    """The grace is for the one before the newest (django-oauth-toolkit#1617)."""
    first = app.sync.issue("user-42", {"role": "admin"})
    second = app.sync.refresh(first.refresh)
    third = app.sync.refresh(second.refresh)
    assert app.refused(first.refresh) == "reused"
    assert app.refused(third.refresh) == "ended"


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_stolen_token_is_found_out(app: App, steps: int) -> None:
    """However far one of the two has come with it, the other one's use ends the session for both."""
    pair = app.sync.issue("user-42", {"role": "admin"})
    stolen, handle = pair.refresh, app.handle(pair)
    for _ in range(steps):
        pair = app.sync.refresh(pair.refresh)
        app.clock.advance(300)
    assert app.sync.load(handle).owner == "user-42"
    assert app.refused(stolen) == "reused"
    assert app.refused(pair.refresh) == "ended"
    assert app.kinds()[-1] == "refresh token reused"
    with pytest.raises(SessionGone):
        app.sync.load(handle)


def test_other_sessions_of_the_owner_go_on(app: App) -> None:
    """A token that was stolen from one device signs out that device."""
    phone, laptop = (app.sync.issue("user-42", {"role": device}) for device in ("phone", "laptop"))
    app.sync.refresh(phone.refresh)
    app.clock.advance(31)
    assert app.refused(phone.refresh) == "reused"
    assert app.role(app.sync.refresh(laptop.refresh)) == "laptop"


def test_signing_out(app: App) -> None:
    """With any token of the family; nothing brings it back, and doing it twice is no error (RFC 7009, 2.2)."""
    first = app.sync.issue("user-42", {"role": "admin"})
    second = app.sync.refresh(first.refresh)
    app.sync.revoke(first.refresh)
    app.sync.revoke(second.refresh)
    assert app.refused(second.refresh) == "ended"
    assert app.refused(first.refresh) == "ended"
    assert app.kinds() == ["session created", "session renewed", "session ended"]
    assert app.bearer.open(f"Bearer {second.access}").owner == "user-42", (
        "good for five minutes, as documented"
    )
    app.clock.advance(300)
    with pytest.raises(BadToken, match="expired"):
        app.bearer.open(f"Bearer {second.access}")


def test_an_ended_session_stays_ended_for_longer_than_any_of_its_tokens(app: App) -> None:
    """Its tombstone is there for as long as the session could have been."""
    pair = app.sync.issue("user-42", {"role": "admin"})
    app.sync.revoke(pair.refresh)
    app.clock.advance(90 * DAY)
    assert app.refused(pair.refresh) == "ended"


def test_idle_and_absolute_time(store: Store, clock: FakeClock) -> None:
    """A token that is not used for thirty days is over, and so is a session of ninety, however busy."""
    app = App(store, clock)
    unused = app.sync.issue("user-42", {"role": "admin"})
    clock.advance(30 * DAY)
    assert app.refused(unused.refresh) == "ended"
    pair = app.sync.issue("user-42", {"role": "admin"})
    for _ in range(3):
        clock.advance(29 * DAY)
        pair = app.sync.refresh(pair.refresh)
    clock.advance(3 * DAY - 60)
    pair = app.sync.refresh(pair.refresh)
    assert pair.expires_in == 60, "no access token outlives its session"
    clock.advance(60)
    assert app.refused(pair.refresh) == "ended"
    with pytest.raises(BadToken, match="expired"):
        app.bearer.open(f"Bearer {pair.access}")
    assert "refresh token reused" not in app.kinds(), "to be late is no theft"


def test_a_session_that_has_expired_is_not_there(app: App) -> None:
    """It is not listed, not read, not changed."""
    handle = app.handle(app.sync.issue("user-42", {"role": "admin"}))
    assert [info.handle for info in app.sync.of("user-42")] == [handle]
    app.clock.advance(30 * DAY)
    assert app.sync.of("user-42") == []
    with pytest.raises(SessionGone):
        app.sync.load(handle)
    with pytest.raises(SessionGone):
        app.sync.change(handle, {"role": "reader"})


def test_timeouts_count_as_they_are_set_today(store: Store, clock: FakeClock) -> None:
    """Whoever makes sessions shorter means those that are there, too."""
    pair = App(store, clock).sync.issue("user-42", {"role": "admin"})
    clock.advance(8 * DAY)
    assert App(store, clock, absolute="7d").refused(pair.refresh) == "ended"
    assert App(store, clock).sync.refresh(pair.refresh)


def test_a_session_that_is_used_lives_on(store: Store, clock: FakeClock) -> None:
    """Each refresh begins the idle time anew."""
    app = App(store, clock, idle="1h", access="5m")
    pair = app.sync.issue("user-42", {"role": "admin"})
    for _ in range(5):
        clock.advance(3599)
        pair = app.sync.refresh(pair.refresh)
    assert app.role(pair) == "admin"


def test_an_administrator_ends_a_session(app: App) -> None:
    """By its handle: once, and it is over."""
    pair, other = (app.sync.issue("user-42", {"role": "admin"}) for _ in range(2))
    assert app.sync.end(app.handle(pair)) is True
    assert app.sync.end(app.handle(pair)) is False
    assert app.refused(pair.refresh) == "ended"
    assert app.role(app.sync.refresh(other.refresh)) == "admin"
    assert ("session revoked", app.handle(pair), "user-42") in [event[:3] for event in app.events]


def test_signing_out_everywhere(app: App) -> None:
    """All of a user's sessions, or all but the one in hand; nobody else's."""
    mine = [app.sync.issue("user-42", {"role": "admin"}) for _ in range(3)]
    app.clock.advance(1)
    last = app.sync.issue("user-42", {"role": "admin"})
    theirs = app.sync.issue("user-43", {"role": "admin"})
    handles = [info.handle for info in app.sync.of("user-42")]
    assert handles[0] == app.handle(last), "the latest first"
    assert set(handles) == {app.handle(each) for each in [*mine, last]}
    assert app.sync.end_all("user-42", but=app.handle(last)) == 3
    assert [app.refused(each.refresh) for each in mine] == ["ended"] * 3
    assert app.sync.end_all("user-42") == 1
    assert app.refused(last.refresh) == "ended"
    assert app.sync.of("user-42") == []
    assert app.role(app.sync.refresh(theirs.refresh)) == "admin"


@pytest.mark.parametrize("age", [0.0, 80 * DAY])
def test_sessions_on_the_same_store_list_and_end_them_too(store: Store, clock: FakeClock, age: float) -> None:
    """`Sessions(store)` is for all sessions of a user, whatever its own timeouts are."""
    app, sessions = App(store, clock, idle="90d"), Sessions(store, keys=KEYS, clock=clock).sync
    pair, other, third = (app.sync.issue("user-42", {"role": "admin"}) for _ in range(3))
    clock.advance(age)
    assert {info.handle for info in sessions.of("user-42")} == {
        info.handle for info in app.sync.of("user-42")
    }
    (handle, *_) = [info.handle for info in sessions.of("user-42")]
    assert sessions.end(handle) is True
    assert sessions.end_all("user-42") == 2
    assert [app.refused(each.refresh) for each in (pair, other, third)] == ["ended"] * 3


def test_a_bearer_leaves_sessions_of_browsers_alone(store: Store, clock: FakeClock) -> None:
    """In a store that both share, it lists, reads and ends what it has begun, and nothing else."""
    app, sessions = App(store, clock), Sessions(store, keys=KEYS, clock=clock)
    session = sessions.open(None)
    session["cart"] = ["tea"]
    session.login("user-42")
    sessions.sync.commit(session)
    handle = str(session.handle)
    assert app.sync.of("user-42") == []
    assert app.sync.end_all("user-42") == 0
    assert app.sync.end(handle) is False
    for call in (lambda: app.sync.load(handle), lambda: app.sync.change(handle, {"cart": []})):
        with pytest.raises(SessionGone):
            call()
    assert len(sessions.sync.of("user-42")) == 1


def test_changed_values_are_told_by_the_next_refresh(app: App) -> None:
    """A role that was taken away is gone with the access token; what was private stays so."""
    pair = app.sync.issue("user-42", {"role": "admin", "oauth_token": "xyzzy"})
    handle = app.handle(pair)
    app.sync.change(handle, {"role": "reader", "cart": ("tea", 3)}, unset=["oauth_token", "nothing"])
    assert app.role(pair) == "admin"
    assert dict(app.sync.load(handle).values) == {"role": "reader", "cart": ("tea", 3)}
    pair = app.sync.refresh(pair.refresh)
    assert dict(app.bearer.open(f"Bearer {pair.access}").values) == {"role": "reader"}
    app.sync.change(handle, {}, unset=["\0refresh", "role"])
    assert dict(app.bearer.open(f"Bearer {app.sync.refresh(pair.refresh).access}").values) == {}


async def test_changes_and_refreshes_at_once(open_store: Callable[[], Store], clock: FakeClock) -> None:
    """Nobody loses anything: every change is kept, and the family advances by one."""
    apps = [App(open_store(), clock) for _ in range(4)]
    pair = await apps[0].bearer.issue("user-42", {"role": "admin"})
    handle = apps[0].handle(pair)
    changes = [app.bearer.change(handle, {f"seen {number}": number}) for number, app in enumerate(apps)]
    pairs = await asyncio.gather(*(app.bearer.refresh(pair.refresh) for app in apps), *changes)
    assert len({each.refresh for each in pairs[:4] if each is not None}) == 1
    assert {f"seen {number}" for number in range(4)} < set((await apps[0].bearer.load(handle)).values)
    assert [kind for app in apps for kind in app.kinds()].count("session renewed") == 1
    for app in apps:
        await app.bearer.aclose()


def test_a_store_that_has_lost_a_refresh(open_store: Callable[[], Store], clock: FakeClock) -> None:
    """A failover takes the store back: a token that it does not know of yet is noticed, and the session ends."""
    store = Losing(open_store())
    app = App(store, clock)
    first = app.sync.issue("user-42", {"role": "admin"})
    store.checkpoint()
    second = app.sync.refresh(first.refresh)
    clock.advance(300)
    third = app.sync.refresh(second.refresh)
    store.roll_back()
    assert app.refused(third.refresh) == "ended"
    assert app.kinds()[-1] == "regression"
    assert app.events[-1].detail == "generation 3 of 1, which is 300 seconds old"
    assert app.refused(first.refresh) == "ended"


def test_a_store_that_has_lost_the_whole_session(open_store: Callable[[], Store], clock: FakeClock) -> None:
    """It is over, and whoever was signed in signs in again."""
    store = Losing(open_store())
    app = App(store, clock)
    store.checkpoint()
    pair = app.sync.issue("user-42", {"role": "admin"})
    store.roll_back()
    assert app.refused(pair.refresh) == "ended"
    assert app.sync.end(app.handle(pair)) is False
    assert app.role(app.sync.issue("user-42", {"role": "again"})) == "again"


@pytest.mark.parametrize("skew", [-29.0, 29.0])
def test_clocks_that_differ(store: Store, clock: FakeClock, skew: float) -> None:
    """Instances whose clocks are apart, by less than the grace, sign nobody out for it."""
    here, there = App(store, clock), App(store, FakeClock(clock.now + skew))
    pair = here.sync.issue("user-42", {"role": "admin"})
    for _ in range(3):
        newest = here.sync.refresh(pair.refresh)
        assert there.sync.refresh(pair.refresh).refresh == newest.refresh  # a lost response
        pair = there.sync.refresh(newest.refresh)
        assert here.sync.refresh(newest.refresh).refresh == pair.refresh
    assert "refresh token reused" not in here.kinds() + there.kinds()


def test_instances_know_each_others_tokens(open_store: Callable[[], Store], clock: FakeClock) -> None:
    """All that they share is the store and the keys; one that was started a moment ago goes on like any other."""
    pair = App(open_store(), clock).sync.issue("user-42", {"role": "admin"})
    for _ in range(3):
        pair = App(open_store(), clock).sync.refresh(pair.refresh)
    assert App(MemoryStore(), clock).role(pair) == "admin", "an access token needs the keys only"
