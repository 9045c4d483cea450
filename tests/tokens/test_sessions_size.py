"""Sessions that are too large for one cookie, for several, or for the client at all."""

from __future__ import annotations

import os
from typing import Any

import pytest
from token_site import Site, Tab

from holdfast import Keyring, Session, SessionTooLarge
from holdfast.testing import Flaky
from holdfast.tokens import Token
from recording import RecordingStore

NAME = "__Host-session"


def text(size: int) -> str:
    """So many characters that no two sessions share."""
    return os.urandom(size // 2 + 1).hex()[:size]


def sizes(tab: Tab) -> list[int]:
    """How many bytes each line of the last response has that sets a cookie."""
    return [len(line) for line in tab.last.all("set-cookie") if "Max-Age=0;" not in line]


class TestSeveralCookies:
    """They grow and shrink together."""

    async def test_growing_and_shrinking(self) -> None:
        """The browser holds exactly the parts of the newest token, none over 4,096 bytes."""
        tab = Site(Token(max_bytes=60_000)).tab()
        for size, count in [(10, 1), (5_000, 2), (20_000, 7), (9_000, 4), (40_000, 14), (5_000, 2), (1, 1)]:
            value = text(size)
            await tab.put(value=value)
            assert sorted(tab.jar) == sorted([NAME, *(f"{NAME}-part{place}" for place in range(1, count))])
            assert max(sizes(tab)) <= 4096
            assert await tab.see(1) == {"value": value}

    async def test_a_missing_part_is_an_anonymous_visitor(self) -> None:
        """And no logout: the session is there again once the browser sends all of it."""
        site = Site(Token(max_bytes=50_000))
        tab = site.tab()
        await tab.put(value=text(12_000))
        whole = dict(tab.jar)
        del tab.jar[f"{NAME}-part2"]
        site.kinds()
        assert await tab.see() == {}
        assert tab.cookies_set == []
        assert site.kinds() == ["token refused"]
        tab.jar.update(whole)
        assert len((await tab.see())["value"]) == 12_000

    async def test_torn_by_two_tabs(self) -> None:
        """Parts of two good tokens of one session are none, and the browser keeps what it has."""
        tab = Site(Token(max_bytes=50_000)).tab()
        await tab.put(value=text(12_000))
        other = tab.beside()
        other.jar = dict(tab.jar)
        await other.put(value=text(12_000))
        tab.jar[f"{NAME}-part1"] = other.jar[f"{NAME}-part1"]
        before = dict(tab.jar)
        assert await tab.see() == {}
        assert tab.jar == before

    async def test_whoever_begins_anew_keeps_no_wreckage(self) -> None:
        """A new session in the place of a torn one clears the parts that it does not need."""
        tab = Site(Token(max_bytes=50_000)).tab()
        await tab.put(value=text(12_000))
        del tab.jar[f"{NAME}-part1"]
        await tab.put(fresh=1)
        assert tab.jar.keys() == {NAME}
        assert await tab.see() == {"fresh": 1}

    async def test_parts_that_were_left_over_are_cleared(self) -> None:
        """Two responses that overtake each other can leave some; the next token tidies up."""
        tab = Site(Token(max_bytes=50_000)).tab()
        await tab.put(value="small")
        tab.jar[f"{NAME}-part1"] = tab.jar[f"{NAME}-part4"] = "0123ab~left"
        assert await tab.see() == {"value": "small"}
        assert tab.cookies_set == []
        await tab.put(value="other")
        assert tab.jar.keys() == {NAME}

    async def test_a_slower_tab_with_fewer_parts(self) -> None:
        """Whichever response comes last, the browser holds one whole token: a left-over part does not count."""
        tab = Site(Token(max_bytes=50_000)).tab()
        await tab.put(value=text(9_000))
        slow, quick = tab.beside(), tab.beside()
        slow.jar = dict(tab.jar)
        await slow.put(value=text(6_000))
        await quick.put(value=text(20_000))
        for line in slow.last.all("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            tab.jar.pop(name)
            if value:
                tab.jar[name] = value
        assert len((await tab.see())["value"]) == 6_000


class TestTooLarge:
    """Over the limit nothing happens, and the error says what is large."""

    async def test_the_largest_keys_are_named(self) -> None:
        """The handler hears of it; the browser keeps the session as it was."""
        tab = Site(Token(max_bytes=2_000)).tab()
        await tab.put(name="ann", cart=["tea"])
        with pytest.raises(SessionTooLarge, match=r"'history' \(3013 bytes\), 'cart'"):
            await tab.put(history=text(3_003))
        assert await tab.see() == {"name": "ann", "cart": ["tea"]}

    async def test_to_the_byte(self) -> None:
        """The largest session that fits is taken, one byte more is not: the budget is what a request carries."""
        limit = 1_500
        tab = Site(Token(max_bytes=limit)).tab()
        fits = 0
        for size in range(700, 1_000):
            try:
                await tab.put(value="x" * size)
            except SessionTooLarge:
                break
            fits = size
            assert len(f"{tab.cookie}; ") <= limit
        assert fits < 999
        assert limit - len(f"{tab.cookie}; ") < 2  # base64 grows by one or two

    async def test_nothing_was_written(self) -> None:
        """Neither a session's end nor what is held on the server, if the new token cannot be made."""
        store = RecordingStore()
        token = Token("jws", public={"big", "a"}, private={"p"}, spill=store, revocation=store, max_bytes=600)
        tab = Site(token).tab()
        await tab.put(a=1, p=1)
        store.taken()
        await tab.see()
        store.taken()
        with pytest.raises(SessionTooLarge):
            await tab.do(lambda session: (session.logout(), session.update(big="x" * 2_000, p=2)))
        assert store.taken() in ([], ["load"])
        assert await tab.see() == {"a": 1, "p": 1}

    async def test_readers_are_not_disturbed_by_a_limit_that_was_lowered(self) -> None:
        """A deployment with less room: reading goes on until the token expires, and only writes are refused."""
        site = Site(Token(max_bytes=5_000), keys=(keys := os.urandom(32)))
        tab = site.tab()
        await tab.put(value=text(3_000))
        less = Site(Token(max_bytes=2_500), keys=keys)
        less.clock.now = site.clock.now + 600
        tab.site = less
        assert len((await tab.see())["value"]) == 3_000
        assert tab.cookies_set == []

    async def test_the_header_is_counted_with_what_others_put_in(self) -> None:
        """Before proxies refuse it at 8 KB, an event says so; also for the first token of a session."""
        site = Site(Token(max_bytes=6_000))
        tab = site.tab()
        await tab.put(value="small")
        assert "header nearly too large" not in site.kinds()
        tab.jar["theme"] = "x" * 3_000
        await tab.put(value="x" * 2_000)
        assert "header nearly too large" not in site.kinds()
        await tab.put(value="x" * 3_500)
        assert "header nearly too large" in site.kinds()
        other = site.tab()
        other.jar["theme"] = "x" * 7_200
        await other.put(value="small")
        (warning,) = [event for event in site.events if event.kind == "header nearly too large"]
        said = int("".join(filter(str.isdigit, warning.detail.partition("bytes")[0])))
        assert abs(said - len(other.cookie)) < 10

    async def test_left_over_parts_are_not_counted_twice(self) -> None:
        """What the new token replaces or clears is gone from the next request."""
        site = Site(Token(max_bytes=20_000))
        tab = site.tab()
        await tab.put(value="x" * 9_000)
        site.kinds()
        await tab.put(value="small")
        assert "header nearly too large" not in site.kinds()


class TestSpill:
    """With a store, the overflow goes there, and nothing else."""

    def site(self, store: Any, **settings: Any) -> Site:
        return Site(Token(max_bytes=2_000, spill=store), **settings)

    async def test_only_the_overflow(self) -> None:
        """The store gets the one large value; it comes back on any instance, with one command."""
        store = RecordingStore()
        tab = self.site(store, detect_loss=False).tab()
        await tab.put(name="ann", cart=["tea"])
        assert store.taken() == []
        big = text(5_000)
        await tab.put(big=big)
        assert store.taken() == ["create"]
        (held,) = store._records.values()
        assert held.values.keys() == {"big"}
        assert await tab.see(1) == {"name": "ann", "cart": ["tea"], "big": big}
        assert store.taken() == ["load"]

    async def test_it_shrinks_back_and_grows_again(self) -> None:
        """What fits again travels again, without the store; and the next overflow is held as the first was."""
        store = RecordingStore()
        tab = self.site(store).tab()
        for _ in range(3):
            big = text(5_000)
            await tab.put(a=1, big=big)
            assert await tab.see(1) == {"a": 1, "big": big}
            await tab.put(big="small")
            store.taken()
            assert await tab.see(1) == {"a": 1, "big": "small"}
            assert store.taken() == []

    @pytest.mark.parametrize("detects", [None, False], ids=["detecting", "off"])
    async def test_a_value_that_nobody_touched_is_not_lost(self, detects: bool | None) -> None:
        """It fits again, while a request is on its way with the token that says that the server has it."""
        tab = self.site(RecordingStore(), detect_loss=detects).tab()
        big = text(1_050)
        await tab.put(first=text(1_000), big=big)
        late = tab.beside()
        late.jar = dict(tab.jar)
        await tab.do(lambda session: (session.pop("first"), session.update(n=1)))
        assert (await late.see(1))["big"] == big
        await late.put(theme="dark")
        for each in (tab, late):
            assert (await each.see(1))["big"] == big
        await tab.do(lambda session: session.pop("big"))
        assert await tab.see() == {"n": 1}

    @pytest.mark.parametrize("detects", [None, False], ids=["detecting", "off"])
    async def test_a_lost_response_loses_no_value(self, detects: bool | None) -> None:
        """What it made small enough to travel is there for a browser that has never got that token, once and again."""
        tab = self.site(RecordingStore(), detect_loss=detects).tab()
        await tab.put(big=text(5_000))
        before = dict(tab.jar)
        for small in ("small", "smaller"):
            await tab.put(big=small)
            late = tab.beside()
            late.jar = dict(before)
            assert await late.see(1) == {"big": small}
        await late.put(n=1)
        assert await late.see() == {"big": "smaller", "n": 1}
        await late.put(big=text(5_000))
        await late.put(big="small again")
        assert await late.see(1) == {"big": "small again", "n": 1}

    async def test_readers_after_a_limit_was_raised(self) -> None:
        """Reading alone brings a value back into the token; a tab that comes later with the old one has it, too."""
        store, keys = RecordingStore(), Keyring.generate()
        old, new = (Site(Token(max_bytes=most, spill=store), keys=keys) for most in (2_000, 6_000))
        tab = old.tab()
        await tab.put(big=text(2_000))
        late = tab.beside()
        late.jar = dict(tab.jar)
        tab.site = late.site = new
        new.clock.advance(600)
        assert len((await tab.see())["big"]) == 2_000
        store.taken()
        assert len((await tab.see())["big"]) == 2_000
        assert store.taken() == []
        assert len((await late.see())["big"]) == 2_000

    async def test_changing_one_value_writes_that_one(self) -> None:
        """Of what is held, a request writes what it changed."""
        store = RecordingStore()
        tab = self.site(store).tab()
        await tab.put(big=text(5_000), large=text(4_000))
        first = next(iter(store._records.values()))
        await tab.put(large=text(4_000))
        second = next(iter(store._records.values()))
        assert first.values["big"] is second.values["big"]
        assert first.values["large"] != second.values["large"]

    async def test_logout_ends_what_is_held(self) -> None:
        """And with it every copy of the token that counts on it, also without revocation."""
        store = RecordingStore()
        site = self.site(store)
        tab = site.tab()
        await tab.put(big=text(5_000))
        thief = tab.beside()
        thief.jar = dict(tab.jar)
        await tab.do(lambda session: session.logout())
        assert [record.ended for record in store._records.values()] == [True]
        assert await thief.see() == {}
        assert await thief.status(lambda session: session.update(a=1)) == 409
        site.clock.advance(31)
        await thief.put(a=1)
        assert await thief.see() == {"a": 1}

    async def test_login_moves_what_is_held(self) -> None:
        """Under the new identity it is all there, and under the old one nothing."""
        store = RecordingStore()
        tab = self.site(store).tab()
        await tab.put(big=text(5_000))
        old = tab.beside()
        old.jar = dict(tab.jar)
        await tab.do(lambda session: session.login("user-42"))
        assert len((await tab.see())["big"]) == 5_000
        assert await old.see() == {}
        assert await old.status(lambda session: session.logout()) == 409  # its browser is signed in by now

    async def test_what_the_store_has_lost_is_noticed(self) -> None:
        """A token that says that values are held, where nothing is, opens no session: half of one would be a lie."""
        store = RecordingStore()
        tab = self.site(store).tab()
        await tab.put(a=1, big=text(5_000))
        store._records.clear()
        assert await tab.see() == {}
        await tab.put(b=1)
        assert await tab.see() == {"b": 1}

    async def test_an_outage_is_noticed_by_who_touches_it(self) -> None:
        """503 for a request that looks at the session, nothing for one that does not; and no cookie is touched."""
        store = RecordingStore()
        site = self.site(store, detect_loss=False)
        tab, small = site.tab(), site.tab()
        await tab.put(big=text(5_000))
        await small.put(a=1)
        store.failure = ConnectionError("away")
        assert await tab.status(lambda session: None) == 200
        assert await tab.status(dict) == 503
        assert tab.cookies_set == []
        assert await tab.status(lambda session: session.update(a=1)) == 503
        assert await small.see() == {"a": 1}
        await small.put(a=2)
        store.failure = None
        assert len((await tab.see())["big"]) == 5_000

    async def test_a_change_that_the_store_refuses_is_not_acknowledged(self) -> None:
        """503, and the token stays as it was."""
        store = RecordingStore()
        tab = self.site(store).tab()
        await tab.put(a=1)
        store.failure = ConnectionError("away")
        assert await tab.status(lambda session: session.update(big=text(5_000))) == 503
        assert tab.cookies_set == []
        store.failure = None
        assert await tab.see() == {"a": 1}

    @pytest.mark.parametrize("method", ["create", "commit"])
    async def test_a_lost_answer_leaves_the_session_usable(self, method: str) -> None:
        """The overflow arrived and the answer did not: the next attempt finds it there, and goes on."""
        detects = method == "commit"
        store = Flaky(RecordingStore(), schedule=["after"], methods={method})
        tab = self.site(store, detect_loss=detects).tab()
        await tab.put(a=1)
        assert await tab.status(lambda session: session.update(big=text(5_000))) == 503
        big = text(5_000)
        await tab.put(big=big)
        assert await tab.see(1) == {"a": 1, "big": big}

    async def test_two_tabs_that_spill_for_the_first_time(self) -> None:
        """Neither fails, and the one whose token the browser keeps has its value."""
        store = RecordingStore()
        tab = self.site(store).tab()
        await tab.put(a=1)
        one, other = tab.beside(), tab.beside()
        one.jar, other.jar = dict(tab.jar), dict(tab.jar)
        first, second = text(5_000), text(5_000)
        await one.put(first=first)
        await other.put(second=second)
        assert (await one.see())["first"] == first
        assert (await other.see())["second"] == second

    async def test_a_store_has_its_limit_too(self) -> None:
        """`SessionTooLarge`, not a failure of the store: also for what is held already."""
        store = RecordingStore()
        store.max_bytes = 10_000
        tab = self.site(store).tab()
        with pytest.raises(SessionTooLarge):
            await tab.put(big="x" * 20_000)
        await tab.put(big="x" * 5_000)
        with pytest.raises(SessionTooLarge):
            await tab.put(more="x" * 6_000)
        assert len(await tab.see()) == 1

    async def test_reading_puts_off_both_deadlines(self) -> None:
        """What is held lives as long as the token that counts on it."""
        store = RecordingStore()
        site = self.site(store)
        tab = site.tab()
        await tab.put(big=text(5_000))
        for _ in range(5):
            site.clock.advance(1_700)
            assert len(await tab.see()) == 1
            (held,) = store._records.values()
            assert held.expires_at == site.clock.now + 1_800

    async def test_a_reader_is_not_disturbed_by_a_deadline_that_cannot_be_put_off(self) -> None:
        """The commit fails, the response does not; the old token is good until its own deadline."""
        store = RecordingStore()
        site = self.site(store)
        tab = site.tab()
        await tab.put(big=text(5_000))
        site.clock.advance(600)

        async def act(session: Session) -> None:
            dict(session)
            store.failure = ConnectionError("away")

        await tab.do(act)
        assert tab.cookies_set == []
