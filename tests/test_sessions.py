"""The rules of `Sessions`: what is written and when, how sessions end, and what a conflict does."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast import (
    ConfigError,
    Keyring,
    ResponseStarted,
    Session,
    SessionGone,
    SessionNotLoaded,
    Sessions,
    SessionTooLarge,
    StoreError,
    StoreThrottled,
    StoreUnavailable,
)
from holdfast.testing import FakeClock
from recording import RecordingStore, planted

KEYS = Keyring.generate()


class Site:
    """An application's sessions on a recording store, with a browser's way of calling them."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock(1_800_000_000.0)
        self.store = RecordingStore()
        # Without copies: these tests are about the rules, and count what reaches the store.
        self.sessions = Sessions(self.store, keys=KEYS, clock=self.clock, **{"local": None, **settings})

    def open(self, cookie: str | None = None) -> Session:
        """A request's loaded session."""
        session = self.sessions.open(cookie.encode() if cookie else None)
        self.sessions.sync.load(session)
        return session

    def commit(self, session: Session, cookie: str | None = None) -> str | None:
        """Commit, and the `Cookie` header that the browser holds afterwards."""
        self.sessions.sync.commit(session)
        if planted(session) is None:
            return cookie
        pair, *attributes = planted(session).split("; ")
        return None if "Max-Age=0" in attributes else pair

    def start(self, **values: Any) -> str:
        """A stored session with these values; the cookie that names it."""
        session = self.open()
        session.update(values)
        cookie = self.commit(session)
        assert cookie is not None
        self.store.taken()
        return cookie


@pytest.fixture
def site() -> Site:
    return Site()


class TestEconomy:
    """An untouched session is never written, and only what changed is."""

    def test_visitors_who_store_nothing_get_no_session(self, site: Site) -> None:
        """Bots and anonymous visitors do not fill the store (CVE-2015-5963), even if the session is looked at."""
        session = site.open()
        assert dict(session) == {}
        assert session.get("cart") is None
        session["a"] = 1
        del session["a"]
        assert site.commit(session) is None
        assert site.store.taken() == []

    def test_reading_writes_nothing(self, site: Site) -> None:
        """A request that only reads is one load (flask-session#19, lightdash PR 22193)."""
        cookie = site.start(cart=["tea"], n=1)
        session = site.open(cookie)
        assert session["cart"] == ["tea"]
        assert dict(session) == {"cart": ["tea"], "n": 1}
        site.commit(session)
        assert site.store.taken() == ["load"]
        assert planted(session) is None

    def test_setting_the_same_value_writes_nothing(self, site: Site) -> None:
        """What is stored already need not be stored again."""
        session = site.open(site.start(n=1))
        session["n"] = 1
        session["n"] = 2
        session["n"] = 1
        site.commit(session)
        assert site.store.taken() == ["load"]

    @pytest.mark.parametrize("value", [1, True, 1.0, "1", b"1"])
    def test_an_equal_value_of_another_type_is_a_change(self, site: Site, value: object) -> None:
        """`1 == True == 1.0`, but they are not the same value."""
        cookie = site.start(n=None)
        session = site.open(cookie)
        session["n"] = value
        site.commit(session)
        assert type(site.open(cookie)["n"]) is type(value)

    def test_only_changed_keys_are_written(self, site: Site) -> None:
        """Requests in parallel that change different keys both survive, so a change holds its own keys only."""
        cookie = site.start(a=1, b=2, c=[3])
        session = site.open(cookie)
        session["a"] = 9
        session["c"].append(4)
        del session["b"]
        work = session._ledger.work()
        assert set(work.set) == {"a", "c"}
        assert work.unset == {"b"}
        site.commit(session)
        assert dict(site.open(cookie)) == {"a": 9, "c": [3, 4]}

    @pytest.mark.parametrize(
        "change",
        [
            lambda session: session["cart"].append("milk"),
            lambda session: session["deep"]["list"][0]["set"].add(2),
            lambda session: session["pair"][0].append(1),
            lambda session: session["deep"].pop("list"),
            lambda session: session.setdefault("cart", []).append("milk"),
            lambda session: next(iter(session.values())).append("milk"),
        ],
    )
    def test_nested_changes_are_found_without_a_flag(self, site: Site, change: Any) -> None:
        """Nobody sets `modified = True` (starlette PR 3474, flask-session#73)."""
        cookie = site.start(cart=["tea"], deep={"list": [{"set": {1}}]}, pair=([],))
        before = dict(site.open(cookie))
        session = site.open(cookie)
        change(session)
        site.commit(session)
        after = dict(site.open(cookie))
        assert after != before
        assert after == dict(session)

    def test_the_idle_deadline_is_written_once_a_tenth_of_it_has_gone_by(self, site: Site) -> None:
        """A read-only request is almost never a write, and one write extends for all."""
        cookie = site.start(n=1)
        for seconds, commands in ((0, ["load"]), (179, ["load"]), (1, ["load", "commit"]), (1, ["load"])):
            site.clock.advance(seconds)
            session = site.open(cookie)
            assert session["n"] == 1
            site.commit(session)
            assert site.store.taken() == commands

    def test_an_untouched_session_is_never_written(self, site: Site) -> None:
        """Not even its deadline, if the handler has not looked at it."""
        cookie = site.start(n=1)
        site.clock.advance(1700)
        site.commit(site.open(cookie))
        assert site.store.taken() == ["load"]

    def test_a_failing_renewal_does_not_disturb_a_reader(self, site: Site) -> None:
        """The deadline is written on the side; the request has its data already."""
        cookie = site.start(n=1)
        site.clock.advance(600)
        session = site.open(cookie)
        assert session["n"] == 1
        site.store.failure = ConnectionError("down")
        site.commit(session)


