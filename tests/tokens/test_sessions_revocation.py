"""Ending sessions that travel: at once where it is done, everywhere within the stated time, for good."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest
from token_site import Site, Tab

from holdfast import Bearer, ConfigError, Keyring, Session, Sessions
from holdfast.testing import FakeClock
from holdfast.tokens import Token
from recording import RecordingStore

FORMATS: dict[str, dict[str, Any]] = {
    "jwe": {},
    "jws": {"format": "jws", "public": {"a", "b"}},
    "paseto": {"format": "paseto"},
}


class Watched(Site):
    """A site with a store for revocation."""

    def __init__(self, settings: dict[str, Any] | None = None, **more: Any) -> None:
        self.store = RecordingStore()
        super().__init__(Token(**(settings or {}), revocation=self.store, revoke_within="5s"), **more)

    async def signed_in(self, owner: str = "ann") -> Tab:
        """A browser whose session both instances have served."""
        tab = self.tab()
        await tab.do(lambda session: session.login(owner))
        for instance in (0, 1):
            assert await tab.do(lambda session: session.owner, instance) == owner
        self.store.taken()
        return tab


def copy_of(tab: Tab) -> Tab:
    """A thief's browser, with the same cookies."""
    thief = tab.beside()
    thief.jar = dict(tab.jar)
    return thief


@pytest.mark.parametrize("settings", FORMATS.values(), ids=FORMATS)
class TestEndings:
    """After each kind of ending, a copied token opens nothing: here at once, there within five seconds."""

    async def refused(self, site: Watched, thief: Tab) -> None:
        """Refused at once on instance 0, and on instance 1 when its answer is older than the bound."""
        assert await thief.see(0) == {}
        assert await thief.do(lambda session: session.owner, 0) is None
        site.clock.advance(5.1)
        assert await thief.do(lambda session: session.owner, 1) is None
        assert await thief.status(lambda session: session.update(a=1), 1) == 409
        assert thief.cookies_set == []

    async def test_logout(self, settings: dict[str, Any]) -> None:
        """Whoever has copied the cookie is out too."""
        site = Watched(settings)
        tab = await site.signed_in()
        thief = copy_of(tab)
        await tab.do(lambda session: session.logout())
        await self.refused(site, thief)
        assert "session ended" in site.kinds()

    async def test_an_administrator_ends_a_session(self, settings: dict[str, Any]) -> None:
        """By its handle, as the session itself tells it."""
        site = Watched(settings)
        tab = await site.signed_in()
        handle = await tab.do(lambda session: session.handle)
        other = await site.signed_in()
        assert await site.instances[0].end(handle) is True
        assert await other.do(lambda session: session.owner) == "ann"
        await self.refused(site, tab)
        assert "session revoked" in site.kinds()

    async def test_an_administrator_signs_a_user_out(self, settings: dict[str, Any]) -> None:
        """All sessions of the user's, and nobody else's."""
        site = Watched(settings)
        tabs = [await site.signed_in() for _ in range(2)]
        bob = await site.signed_in("bob")
        site.sync.end_all("ann")
        assert await bob.do(lambda session: session.owner) == "bob"
        await self.refused(site, tabs[0])
        assert await tabs[1].do(lambda session: session.owner, 1) is None

    async def test_login_ends_the_old_identity(self, settings: dict[str, Any]) -> None:
        """The token from before is refused; a logout with it is not called a success."""
        site = Watched(settings)
        tab = await site.signed_in()
        old = copy_of(tab)
        await tab.do(lambda session: session.rotate())
        assert await old.status(lambda session: session.logout()) == 409
        await self.refused(site, old)
        assert await tab.do(lambda session: session.owner) == "ann"

    async def test_within_the_bound_another_instance_may_still_serve(self, settings: dict[str, Any]) -> None:
        """What is stated is also what is: until five seconds have gone, its last answer counts."""
        site = Watched(settings)
        tab = await site.signed_in()
        thief = copy_of(tab)
        await tab.do(lambda session: session.logout(), 0)
        site.clock.advance(5)
        assert await thief.do(lambda session: session.owner, 1) == "ann"
        site.clock.advance(0.1)
        assert await thief.do(lambda session: session.owner, 1) is None

    async def test_a_cold_instance_asks(self, settings: dict[str, Any]) -> None:
        """It knows nothing yet, so it is never wrong."""
        site = Watched(settings, instances=3)
        tab = await site.signed_in()
        thief = copy_of(tab)
        await tab.do(lambda session: session.logout(), 0)
        assert await thief.do(lambda session: session.owner, 2) is None


