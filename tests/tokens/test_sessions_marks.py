"""Two tabs over a token with a store: what is overwritten is told, and what that costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from token_site import Act, Site, Tab, counting, overlapping, regressions, setting

from holdfast import BadToken, ConfigError, Keyring, Session, Sessions
from holdfast.tokens import Token
from holdfast.tokens.sealing import Sealing
from recording import RecordingStore

WHERE: dict[str, Callable[[Any], Token]] = {
    "spill": lambda store: Token(private={"p*"}, spill=store),
    "revocation": lambda store: Token(revocation=store),
    "both": lambda store: Token(private={"p*"}, spill=store, revocation=store),
}


@pytest.mark.parametrize("token", WHERE.values(), ids=WHERE)
class TestTold:
    """One of two overlapping changes is overwritten, and the application hears of it."""

    async def test_overlapping_changes(self, token: Any) -> None:
        """One event, which says what was known and what was stored; the browser has the token that came last."""
        site = Site(token(RecordingStore()))
        tab = site.tab()
        await tab.put(n=0)
        site.events.clear()
        await overlapping(tab, setting(a=1), setting(b=1))
        assert regressions(site) == [
            "the token says version 1, stored is version 2: another tab's changes that travelled were overwritten"
        ]
        assert (await tab.see()).keys() in ({"n", "a"}, {"n", "b"})

    async def test_one_after_the_other_is_no_news(self, token: Any) -> None:
        """Requests that do not overlap, sign-in and rotation among them, on any instance."""
        site = Site(token(RecordingStore()))
        tab = site.tab()
        for number in range(6):
            await tab.beside().do(counting("n"), number % 2)
            await tab.put(number % 2, p=number)
            site.clock.advance(300)
            await tab.see(number % 2)
            if number == 2:
                await tab.do(lambda session: session.login("ann"))
            if number == 4:
                await tab.do(lambda session: session.rotate())
        assert await tab.see() == {"n": 6, "p": 5}
        assert regressions(site) == []

    async def test_several_commits_of_one_request(self, token: Any) -> None:
        """They build on each other, also around a sign-in."""
        site = Site(token(RecordingStore()))
        tab = site.tab()
        await tab.put(n=0)

        async def act(session: Session) -> None:
            for step in (counting("n"), lambda session: session.login("ann"), setting(p=1), counting("n")):
                step(session)
                await session.commit()

        await tab.do(act)
        assert await tab.see(1) == {"n": 2, "p": 1}
        assert regressions(site) == []

    async def test_the_session_can_be_ended_instead(self, token: Any) -> None:
        """`regression="end"`: the late request is answered 409, and nobody goes on with either state."""
        site = Site(token(RecordingStore()), regression="end")
        tab = site.tab()
        await tab.put(n=0)
        late = tab.beside()
        late.jar = dict(tab.jar)
        await tab.put(a=1)
        assert await late.status(setting(b=1)) == 409
        assert len(regressions(site)) == 1
        assert await tab.status(setting(c=1)) == 409

    async def test_turned_off(self, token: Any) -> None:
        """Nothing is told, as without a store."""
        site = Site(token(RecordingStore()), detect_loss=False)
        tab = site.tab()
        await tab.put(n=0)
        await overlapping(tab, setting(a=1), setting(b=1))
        assert regressions(site) == []

    async def test_a_slow_reader_undoes_no_write(self, token: Any) -> None:
        """Where another request has put the deadline off meanwhile, reading alone makes no token from before it."""
        site = Site(token(RecordingStore()))
        tab = site.tab()
        await tab.put(a=1)
        site.clock.advance(600)
        slow = tab.beside()

        async def act(session: Session) -> None:
            dict(session)
            await tab.put(a=2)

        await slow.do(act)
        assert await tab.see() == {"a": 2}
        assert regressions(site) == []

    @pytest.mark.parametrize("held", [{}, {"p": 0}], ids=["all travels", "some may be held"])
    @pytest.mark.parametrize("first", [True, False], ids=["before it is read", "after it was read"])
    async def test_a_reader_that_puts_off_the_deadline_overwrites_nothing(
        self, token: Any, held: dict[str, int], first: bool
    ) -> None:
        """Of several requests of a page one writes, another only reads: no news, and not the end of the session."""
        site = Site(token(RecordingStore()), regression="end")
        tab = site.tab()
        await tab.put(a=1, **held)
        site.clock.advance(600)
        reader, writer = tab.beside(), tab.beside()
        writer.jar = dict(tab.jar)

        async def act(session: Session) -> None:
            session["a"] = 2
            await reader.see()

        await (reader.see() if first else writer.do(act))
        await writer.put(b=1)
        assert await writer.see() == {"a": 1 if first else 2, "b": 1, **held}
        assert regressions(site) == []
        # The browser that holds the reader's token has not heard of the change.
        assert await reader.status(setting(c=1)) == 409
        assert len(regressions(site)) == 1

    async def test_a_response_that_never_arrived(self, token: Any) -> None:
        """The browser goes on with the token from before: its session is put off all the same, and it is told."""
        site = Site(token(RecordingStore()))
        tab = site.tab()
        await tab.put(a=1)
        lost = tab.beside()
        lost.jar = dict(tab.jar)
        await lost.put(a=2)
        for _ in range(6):
            site.clock.advance(600)
            assert await tab.see() == {"a": 1}
        assert len(regressions(site)) == 1

    async def test_a_store_that_has_lost_its_memory(self, token: Any) -> None:
        """What travels is there; that the rest is unknown is told, once."""
        store = RecordingStore()
        site = Site(token(store))
        tab = site.tab()
        await tab.put(a=1)
        store._records.clear()
        await tab.put(a=2)
        await tab.put(a=3)
        assert await tab.see() == {"a": 3}
        assert regressions(site) == ["what the server had of the session is gone; it goes on from its token"]

    async def test_a_late_copy_of_a_signed_out_session_writes_nothing(self, token: Any) -> None:
        """Also without revocation: 409, and no token. (Reading is another matter: see docs/tokens.md.)"""
        site = Site(token(RecordingStore()))
        tab = site.tab()
        await tab.put(a=1)
        thief = tab.beside()
        thief.jar = dict(tab.jar)
        await tab.do(lambda session: session.logout())
        assert await thief.status(setting(a=2)) == 409
        assert thief.cookies_set == []

    @pytest.mark.parametrize("how", ["logout", "rotate", "login"])
    async def test_one_that_began_in_an_outage_ends_as_well(self, token: Any, how: str) -> None:
        """Its token knows of no record; a copy changes nothing after the end, and cannot live on beside the session."""
        store = RecordingStore()
        site = Site(token(store))
        store.failure = ConnectionError("away")
        tab = site.tab()
        await tab.put(n=1)
        store.failure = None
        late = tab.beside()
        late.jar = dict(tab.jar)
        await tab.do(lambda session: session.login("ann") if how == "login" else getattr(session, how)())
        assert await late.status(setting(n=2)) == 409
        assert await tab.see() == ({} if how == "logout" else {"n": 1})


async def test_a_session_from_an_outage_leaves_nothing_behind() -> None:
    """Another tab has given it a record meanwhile: what that holds comes along to the new identity."""
    store = RecordingStore()
    site = Site(WHERE["spill"](store))
    store.failure = ConnectionError("away")
    tab = site.tab()
    await tab.put(n=1)
    store.failure = None
    other = tab.beside()
    other.jar = dict(tab.jar)

    async def login(session: Session) -> None:
        session.login("ann")
        await other.put(p=1)

    await tab.do(login)
    assert await tab.see() == {"n": 1, "p": 1}
    assert await other.status(setting(p=2)) == 409


class TestCost:
    """Counted in commands to the store, in each setting."""

    @staticmethod
    async def cost(store: RecordingStore, tab: Tab, act: Act) -> list[str]:
        store.taken()
        await tab.do(act)
        return store.taken()

    @pytest.mark.parametrize("detects", [None, False], ids=["detecting", "off"])
    async def test_with_a_store_for_endings(self, detects: bool | None) -> None:
        """Reading costs what it did, which is nothing until the answer is too old; a change costs one command."""
        store = RecordingStore()
        one = ["commit"] if detects is None else []
        site = Site(Token(revocation=store), detect_loss=detects)
        tab = site.tab()
        assert await self.cost(store, tab, setting(n=0)) == (["create"] if detects is None else [])
        await tab.see()
        for number in range(1, 4):
            assert await self.cost(store, tab, dict) == []
            assert await self.cost(store, tab, setting(n=number)) == one
        assert await self.cost(store, tab, lambda session: None) == []
        site.clock.advance(600)
        assert await self.cost(store, tab, dict) == ["load", *one]  # and its deadline is put off
        login = await self.cost(store, tab, lambda session: session.login("ann"))
        # When the user was signed out last; the new record; the note; the old record's seal and tombstone.
        both = ["load", "create", "create", "commit", "end"]
        assert login == (both if detects is None else ["load", "create"])
        await tab.see()
        logout = await self.cost(store, tab, lambda session: session.logout())
        assert logout == (["end", "end"] if detects is None else ["end"])

    @pytest.mark.parametrize("detects", [None, False], ids=["detecting", "off"])
    async def test_with_a_store_for_values(self, detects: bool | None) -> None:
        """A session that leaves nothing there costs nothing to read; one that does, one command."""
        store = RecordingStore()
        one = ["commit"] if detects is None else []
        site = Site(Token(private={"p"}, spill=store), detect_loss=detects)
        tab = site.tab()
        assert await self.cost(store, tab, setting(n=0)) == (["create"] if detects is None else [])
        assert await self.cost(store, tab, dict) == []
        assert await self.cost(store, tab, setting(n=1)) == one
        assert await self.cost(store, tab, setting(p=1)) == (["commit"] if detects is None else ["create"])
        assert await self.cost(store, tab, dict) == ["load"]
        assert await self.cost(store, tab, setting(n=2)) == ["load", *one]
        assert await self.cost(store, tab, setting(p=2)) == ["load", "commit"]

    async def test_a_conflict_costs_one_more(self) -> None:
        """What is stored comes with the refusal."""
        store = RecordingStore()
        tab = Site(Token(revocation=store)).tab()
        await tab.put(n=0)
        late = tab.beside()
        late.jar = dict(tab.jar)
        await tab.put(n=1)
        await late.see()
        assert await self.cost(store, late, setting(n=2)) == ["commit", "commit"]


class TestSettings:
    """What cannot work is said at construction."""

    @pytest.mark.parametrize(
        ("settings", "match"),
        [
            ({"token": Token(), "detect_loss": True}, "detect_loss"),
            ({"token": Token(), "regression": "end"}, "regression"),
            (
                {"token": Token(revocation="memory://"), "regression": "end", "detect_loss": False},
                "regression",
            ),
            (
                {"token": Token(revocation="memory://"), "transport": "bearer", "detect_loss": True},
                "Bearer",
            ),
        ],
    )
    def test_refused(self, settings: dict[str, Any], match: str) -> None:
        """Naming the setting."""
        with pytest.raises(ConfigError, match=match):
            Sessions(keys=Keyring.generate(), cookie_name="api", **settings)

    def test_accepted(self) -> None:
        """Said out loud, where a store is there; and left alone, where none is, or where nothing can be changed."""
        for settings in (
            {"token": Token(revocation="memory://"), "detect_loss": True, "regression": "end"},
            {"token": Token(), "detect_loss": False},
            {"token": Token(revocation="memory://"), "transport": "bearer", "cookie_name": "api"},
        ):
            Sessions(keys=Keyring.generate(), **settings)


@pytest.mark.parametrize("mark", [-1, 2**53 + 1, 1.0, "1", True, None, [1], {}])
@pytest.mark.parametrize("kind", ["jwe", "paseto"])
def test_a_mark_that_is_none_is_refused(kind: Any, mark: Any) -> None:
    """Whoever else has the key could have made it: "malformed", and no error of another kind."""
    keys, now = Keyring.generate(), 1.8e9
    sealing = Sealing(Token(kind), keys, "app")
    claims = {"exp": now + 60, "nbf": int(now), "iat": int(now), "jti": "ab" * 16, "auth_time": now, "ver": 1}
    claims |= {"tag": "00" * 8, "iss": "holdfast", "aud": "app", **sealing._text.write({})}
    assert sealing.open(sealing._format.seal({**claims, "mark": 7}, now), now).mark == 7
    with pytest.raises(BadToken, match="malformed"):
        sealing.open(sealing._format.seal({**claims, "mark": mark}, now), now)


@pytest.mark.parametrize("token", [WHERE["spill"], WHERE["both"]], ids=["spill", "both"])
async def test_changes_of_what_is_private_are_merged_and_no_news(token: Any) -> None:
    """Of two tabs one changes a private value only: the other has overwritten nothing, whatever it changes."""
    site = Site(token(RecordingStore()), regression="end")
    tab = site.tab()
    await tab.put(a=1, p=0)
    one = tab.beside()
    one.jar = dict(tab.jar)

    async def act(session: Session) -> None:
        session["q"] = session["a"] = 2
        await one.put(p=1)

    await tab.do(act)
    assert await tab.see() == {"a": 2, "p": 1, "q": 2}
    assert regressions(site) == []
    # The one that changed nothing else has not heard of what the other did to what travels.
    assert await one.status(setting(p=2)) == 409
    assert len(regressions(site)) == 1