class TestTimeouts:
    """Idle and absolute timeouts are both enforced, on the server side (starsessions#31)."""

    def test_idle(self, site: Site) -> None:
        """Unused for longer than `idle`: gone."""
        cookie = site.start(n=1)
        site.clock.advance(1799)
        assert "n" in site.open(cookie)
        site.clock.advance(1)
        assert "n" not in site.open(cookie)

    def test_absolute(self) -> None:
        """Used all the time, it ends all the same."""
        site = Site(idle="30m", absolute="2h")
        cookie = site.start(n=1)
        for _ in range(11):
            site.clock.advance(600)
            session = site.open(cookie)
            assert session["n"] == 1
            site.commit(session)
        site.clock.advance(600)
        assert dict(site.open(cookie)) == {}

    def test_a_shorter_absolute_timeout_holds_for_stored_sessions(self) -> None:
        """A deployment that shortens the limit means it for everybody."""
        site = Site(absolute="12h", idle="6h")
        cookie = site.start(n=1)
        site.clock.advance(7200)
        site.sessions = Sessions(site.store, keys=KEYS, clock=site.clock, local=None, absolute="1h")
        assert dict(site.open(cookie)) == {}

    def test_an_expired_session_is_not_brought_back_by_a_slow_request(self, site: Site) -> None:
        """It was live when it was loaded, but the time is over at commit."""
        cookie = site.start(n=1)
        session = site.open(cookie)
        session["n"] = 2
        site.clock.advance(1801)
        with pytest.raises(SessionGone):
            site.commit(session)
        assert dict(site.open(cookie)) == {}

    def test_an_instance_that_froze_in_the_middle_of_a_read_plants_nothing(self, site: Site) -> None:
        """It thaws long after the deadline that it read, which others may have moved: no other identity is given."""
        cookie = site.start(n=1)
        note = site.store._note

        def freeze(command: str) -> None:
            note(command)
            site.clock.advance(1801)

        site.store._note = freeze  # type: ignore[method-assign]
        session = site.open(cookie)
        site.store._note = note  # type: ignore[method-assign]
        assert session["n"] == 1
        session["n"] = 2
        with pytest.raises(SessionGone):
            site.commit(session)
        assert planted(session) is None

    def test_an_expired_session_makes_room_for_a_new_one(self, site: Site) -> None:
        """Expired is not ended: the visitor begins anew, under a new identity."""
        cookie = site.start(n=1)
        site.clock.advance(1801)
        session = site.open(cookie)
        assert session.is_new
        session["n"] = 2
        fresh = site.commit(session)
        assert fresh is not None
        assert fresh != cookie
        assert site.open(fresh)["n"] == 2

    @pytest.mark.parametrize("text", ["90s", 90, 90.0, timedelta(seconds=90), "1.5m"])
    def test_durations(self, text: Any) -> None:
        """A number of seconds, a text with its unit, or a timedelta."""
        assert Sessions("memory://", idle=text)._timeouts.idle == 90

    @pytest.mark.parametrize(
        "text", ["", "90", "30 m", "-5s", 0, -1, "1w", None, True, float("inf"), float("nan")]
    )
    def test_wrong_durations_are_refused_at_construction(self, text: Any) -> None:
        """The error names the setting."""
        with pytest.raises(ConfigError, match="idle="):
            Sessions("memory://", idle=text)