class TestOneStoreForSeveral:
    """Applications and transports that share a store for endings do not get in each other's way."""

    async def test_each_signs_out_its_own(self) -> None:
        """The same user, the same keys: `end_all` is about the tokens of the application that it is called on."""
        store, keys = RecordingStore(), Keyring.generate()
        for about in (
            {"cookie_name": "other"},
            {"transport": "header"},
            {"token": Token(revocation=store, audience="other")},
            {"token": Token(revocation=store, issuer="other")},
        ):
            token = about.pop("token", Token(revocation=store))
            one = Site(Token(revocation=store), keys=keys)
            other = Sessions(token=token, keys=keys, clock=one.clock, **about)
            tab = one.tab()
            await tab.do(lambda session: session.login("1"))
            await other.end_all("1")
            one.clock.advance(6)
            assert await tab.do(lambda session: session.owner) == "1"

    async def test_a_short_note_does_not_take_the_place_of_a_long_one(self) -> None:
        """Signed out of an application whose sessions last 90 days, then of one with 12 hours: the former stays so."""
        store, keys = RecordingStore(), Keyring.generate()
        lives = {"idle": "30d", "absolute": "90d"}
        mobile = Site(Token(revocation=store), keys=keys, transport="header", **lives)
        web = Sessions(token=Token(revocation=store), keys=keys, clock=mobile.clock)
        alike = Sessions(token=Token(revocation=store), keys=keys, clock=mobile.clock, transport="header")
        sessions = mobile.instances[0]
        session = sessions.open(None, [])
        session.login("zoe")
        await sessions.commit(session)
        stolen = session._outgoing()
        await mobile.instances[0].end_all("zoe")
        mobile.clock.advance(60)
        await web.end_all("zoe")
        await alike.end_all("zoe")
        mobile.clock.advance(13 * 3_600)
        await web.sweep()
        fresh = Sessions(
            token=Token(revocation=store), keys=keys, clock=mobile.clock, transport="header", **lives
        )
        late = fresh.open(None, stolen)
        await fresh.load(late)
        assert late.owner is None

    async def test_a_bearer_and_those_who_read_its_access_tokens_share_theirs(self) -> None:
        """What the Bearer ends is refused by `Sessions(transport="bearer")`, and what web sessions end is not."""
        store, keys, clock = RecordingStore(), Keyring.generate(), FakeClock(1.8e9)
        token = Token("jws", public={"role"}, revocation=store)
        bearer = Bearer(RecordingStore(), token, keys=keys, clock=clock)
        api = Sessions(token=token, transport="bearer", keys=keys, cookie_name="api", clock=clock)
        pair = await bearer.issue("1", {"role": "a"})
        headers = [(b"authorization", b"Bearer " + pair.access.encode())]

        async def owner() -> str | None:
            session = api.open(None, headers)
            await api.load(session)
            return session.owner

        await Sessions(token=token, keys=keys, clock=clock).end_all("1")
        assert await owner() == "1"
        await bearer.end(bearer.open("Bearer " + pair.access).handle)
        clock.advance(6)
        assert await owner() is None


class TestStrong:
    """A route that asks for a strong read hears what the store has to say now."""

    async def test_signed_out_a_moment_ago(self) -> None:
        """On another instance: before the first look, and also after it; in both colours."""
        site = Watched(instances=3)
        tab = await site.signed_in()
        thief = copy_of(tab)
        cookie = tab.cookie.encode()
        await tab.do(lambda session: session.logout(), 0)

        async def strong(session: Session) -> tuple[str | None, str | None]:
            before = session.owner
            await session.load("strong")
            return before, session.owner

        assert await thief.do(strong, 1) == ("ann", None)
        session = site.instances[1].open(cookie)
        site.instances[1].sync.load(session, "strong")
        assert session.owner is None

    async def test_what_it_costs(self) -> None:
        """One command for the session, one for its user."""
        site = Watched()
        tab = await site.signed_in()
        await tab.do(lambda session: session.load("strong"))
        assert site.store.taken() == ["load", "load"]

    async def test_before_the_session_is_changed(self) -> None:
        """`ConfigError`, as with sessions in a store."""
        site = Watched()
        tab = await site.signed_in()

        async def act(session: Session) -> None:
            session["a"] = 1
            await session.load("strong")

        with pytest.raises(ConfigError, match="strong"):
            await tab.do(act)

    async def test_an_outage(self) -> None:
        """503: what was heard before is not good enough for whoever asked to be sure."""
        site = Watched()
        tab = await site.signed_in()
        site.store.failure = ConnectionError("away")

        async def act(session: Session) -> None:
            await session.load("strong")
            dict(session)

        assert await tab.status(dict) == 200
        assert await tab.status(act) == 503

    async def test_what_is_held_is_read_again(self) -> None:
        """Another tab has changed it since."""
        site = Site(Token(private={"p"}, spill=RecordingStore()))
        tab = site.tab()
        await tab.put(p=1)
        other = tab.beside()
        other.jar = dict(tab.jar)

        async def act(session: Session) -> tuple[Any, Any]:
            before = session["p"]
            await other.put(p=2)
            await session.load("strong")
            return before, session["p"]

        assert await tab.do(act) == (1, 2)


