"""The record that a session has on the server lives as long as the session's token, and no longer than the session."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from token_site import Site, overlapping, regressions, setting

from holdfast import Keyring
from holdfast.tokens import Token
from recording import RecordingStore


class TestLife:
    """What was held is there when it is needed again, and what was ended is not."""

    @pytest.mark.parametrize("detects", [None, False], ids=["detecting", "off"])
    @pytest.mark.parametrize("kind", ["memory", "sqlite"])
    async def test_held_nothing_for_a_while(self, kind: str, detects: bool | None, tmp_path: Path) -> None:
        """What was private was removed, or fits again; hours later there is something to hold again, and it is held."""
        store: Any = RecordingStore() if kind == "memory" else f"sqlite:///{tmp_path}/s.db"
        site = Site(Token(private={"p"}, spill=store, max_bytes=2_000), detect_loss=detects)
        site.clock.now = time.time()
        tab = site.tab()
        await tab.put(p=1, cart="x" * 3_000)
        await tab.do(lambda session: (session.pop("p"), session.update(cart="")))
        for hour in range(1, 4):
            for _ in range(3):
                site.clock.advance(1_200)
                assert await tab.see() == {"cart": ""}
            if hour == 2:
                await site.instances[0].sweep()
            await tab.put(p=hour, cart="y" * 3_000)
            assert await tab.see(1) == {"p": hour, "cart": "y" * 3_000}
            await tab.do(lambda session: (session.pop("p"), session.update(cart="")))
        assert regressions(site) == []

    @pytest.mark.parametrize("detects", [None, False], ids=["detecting", "off"])
    @pytest.mark.parametrize("swept", [True, False], ids=["gone", "run out"])
    async def test_a_record_that_has_run_out(self, swept: bool, detects: bool | None) -> None:
        """All the same, as an earlier release has left it: the session goes on with one made anew."""
        store = RecordingStore()
        site = Site(Token(private={"p"}, spill=store), detect_loss=detects)
        tab = site.tab()
        await tab.put(p=1, n=1)
        await tab.do(lambda session: session.pop("p"))
        ((key, record),) = store._records.items()
        if swept:
            del store._records[key]
        else:
            store._records[key] = record._replace(expires_at=site.clock.now - 1)
        await tab.put(p=2)
        assert await tab.see(1) == {"p": 2, "n": 1}
        assert store._records[key].expires_at == site.clock.now + 1_800

    async def test_one_that_was_ended_is_not_made_anew(self) -> None:
        """A tombstone outlives each token that another tab may have got."""
        store = RecordingStore()
        site = Site(Token(private={"p"}, spill=store), idle="2h")
        tab = site.tab()
        await tab.put(n=1)
        first, thief = tab.beside(), tab.beside()
        first.jar = dict(tab.jar)
        site.clock.advance(7_000)
        await tab.put(n=2)
        thief.jar = dict(tab.jar)
        await first.do(lambda session: session.logout())
        site.clock.advance(7_100)
        await site.instances[0].sweep()
        assert await thief.status(setting(n=3)) == 409

    async def test_one_that_was_sealed_is_not_made_anew(self) -> None:
        """Also where its tombstone could not be written: the session goes on under its new identity, and only there."""
        store = RecordingStore()
        tab = Site(Token(private={"p"}, spill=store)).tab()
        await tab.put(n=1)
        late = tab.beside()
        late.jar = dict(tab.jar)
        ((key, record),) = store._records.items()
        await tab.do(lambda session: session.rotate())
        store._records[key] = record._replace(expires_at=-tab.site.clock.now)
        assert await late.status(setting(n=2)) == 409
        assert await tab.see() == {"n": 1}

    async def test_without_detection_it_is_known_all_the_same(self) -> None:
        """Holding nothing, it lives as long as the token, and ends with the session."""
        store = RecordingStore()
        site = Site(Token(private={"p"}, spill=store), detect_loss=False)
        tab = site.tab()
        await tab.put(p=1, n=1)
        await tab.do(lambda session: session.pop("p"))
        for _ in range(3):
            site.clock.advance(1_200)
            await tab.see()
            (record,) = store._records.values()
            assert record.expires_at == site.clock.now + 1_800
        await tab.do(lambda session: session.logout())
        assert [record.ended for record in store._records.values()] == [True]

    @pytest.mark.parametrize("detects", [None, False], ids=["detecting", "off"])
    async def test_ended_by_an_administrator(self, detects: bool | None) -> None:
        """What was held for it is gone from the store at once."""
        store = RecordingStore()
        site = Site(Token(private={"p"}, spill=store, revocation=store), detect_loss=detects)
        tab = site.tab()
        await tab.put(p="secret")
        handle = await tab.do(lambda session: session.handle)
        await site.instances[1].end(handle)
        assert (store._records[handle].ended, store._records[handle].values) == (True, {})
        assert all(not record.values for record in store._records.values())
        assert await tab.see() == {}

    async def test_a_session_from_before_detection(self) -> None:
        """Its token says nothing of a mark, or that there is one: it is taken as it is, and marked from then on."""
        store, keys = RecordingStore(), Keyring.generate()
        before = Site(Token(private={"p"}, spill=store), keys=keys, detect_loss=False)
        after = Site(Token(private={"p"}, spill=store), keys=keys)
        for with_held in (False, True):
            tab = before.tab()
            await tab.put(n=1)
            if with_held:
                await tab.put(p=1)
                await tab.do(lambda session: session.pop("p"))
            tab.site = after
            await tab.put(n=2)
            await tab.put(n=3)
            assert regressions(after) == []
            await overlapping(tab, setting(a=1), setting(b=1))
            assert len(regressions(after)) == 1

    async def test_begun_while_the_store_is_away(self) -> None:
        """Nobody is kept out, for nobody else can change a session that nobody has; it is marked later on."""
        store = RecordingStore()
        site = Site(Token(revocation=store))
        tab = site.tab()
        store.failure = ConnectionError("away")
        await tab.put(n=1)
        assert "store unavailable" in site.kinds()
        assert await tab.status(setting(n=2)) == 503
        store.failure = None
        await tab.put(n=2)
        await overlapping(tab, setting(a=1), setting(b=1))
        assert len(regressions(site)) == 1