class TestParallelRequests:
    """No lost update (design §2, promise 2)."""

    def test_different_keys_both_survive(self, site: Site) -> None:
        """pallets-eco/flask-session#71, bbangert/beaker#9, Django ticket 6984."""
        cookie = site.start(a=0, b=0)
        one, two = site.open(cookie), site.open(cookie)
        one["a"] = 1
        two["b"] = 2
        two["c"] = 3
        site.commit(one)
        site.commit(two)
        assert dict(site.open(cookie)) == {"a": 1, "b": 2, "c": 3}

    def test_the_last_write_wins_for_one_key(self, site: Site) -> None:
        """The visible policy for plain assignment."""
        cookie = site.start(a=0)
        one, two = site.open(cookie), site.open(cookie)
        one["a"] = 1
        two["a"] = 2
        site.commit(two)
        site.commit(one)
        assert site.open(cookie)["a"] == 1

    def test_alter_never_loses_a_concurrent_one(self, site: Site) -> None:
        """Both started from the same version; the second is applied again to what the first left."""
        cookie = site.start(visits=10)
        one, two = site.open(cookie), site.open(cookie)
        assert one.alter("visits", lambda n: n + 1) == 11
        assert two.alter("visits", lambda n: n + 1) == 11
        site.commit(one)
        site.commit(two)
        assert two["visits"] == 12
        assert site.open(cookie)["visits"] == 12

    def test_alter_with_a_default_that_is_changed_in_place(self, site: Site) -> None:
        """The default is fresh for each application: no element is added twice."""
        cookie = site.start(x=1)

        def add(item: str) -> Any:
            return lambda cart: cart.append(item) or cart

        one, two = site.open(cookie), site.open(cookie)
        one.alter("cart", add("tea"), default=[])
        two.alter("cart", add("milk"), default=[])
        two.alter("cart", add("bread"), default=[])
        site.commit(one)
        site.commit(two)
        assert site.open(cookie)["cart"] == ["tea", "milk", "bread"]

    def test_alter_wins_at_last_against_many(self, site: Site) -> None:
        """Each round somebody else is faster, forty times in a row."""
        cookie = site.start(visits=0)
        rival_turns = 40

        def rival() -> None:
            nonlocal rival_turns
            other = site.open(cookie)
            other.alter("visits", lambda n: n + 1)
            site.commit(other)
            rival_turns -= 1
            if rival_turns:
                site.store.before_commit = rival

        session = site.open(cookie)
        session.alter("visits", lambda n: n + 1)
        site.store.before_commit = rival
        site.commit(session)
        assert site.open(cookie)["visits"] == 41

    def test_alter_gives_up_in_bounded_time_and_says_so(self, site: Site, monkeypatch: Any) -> None:
        """Against a rival without end the request fails as one that may be tried again; nothing is acknowledged."""
        monkeypatch.setattr("holdfast._colour.time.sleep", lambda seconds: None)
        cookie = site.start(visits=0)

        def rival() -> None:
            other = site.open(cookie)
            other["noise"] = site.open(cookie).get("noise", 0) + 1
            site.commit(other)
            site.store.before_commit = rival

        session = site.open(cookie)
        session.alter("visits", lambda n: n + 1)
        site.store.before_commit = rival
        with pytest.raises(StoreThrottled):
            site.commit(session)
        site.store.before_commit = None
        assert site.open(cookie)["visits"] == 0

    def test_a_value_changed_after_alter_is_written_as_it_stands(self, site: Site) -> None:
        """In-place changes and `alter` of one key in one request are both kept."""
        cookie = site.start(cart=["a"])
        session = site.open(cookie)
        session.alter("cart", lambda cart: [*cart, "b"]).append("c")
        site.commit(session)
        assert site.open(cookie)["cart"] == ["a", "b", "c"]

    def test_alter_after_a_change_in_place_keeps_both(self, site: Site) -> None:
        """And the other way round, even when another request was faster."""
        cookie = site.start(cart=["a"])
        session = site.open(cookie)
        session["cart"].append("b")
        session.alter("cart", lambda cart: [*cart, "c"])
        other = site.open(cookie)
        other["x"] = 1
        site.commit(other)
        site.commit(session)
        assert dict(site.open(cookie)) == {"cart": ["a", "b", "c"], "x": 1}

    def test_alter_sets_deletes_and_sets_again(self, site: Site) -> None:
        """The steps of one request follow each other as they are written."""
        cookie = site.start(n=5)
        session = site.open(cookie)
        del session["n"]
        assert session.alter("n", lambda n: n + 1, default=0) == 1
        session.alter("m", lambda m: m + 1, default=0)
        session["m"] = 7
        session.alter("m", lambda m: m * 2)
        site.commit(session)
        assert dict(site.open(cookie)) == {"n": 1, "m": 14}

    def test_two_requests_never_share_an_object(self, site: Site) -> None:
        """What one handler changes in place, another does not see before it is committed."""
        cookie = site.start(cart=["tea"])
        one, two = site.open(cookie), site.open(cookie)
        one["cart"].append("milk")
        assert two["cart"] == ["tea"]
        assert one["cart"] is not two["cart"]