class TestAfterwards:
    """Ended is not locked out."""

    async def test_signing_in_again_where_the_old_token_still_is(self) -> None:
        """Ended by an administrator, the browser keeps its dead token: half a minute later it may begin anew."""
        site = Watched()
        tab = await site.signed_in()
        site.sync.end(await tab.do(lambda session: session.handle))
        assert await tab.status(lambda session: session.login("ann")) == 409
        site.clock.advance(30)
        await tab.do(lambda session: session.login("ann"))
        assert await tab.do(lambda session: session.owner, 1) == "ann"

    async def test_signing_in_right_after_being_signed_out_everywhere(self) -> None:
        """In another browser, on any instance, in the same second: this session counts."""
        site = Watched()
        old = await site.signed_in()
        await site.instances[0].end_all("ann")
        fresh = site.tab()
        await fresh.do(lambda session: session.login("ann"), 1)
        for instance in (0, 1):
            assert await fresh.do(lambda session: session.owner, instance) == "ann"
        site.clock.advance(6)
        for instance in (0, 1):
            assert await fresh.do(lambda session: session.owner, instance) == "ann"
            assert await old.do(lambda session: session.owner, instance) is None

    async def test_signing_out_all_other_devices(self) -> None:
        """`end_all`, then `login` in the same request: this browser stays, with its data, and all others are out."""
        site = Watched()
        tab, other = await site.signed_in(), await site.signed_in()
        await tab.put(cart=["tea"])

        async def change_password(session: Session) -> None:
            await site.instances[0].end_all("ann")
            session.login("ann")

        await tab.do(change_password)
        site.clock.advance(6)
        for instance in (0, 1):
            assert await tab.see(instance) == {"cart": ["tea"]}
            assert await other.do(lambda session: session.owner, instance) is None

    async def test_a_second_logout_is_no_error(self) -> None:
        """A double click on "sign out"."""
        site = Watched()
        tab = await site.signed_in()
        twice = copy_of(tab)
        await tab.do(lambda session: session.logout())
        await twice.do(lambda session: session.logout())
        assert twice.cookies_set == []


