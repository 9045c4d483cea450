"""Two tabs of one browser: what is lost without a store, said as it is."""

from __future__ import annotations

import asyncio

import pytest
from token_site import Site, Tab

from holdfast import Keyring, Session, Sessions
from holdfast.asgi import SessionMiddleware
from holdfast.tokens import Token
from recording import RecordingStore


async def overlapping(tab: Tab, first: str, second: str) -> None:
    """Two requests that both read before either responds; each sets a value of its own name."""
    other = tab.beside()
    ready = asyncio.Barrier(2)

    def act(name: str):  # type: ignore[no-untyped-def]  # a handler
        async def handler(session: Session) -> None:
            session.alter("count", lambda n: n + 1, default=0)
            session[name] = True
            await ready.wait()

        return handler

    await asyncio.gather(tab.do(act(first), 0), other.do(act(second), 1))


async def test_two_tabs_that_write_at_once_lose_one_of_the_changes() -> None:
    """The browser keeps the token that came last. Both were told that theirs is kept: nobody could know better."""
    tab = Site().tab()
    await tab.put(count=0)
    await overlapping(tab, "first", "second")
    found = await tab.see()
    assert found.keys() in ({"count", "first"}, {"count", "second"})
    assert found["count"] == 1  # also `alter` has no newer value to be applied to


async def test_a_slow_reader_can_undo_a_write() -> None:
    """Where its reading put the deadline off: its token is from before the write, and came last."""
    site = Site()
    tab = site.tab()
    await tab.put(a=1)
    site.clock.advance(600)
    slow = tab.beside()

    async def act(session: Session) -> None:
        dict(session)
        await tab.put(a=2)

    await slow.do(act)
    assert await tab.see() == {"a": 1}


async def test_a_client_can_go_back_to_an_older_token() -> None:
    """Whoever holds the cookies can send those of a minute ago, and revocation ends sessions, not states of them."""
    tab = Site(Token(revocation=RecordingStore())).tab()
    await tab.put(vouchers=1)
    before = dict(tab.jar)
    await tab.put(vouchers=0)
    tab.jar.clear()
    tab.jar.update(before)
    assert await tab.see() == {"vouchers": 1}


async def test_with_a_store_nothing_is_lost() -> None:
    """The same two tabs over a store, with snapshots that travel: both changes, and both increments, are there."""
    sessions = [Sessions(store, keys=KEYS, snapshot="30s") for store in [RecordingStore()] for _ in range(2)]
    site = Site()
    site.instances, site.apps = (
        sessions,
        [SessionMiddleware(app, sessions[0]) for app in [site.apps[0]._app] * 2],
    )
    tab = site.tab()
    await tab.put(count=0)
    await overlapping(tab, "first", "second")
    assert await tab.see() == {"count": 2, "first": True, "second": True}


KEYS = Keyring.generate()


@pytest.mark.parametrize("private", [False, True])
async def test_one_after_the_other_nothing_is_lost(private: bool) -> None:
    """Requests that do not overlap see each other's changes, on any instance, in any order."""
    token = Token(private={"second"}, spill=RecordingStore()) if private else Token()
    tab = Site(token).tab()
    for number in range(6):
        await tab.beside().do(lambda session: session.alter("count", lambda n: n + 1, default=0), number % 2)
        await tab.put(number % 2, second=number)
    assert await tab.see() == {"count": 6, "second": 5}


@pytest.mark.parametrize("noted", [False, True])
async def test_a_late_response_can_undo_a_sign_in(noted: bool) -> None:
    """A token from before it that arrives after it takes the browser back; where endings are noted, out of its session.

    That is said of tokens; sessions in a store are not touched by what comes late.
    """
    tab = Site(Token(revocation=RecordingStore()) if noted else Token()).tab()
    await tab.put(cart=1)
    slow = tab.beside()
    slow.jar = dict(tab.jar)
    await slow.put(cart=2)
    await tab.do(lambda session: session.login("ann"))
    tab.jar.update(slow.jar)  # its response arrives only now
    assert await tab.do(lambda session: session.owner) is None
    assert await tab.see() == ({} if noted else {"cart": 2})