class TestIdentity:
    """Login, rotation and logout."""

    def test_login_takes_the_data_to_a_new_identity(self, site: Site) -> None:
        """No fixation: whoever knew the identity before knows nothing after."""
        old = site.start(cart=["tea"])
        session = site.open(old)
        before = session.handle
        session.login("user-42")
        session["hello"] = True
        assert session.owner == "user-42"
        new = site.commit(session)
        assert new is not None
        assert new != old
        assert session.handle != before
        assert dict(site.open(new)) == {"cart": ["tea"], "hello": True}
        assert site.open(new).owner == "user-42"
        assert site.open(old).owner is None
        assert dict(site.open(old)) == {}

    def test_login_without_a_session_makes_one(self, site: Site) -> None:
        """Signing in is something to remember, even if nothing else is stored."""
        session = site.open()
        session.login("user-42")
        assert site.open(site.commit(session)).owner == "user-42"

    def test_login_starts_the_absolute_timeout_anew_and_rotation_does_not(self) -> None:
        """A cart of yesterday does not sign the user out; renewing an identity does not extend a session."""
        site = Site(idle="2h", absolute="2h")
        cookie = site.start(cart=[])
        site.clock.advance(3600)
        session = site.open(cookie)
        session.rotate()
        cookie = site.commit(session) or ""
        assert session.expires_at == site.clock() + 3600
        session = site.open(cookie)
        session.login("user-42")
        site.commit(session)
        assert session.expires_at == site.clock() + 7200
        assert session.created_at == site.clock()

    def test_rotation_keeps_owner_and_data(self, site: Site) -> None:
        """For a change of privilege."""
        session = site.open(site.start(a=1))
        session.login("user-42")
        cookie = site.commit(session)
        session = site.open(cookie)
        session.rotate()
        rotated = site.commit(session, cookie)
        assert rotated != cookie
        assert (site.open(rotated).owner, dict(site.open(rotated))) == ("user-42", {"a": 1})
        assert [info.handle for info in site.sessions.sync.of("user-42")] == [session.handle]

    def test_nothing_acknowledged_is_left_behind_by_a_login(self, site: Site) -> None:
        """A change committed while the login is under way goes along to the new identity."""
        old = site.start(cart=["tea"], visits=1)
        late = site.open(old)
        late["late"] = "yes"
        late.alter("visits", lambda n: n + 1)
        site.store.before_commit = lambda: site.commit(late) and None
        session = site.open(old)
        session.alter("visits", lambda n: n + 1)
        session.login("user-42")
        new = site.commit(session)
        assert dict(site.open(new)) == {"cart": ["tea"], "visits": 3, "late": "yes"}

    def test_a_slow_request_cannot_write_to_the_old_identity(self, site: Site) -> None:
        """It loaded the session before the login; its write is refused, not lost silently, and revives nothing."""
        old = site.start(cart=["tea"])
        slow = site.open(old)
        session = site.open(old)
        session.login("user-42")
        new = site.commit(session)
        slow["cart"] = ["forged"]
        with pytest.raises(SessionGone):
            site.commit(slow)
        assert site.open(new)["cart"] == ["tea"]
        assert dict(site.open(old)) == {}

    def test_a_late_request_never_plants_another_identity(self, site: Site) -> None:
        """auth0/nextjs-auth0#544: its browser holds a newer cookie by now. It may read nothing and write nothing."""
        old = site.start(cart=["tea"])
        session = site.open(old)
        session.login("user-42")
        site.commit(session)
        for act in (lambda s: s.update(a=1), lambda s: s.login("user-42"), lambda s: s.logout()):
            late = site.open(old)
            assert dict(late) == {}
            act(late)
            with pytest.raises(SessionGone):
                site.commit(late)
            assert planted(late) is None

    @pytest.mark.parametrize("step", ["commit", "end"])
    def test_a_late_request_in_the_middle_of_a_rotation_plants_nothing_either(
        self, site: Site, step: str
    ) -> None:
        """Between the seal and the tombstone, or if the instance is killed there: no identity, no write."""
        old = site.start(cart=["tea"])
        login = site.open(old)
        login.login("user-42")
        refused = []

        def look() -> None:
            late = site.open(old)
            assert dict(late) == {}
            late["cart"] = ["milk"]
            with pytest.raises(SessionGone):
                site.commit(late)
            refused.append(planted(late))

        note = site.store._note

        def before_the_tombstone(command: str) -> None:
            note(command)
            if command == "end" and not refused:
                look()
                if step == "commit":
                    raise KeyboardInterrupt("killed here")

        site.store._note = before_the_tombstone  # type: ignore[method-assign]
        if step == "end":
            assert site.open(site.commit(login)).owner == "user-42"
        else:
            with pytest.raises(KeyboardInterrupt):
                site.commit(login)
            look()
        assert set(refused) == {None}

    def test_a_rotation_that_is_sealed_reaches_its_browser(self, site: Site) -> None:
        """Though the store goes away before the tombstone: the old identity is over, so the new one must be told."""
        old = site.start(cart=["tea"])
        login = site.open(old)
        login.login("user-42")
        note = site.store._note

        def fail_at_the_end(command: str) -> None:
            note(command)
            if command == "end":
                raise ConnectionError("gone away")

        site.store._note = fail_at_the_end  # type: ignore[method-assign]
        new = site.open(site.commit(login))
        assert (new.owner, dict(new)) == ("user-42", {"cart": ["tea"]})
        late = site.open(old)
        late["cart"] = ["milk"]
        with pytest.raises(SessionGone):
            site.commit(late)

    def test_logout_ends_the_session_everywhere(self, site: Site) -> None:
        """CVE-2025-46336, connect-redis#328: nothing brings it back."""
        cookie = site.start(cart=["tea"])
        slow = site.open(cookie)
        session = site.open(cookie)
        session.logout()
        assert dict(session) == {}
        assert site.commit(session) is None
        slow["cart"] = ["again"]
        with pytest.raises(SessionGone):
            site.commit(slow)
        assert dict(site.open(cookie)) == {}

    def test_logging_out_twice_is_no_error(self, site: Site) -> None:
        """A double click; the second answer must not clear a cookie that the browser may have got meanwhile."""
        cookie = site.start(cart=["tea"])
        for _ in range(2):
            session = site.open(cookie)
            session.logout()
            site.commit(session)
        assert planted(session) is None

    def test_a_new_session_after_logout_in_one_request(self, site: Site) -> None:
        """For a farewell message: new identity, nothing of the old data."""
        cookie = site.start(cart=["tea"])
        session = site.open(cookie)
        session.logout()
        session["message"] = "goodbye"
        new = site.commit(session)
        assert new not in (None, cookie)
        assert dict(site.open(new)) == {"message": "goodbye"}
        assert dict(site.open(cookie)) == {}

    def test_some_time_after_its_end_a_browser_may_begin_anew(self, site: Site) -> None:
        """A user whose session an administrator ended can sign in again with the old cookie still in the browser."""
        cookie = site.start(n=1)
        assert site.sessions.sync.end(str(site.open(cookie).handle))
        late = site.open(cookie)
        late["n"] = 2
        with pytest.raises(SessionGone):
            site.commit(late)
        site.clock.advance(31)
        session = site.open(cookie)
        session.login("user-42")
        assert site.open(site.commit(session)).owner == "user-42"

    def test_logout_of_an_unknown_session_clears_the_cookie(self, site: Site) -> None:
        """Its record is gone; the user wants out all the same."""
        cookie = site.start(n=1)
        site.clock.advance(100_000)
        session = site.open(cookie)
        session.logout()
        assert site.commit(session, cookie) is None

    @pytest.mark.parametrize("owner", ["", None, 42, b"user"])
    def test_an_owner_is_a_text(self, site: Site, owner: Any) -> None:
        """Refused where the handler calls it."""
        with pytest.raises(TypeError):
            site.open().login(owner)