class TestLateRequests:
    """A slow request neither brings a session back nor is told that it did."""

    async def test_a_late_write_after_logout_is_refused(self) -> None:
        """On the instance of the logout at once: 409, and no cookie."""
        site = Watched()
        tab = await site.signed_in()
        slow = copy_of(tab)

        async def act(session: Session) -> None:
            session["a"] = 1
            await tab.do(lambda session: session.logout())

        assert await slow.status(act) == 409
        assert slow.cookies_set == []

    @pytest.mark.parametrize("detects", [None, False], ids=["detecting", "off"])
    @pytest.mark.parametrize("how", ["logout", "end", "rotate"])
    @pytest.mark.parametrize("act", ["rotate", "login"])
    async def test_none_takes_the_session_out_of_reach(
        self, how: str, act: str, detects: bool | None
    ) -> None:
        """Where an instance has not heard of the end yet: 409, for under a new identity it would escape it for good."""
        site = Watched(detect_loss=detects)
        tab = await site.signed_in()
        late = copy_of(tab)
        if how == "end":
            await site.instances[0].end(await tab.do(lambda session: session.handle))
        else:
            await tab.do(lambda session: getattr(session, how)())
        moving: dict[str, Any] = {
            "rotate": lambda session: session.rotate(),
            "login": lambda s: s.login("ann"),
        }
        assert await late.status(moving[act], 1) == 409
        assert late.cookies_set == []
        # And from now on that instance knows.
        site.store.taken()
        assert await late.do(lambda session: session.owner, 1) is None
        assert site.store.taken() == []
        live = {
            owner for record in site.store._records.values() if (owner := record.owner) and not record.ended
        }
        assert live == ({"ann"} if how == "rotate" and detects is None else set())

    async def test_a_late_response_replants_a_token_that_opens_nothing(self) -> None:
        """nextjs-auth0#544: the response of a slow request comes after the logout's. Its token is refused.

        (Where overwritten changes are detected, so is this one: the request is refused, at once.)
        """
        site = Watched(detect_loss=False)
        tab = await site.signed_in()
        slow = tab.beside()  # the same browser
        slow.jar = dict(tab.jar)
        begun, logging_out = asyncio.Event(), asyncio.Event()

        async def act(session: Session) -> None:
            session["a"] = 1
            begun.set()
            await logging_out.wait()

        request = asyncio.create_task(slow.do(act, 1))
        await begun.wait()
        await tab.do(lambda session: session.logout(), 0)
        assert tab.jar == {}
        logging_out.set()
        await request  # within the bound: instance 1 does not know yet
        tab.jar.update({name: value for name, value in slow.jar.items() if name in slow.cookies_set})
        assert tab.jar.keys() == {"__Host-session"}  # planted again
        assert await tab.see(0) == {}
        site.clock.advance(5.1)
        assert await tab.see(1) == {}

    async def test_a_late_write_on_an_instance_that_does_not_know_yet(self) -> None:
        """Its change has to be committed to the session's record, which has ended: 409, and nothing is planted."""
        site = Watched()
        tab = await site.signed_in()
        slow = copy_of(tab)

        async def act(session: Session) -> None:
            session["a"] = 1
            await tab.do(lambda session: session.logout(), 0)

        assert await slow.status(act, 1) == 409
        assert slow.cookies_set == []

    async def test_a_request_that_is_slower_than_the_bound_asks_again(self) -> None:
        """Before it acknowledges anything: what it heard when it began is too old by now."""
        site = Watched()
        tab = await site.signed_in()
        slow = copy_of(tab)

        async def act(session: Session) -> None:
            session["a"] = 1
            await tab.do(lambda session: session.logout(), 0)
            site.clock.advance(5.1)

        assert await slow.status(act, 1) == 409

    async def test_a_late_renewal_is_dropped_in_silence(self) -> None:
        """A request that only read is answered, without a token."""
        site = Watched()
        tab = await site.signed_in()
        slow = copy_of(tab)
        site.clock.advance(600)

        async def act(session: Session) -> None:
            dict(session)
            await tab.do(lambda session: session.logout())

        await slow.do(act)
        assert slow.cookies_set == []


class TestOutage:
    """While nobody can say who has signed out, nobody is let in on a guess."""

    async def test_refused_once_the_answer_is_too_old(self) -> None:
        """Until then requests go on; then 503 for those that touch the session, and no cookie is harmed."""
        site = Watched()
        tab = await site.signed_in()
        site.store.failure = ConnectionError("away")
        site.clock.advance(4.9)
        assert await tab.status(dict) == 200
        site.clock.advance(5.2)
        assert await tab.status(dict) == 503
        assert tab.last.get("retry-after")
        assert await tab.status(lambda session: None) == 200
        assert tab.cookies_set == []
        assert "store unavailable" in site.kinds()
        site.store.failure = None
        assert await tab.do(lambda session: session.owner) == "ann"

    async def test_a_logout_that_cannot_be_noted_is_not_acknowledged(self) -> None:
        """503, the cookie stays, and the next attempt works."""
        site = Watched()
        tab = await site.signed_in()
        site.store.failure = ConnectionError("away")
        assert await tab.status(lambda session: session.logout()) == 503
        assert tab.cookies_set == []
        site.store.failure = None
        thief = copy_of(tab)
        await tab.do(lambda session: session.logout())
        assert tab.jar == {}
        assert await thief.see() == {}

    async def test_visitors_without_a_session_do_not_notice(self) -> None:
        """There is nothing to ask about them, also when they begin one."""
        site = Watched()
        site.store.failure = ConnectionError("away")
        tab = site.tab()
        assert await tab.see() == {}
        await tab.put(a=1)
        assert len(tab.jar) == 1