class TestAdministration:
    """Listing and ending the sessions of a user (flask-session#222)."""

    def sign_in(self, site: Site, owner: str) -> tuple[str, str]:
        session = site.open()
        session.login(owner)
        cookie = site.commit(session)
        return str(cookie), str(session.handle)

    def test_of_lists_live_sessions_the_latest_first(self, site: Site) -> None:
        """Ended and expired ones are not in it, nor anybody else's."""
        _, first = self.sign_in(site, "ann")
        site.clock.advance(10)
        _, second = self.sign_in(site, "ann")
        cookie, _ = self.sign_in(site, "ann")
        self.sign_in(site, "bob")
        session = site.open(cookie)
        session.logout()
        site.commit(session)
        assert [info.handle for info in site.sessions.sync.of("ann")] == [second, first]
        site.clock.advance(1795)
        assert [info.handle for info in site.sessions.sync.of("ann")] == [second]

    async def test_async_callers_have_the_same_names(self, site: Site) -> None:
        """`await sessions.of(…)`, `.end`, `.end_all`, `.sweep`."""
        handles = [self.sign_in(site, "ann")[1] for _ in range(3)]
        assert len(await site.sessions.of("ann")) == 3
        assert await site.sessions.end(handles[0]) is True
        assert await site.sessions.end(handles[0]) is False
        assert await site.sessions.end_all("ann", but=handles[1]) == 1
        assert [info.handle for info in await site.sessions.of("ann")] == [handles[1]]
        assert await site.sessions.sweep() >= 0

    def test_a_revoked_session_is_refused_at_once(self, site: Site) -> None:
        """On every instance: nothing but the store answers."""
        cookie, handle = self.sign_in(site, "ann")
        other_instance = Sessions(site.store, keys=KEYS, clock=site.clock)
        assert other_instance.sync.end(handle)
        assert site.open(cookie).owner is None

    @pytest.mark.parametrize("handle", ["", "x", "../../etc", "0" * 63, "Z" * 64, "é" * 64, "0" * 64])
    def test_a_handle_that_is_none_costs_no_more_than_a_load(self, site: Site, handle: str) -> None:
        """Handles come from web forms: nonsense is simply no session."""
        assert site.sessions.sync.end(handle) is False
        assert site.store.taken() in ([], ["load"])

    def test_sweep_forgets_what_has_expired(self, site: Site) -> None:
        """For stores that do not do so themselves."""
        site.start(n=1)
        site.clock.advance(100_000)
        assert site.sessions.sync.sweep() == 1
        assert site.sessions.sync.sweep() == 0