class TestCost:
    """Counted in commands to the store."""

    async def test_without_options_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A token-only application has no store, so nothing can be asked: every step of a session's life."""
        site = Site()
        engine: Any = site.instances[0]._engine
        assert engine._backing._stores == []
        tab = site.tab()
        await tab.put(a=1)
        await tab.do(lambda session: session.login("ann"))
        await tab.do(lambda session: session.logout())

    async def test_two_commands_in_each_bound_and_session(self) -> None:
        """A hundred requests within five seconds ask twice; anonymous ones once. (What changes cost besides is in
        test_sessions_marks.)"""
        site = Watched(instances=1, detect_loss=False)
        tab = await self.fresh(site)
        for number in range(100):
            await tab.put(a=number)
            site.clock.advance(0.05)
        assert site.store.taken() == []
        site.clock.advance(1)
        for _ in range(100):
            await tab.see()
        assert site.store.taken() == ["load", "load"]
        visitor = site.tab()
        await visitor.put(a=1)
        for _ in range(10):
            await visitor.see()
        assert site.store.taken() == ["load"]

    async def fresh(self, site: Watched) -> Tab:
        tab = site.tab()
        await tab.do(lambda session: session.login("ann"))
        await tab.see()
        site.store.taken()
        return tab

    async def test_what_beginning_and_ending_cost(self) -> None:
        """Sign-in asks when the user was signed out last; logout is one note; both ends of `end_all` are two."""
        site = Watched(instances=1, detect_loss=False)
        tab = site.tab()
        await tab.do(lambda session: session.login("ann"))
        assert site.store.taken() == ["load"]
        await tab.see()
        site.store.taken()
        await tab.do(lambda session: session.logout())
        assert site.store.taken() == ["end"]
        site.sync.end_all("ann")
        assert site.store.taken() == ["load", "end"]

    async def test_forged_tokens_cost_nothing(self) -> None:
        """Garbage, and tokens of other keys, never reach the store."""
        site = Watched()
        tab = site.tab()
        other = Site()
        stranger = other.tab()
        await stranger.put(a=1)
        for token in ("x", "a.b.c", stranger.jar["__Host-session"]):
            tab.jar = {"__Host-session": token}
            assert await tab.see() == {}
        assert site.store.taken() == []

    async def test_one_store_for_both_purposes(self) -> None:
        """Named twice, it is opened once: also by its URL."""
        token = Token(private={"p"}, spill="memory://", revocation="memory://")
        site = Site(token, instances=1)
        engine: Any = site.instances[0]._engine
        assert len(engine._backing._stores) == 1
        tab = site.tab()
        await tab.put(p=1)
        await tab.do(lambda session: session.logout())


@pytest.mark.parametrize("kind", ["sqlite", "redis", "memcached"])
async def test_over_real_stores(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """An async application over an async client, or over a blocking one in a thread: the same life of a session."""
    url = f"sqlite:///{tmp_path}/s.db" if kind == "sqlite" else request.getfixturevalue(f"{kind}_url")
    url += "?forgets=accepted" if kind == "memcached" else ""
    site = Site(Token(private={"p"}, spill=url, revocation=url, max_bytes=1_000))
    site.clock.now = time.time()
    owner = os.urandom(8).hex()
    tab = site.tab()
    await tab.put(p="secret", big="x" * 3_000)
    await tab.do(lambda session: session.login(owner), 1)
    thief = copy_of(tab)
    assert await tab.see() == {"p": "secret", "big": "x" * 3_000}
    await tab.do(lambda session: session.logout(), 1)
    assert await thief.see(1) == {}
    site.clock.advance(5.1)
    assert await thief.see(0) == {}
    await tab.do(lambda session: session.login(owner))
    await site.instances[1].end_all(owner)
    site.clock.advance(5.1)
    assert await tab.do(lambda session: session.owner) is None
    for sessions in site.instances:
        await sessions.aclose()


class TestWithoutAStore:
    """What cannot be done is said, and what to do about it."""

    async def test_logout_alone_ends_no_copied_token(self) -> None:
        """The limit, stated in docs/tokens.md: without revocation= a copied token is good until it expires."""
        site = Site(idle="30m")
        tab = site.tab()
        await tab.put(a=1)
        thief = copy_of(tab)
        await tab.do(lambda session: session.logout())
        assert tab.jar == {}
        assert await thief.see() == {"a": 1}
        site.clock.advance(1_800)
        assert await thief.see() == {}

    async def test_administrators_calls(self) -> None:
        """`ConfigError` with the way out, in both colours."""
        sessions = Sessions(token=Token(), keys=Keyring.generate())
        with pytest.raises(ConfigError, match=r"Token\(revocation="):
            await sessions.end("a" * 64)
        with pytest.raises(ConfigError, match=r"Token\(revocation="):
            sessions.sync.end_all("ann")
        with pytest.raises(ConfigError, match=r"Sessions\(store\)"):
            await sessions.of("ann")
        with pytest.raises(ConfigError, match="but="):
            sessions.sync.end_all("ann", but="a" * 64)
        assert await sessions.sweep() == 0

    async def test_listing_needs_more_than_notes(self) -> None:
        """Also with revocation nobody knows which tokens are out there."""
        with pytest.raises(ConfigError, match="end_all"):
            await Watched().instances[0].of("ann")