class TestFailures:
    """An outage is not a logout (promise 7), and nothing is acknowledged that was not stored (promise 1)."""

    @pytest.mark.parametrize(
        ("failure", "expected"),
        [
            (ConnectionError("refused"), StoreUnavailable),
            (TimeoutError(), StoreUnavailable),
            (OSError(28, "full"), StoreUnavailable),
            (RuntimeError("odd"), StoreError),
        ],
    )
    def test_errors_of_the_store_are_wrapped_once(
        self, site: Site, failure: Exception, expected: type[StoreError]
    ) -> None:
        """With the client's own error as the cause, and no secret in the text."""
        session = site.open()
        session["a"] = 1
        site.store.failure = failure
        with pytest.raises(StoreError) as caught:
            site.commit(session)
        assert type(caught.value) is expected
        assert caught.value.__cause__ is failure
        assert planted(session) is None

    def test_a_session_that_cannot_be_loaded_raises_when_it_is_touched(self, site: Site) -> None:
        """Not before: a request that needs no session does not notice."""
        cookie = site.start(n=1)
        site.store.failure = ConnectionError()
        session = site.open(cookie)
        for touch in (
            lambda: session["n"],
            lambda: session.get("n"),
            lambda: len(session),
            lambda: session.owner,
            lambda: session.login("ann"),
            lambda: session.logout(),
            lambda: session.update(a=1),
        ):
            with pytest.raises(StoreUnavailable):
                touch()
        site.commit(session)
        assert planted(session) is None

    def test_it_can_be_loaded_once_the_store_is_back(self, site: Site) -> None:
        """`await session.load()` tries again."""
        cookie = site.start(n=1)
        site.store.failure = ConnectionError()
        session = site.open(cookie)
        site.store.failure = None
        site.sessions.sync.load(session)
        assert session["n"] == 1

    def test_outage_anonymous_reads_nothing_and_writes_nothing(self) -> None:
        """Treated as signed out for this request, the cookie stays, and no other one is planted."""
        site = Site(outage="anonymous")
        cookie = site.start(n=1)
        site.store.failure = ConnectionError()
        session = site.open(cookie)
        assert dict(session) == {}
        site.commit(session)
        site.store.failure = None
        session["n"] = 2
        with pytest.raises(StoreUnavailable):
            site.commit(session)
        assert planted(session) is None
        assert site.open(cookie)["n"] == 1

    def test_an_unknown_outage_policy_is_refused(self) -> None:
        """At construction."""
        with pytest.raises(ConfigError, match="outage="):
            Sessions("memory://", outage="ignore")  # type: ignore[arg-type]

    def test_a_value_that_cannot_be_kept_is_refused_before_anything_is_written(self, site: Site) -> None:
        """At the assignment where that is seen, at the latest at commit."""
        session = site.open(site.start(cart=[]))
        with pytest.raises(TypeError, match=r"session\['x'\]\['y'\]"):
            session["x"] = {"y": object()}
        with pytest.raises(TypeError, match="keys are str"):
            session[1] = "x"  # type: ignore[index]
        with pytest.raises(TypeError, match="Unicode"):
            session["\ud800"] = "x"
        session["good"] = 1
        session["cart"].append(object())
        with pytest.raises(TypeError, match=r"session\['cart'\]\[0\]"):
            site.commit(session)
        assert site.store.taken() == ["load"]

    def test_a_session_that_is_too_large_names_the_largest_keys(self, site: Site) -> None:
        """Nothing is written, neither new nor by addition."""
        site.store.max_bytes = 10_000
        site.sessions = Sessions(site.store, keys=KEYS, clock=site.clock, local=None)
        session = site.open()
        session["blob"] = b"x" * 20_000
        with pytest.raises(SessionTooLarge, match="'blob'"):
            site.commit(session)
        assert site.store.taken() == []
        session = site.open(site.start(a=b"x" * 6000))
        session["b"] = b"x" * 5000
        with pytest.raises(SessionTooLarge, match="'a'"):
            site.commit(session)
        assert "commit" not in site.store.taken()

    def test_an_unloaded_session_says_so(self, site: Site) -> None:
        """Under `lazy=True`, forgetting to load it is a clear error."""
        session = site.sessions.open(site.start(n=1).encode())
        with pytest.raises(SessionNotLoaded, match=r"await session\.load"):
            session["n"]
        assert "not loaded" in repr(session)

    def test_a_change_that_needs_a_cookie_comes_too_late_once_the_response_has_begun(
        self, site: Site
    ) -> None:
        """Committed by hand, other changes are kept; a new identity could not reach the browser."""
        for act in (lambda s: s.login("ann"), lambda s: s.logout(), lambda s: s.rotate()):
            session = site.open(site.start(n=1))
            session._started = True
            act(session)
            site.store.taken()
            with pytest.raises(ResponseStarted):
                site.commit(session)
            assert site.store.taken() == []

    def test_what_is_no_store_is_refused_at_construction(self) -> None:
        """And so are other misconfigurations, each with what to do."""
        with pytest.raises(ConfigError, match="no method"):
            Sessions(object(), keys=KEYS)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="no store is known"):
            Sessions("mysql://x", keys=KEYS)
        with pytest.raises(ConfigError, match="holdfast keys new"):
            Sessions("memory://", keys="short")
        with pytest.raises(ConfigError, match="cookie"):
            Sessions("memory://", cookie_name="a b")


class TestDefaults:
    """`Sessions()` on a developer's machine works; on a serverless platform it refuses what would lose sessions."""

    @pytest.fixture(autouse=True)
    def _nowhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for name in ("HOLDFAST_STORE", "HOLDFAST_KEYS"):
            monkeypatch.delenv(name, raising=False)

    def test_embedded_default(self, tmp_path: Path) -> None:
        """A SQLite file and a key file that only its owner reads, and sessions that outlive the process."""
        first = Sessions()
        assert (tmp_path / "holdfast.keys").stat().st_mode & 0o077 == 0
        session = first.open(None)
        session["n"] = 1
        first.sync.commit(session)
        second = Sessions()
        again = second.open((planted(session) or "").split(";")[0].encode())
        second.sync.load(again)
        assert again["n"] == 1

    def test_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """HOLDFAST_STORE and HOLDFAST_KEYS, newest key first."""
        monkeypatch.setenv("HOLDFAST_STORE", "memory://")
        monkeypatch.setenv("HOLDFAST_KEYS", f"{Keyring.new_secret()}, {Keyring.new_secret()}")
        Sessions()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "platform", ["AWS_LAMBDA_FUNCTION_NAME", "K_SERVICE", "FUNCTIONS_WORKER_RUNTIME"]
    )
    def test_serverless(self, monkeypatch: pytest.MonkeyPatch, platform: str, tmp_path: Path) -> None:
        """Per-instance files and keys would lose every session (aspnetcore#2520): an error says what to set."""
        monkeypatch.setenv(platform, "shop")
        with pytest.raises(ConfigError, match=rf"{platform}.*HOLDFAST_STORE"):
            Sessions()
        monkeypatch.setenv("HOLDFAST_STORE", f"sqlite:///{tmp_path}/shared.db")
        with pytest.raises(ConfigError, match=r"HOLDFAST_KEYS.*holdfast keys new"):
            Sessions()
        monkeypatch.setenv("HOLDFAST_KEYS", Keyring.new_secret())
        Sessions()


async def test_a_blocking_store_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    """Async callers of SQLite wait in a worker thread: the loop goes on meanwhile."""
    sessions = Sessions(f"sqlite:///{tmp_path}/s.db", keys=KEYS)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticker = asyncio.create_task(tick())
    session = sessions.open(None)
    session["n"] = 1
    before = ticks
    await sessions.commit(session)
    ticker.cancel()
    assert ticks > before
