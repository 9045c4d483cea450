"""Keys rotate under sessions that travel, and nobody is logged out; a removed key opens nothing."""

from __future__ import annotations

from typing import Any

import pytest
from token_site import Site

from holdfast import Keyring, Session
from holdfast.testing import FakeClock
from holdfast.tokens import Token

FORMATS: dict[str, dict[str, Any]] = {
    "jwe": {},
    "jwe json": {"text": "json"},
    "paseto local": {"format": "paseto"},
    "jws EdDSA": {"format": "jws", "public": {"a", "b"}},
    "jws ES256": {"format": "jws", "algorithm": "ES256", "public": {"a", "b"}},
    "jws HS256": {"format": "jws", "algorithm": "HS256", "public": {"a", "b"}},
    "paseto public": {"format": "paseto", "algorithm": "v4.public", "public": {"a", "b"}},
}
OLD, NEW, OTHER = (Keyring.new_secret() for _ in range(3))


@pytest.mark.parametrize("settings", FORMATS.values(), ids=FORMATS)
class TestRotation:
    """Old key, both keys, new key: a visitor who comes by meanwhile goes on."""

    async def test_reading_seals_anew(self, settings: dict[str, Any]) -> None:
        """One request while both keys are there is enough, and its response brings the only new token."""
        site = Site(Token(**settings), keys=[OLD])
        tab = site.tab()
        await tab.put(a=1)
        await tab.do(lambda session: session.login("user-42"))
        before = await tab.do(lambda session: (session.handle, session.created_at, session.owner))
        tab.site = Site(Token(**settings), keys=[NEW, OLD])
        assert await tab.see() == {"a": 1}
        assert tab.cookies_set == ["__Host-session"]
        await tab.see()
        assert tab.cookies_set == []  # sealed once, not again and again
        tab.site = Site(Token(**settings), keys=[NEW])
        assert await tab.see() == {"a": 1}
        assert await tab.do(lambda session: (session.handle, session.created_at, session.owner)) == before

    async def test_one_request_seals_once(self, settings: dict[str, Any]) -> None:
        """However often it commits."""
        tab = Site(Token(**settings), keys=[OLD]).tab()
        await tab.put(a=1)
        tab.site = both = Site(Token(**settings), keys=[NEW, OLD])

        async def act(session: Session) -> None:
            dict(session)
            await session.commit()
            await session.commit()

        await tab.do(act)
        assert both.kinds() == ["token sealed"]

    async def test_an_instance_that_is_behind_opens_new_tokens(self, settings: dict[str, Any]) -> None:
        """While the ring is rolled out, both orders of the two keys meet each other's tokens."""
        ahead = Site(Token(**settings), keys=[NEW, OLD])
        behind = Site(Token(**settings), keys=[OLD, NEW])
        tab = ahead.tab()
        await tab.put(a=1)
        tab.site = behind
        await tab.put(b=2)
        tab.site = ahead
        assert await tab.see() == {"a": 1, "b": 2}

    async def test_a_removed_key(self, settings: dict[str, Any]) -> None:
        """Its tokens are an anonymous visitor's; the cookie stays, for the key may come back."""
        site = Site(Token(**settings), keys=[OLD])
        tab = site.tab()
        await tab.put(a=1)
        without = Site(Token(**settings), keys=[NEW])
        tab.site = without
        assert await tab.see() == {}
        assert tab.cookies_set == []
        assert without.kinds() == ["token refused"]
        tab.site = site
        assert await tab.see() == {"a": 1}

    async def test_an_untouched_session_is_not_sealed_anew(self, settings: dict[str, Any]) -> None:
        """A request that does not look at the session sets no cookie."""
        tab = Site(Token(**settings), keys=[OLD]).tab()
        await tab.put(a=1)
        tab.site = Site(Token(**settings), keys=[NEW, OLD])
        await tab.do(lambda session: None)
        assert tab.cookies_set == []

    async def test_a_key_removed_while_instances_run(self, settings: dict[str, Any]) -> None:
        """What they have prepared and remembered of it goes too."""
        ring = Keyring([NEW, OLD])
        older = Site(Token(**settings), keys=[OLD])
        tab = older.tab()
        await tab.put(a=1)
        running = Site(Token(**settings), keys=ring)
        thief = running.tab()
        thief.jar = dict(tab.jar)
        assert await thief.see() == {"a": 1}
        thief.jar = dict(tab.jar)
        ring._replace([NEW])
        assert await thief.see() == {}


async def test_a_key_whose_time_has_not_come() -> None:
    """It opens tokens at once and makes none until then: every instance has it before the first token needs it."""
    clock = FakeClock(1_800_000_000.0)
    ring = Keyring([f"{NEW}@2027-01-15T08:10:00Z", OLD], clock=clock)  # ten minutes from now
    site = Site(keys=ring)
    site.clock = clock
    tab = site.tab()
    await tab.put(a=1)
    only_new = Site(keys=[NEW])
    tab.site = only_new
    assert await tab.see() == {}
    clock.advance(601)
    tab.site = site
    await tab.see()
    tab.site = only_new
    assert await tab.see() == {"a": 1}


async def test_tokens_of_another_application_are_nobody() -> None:
    """Same keys, another cookie name or audience: not accepted, whatever name it is sent under."""
    mine = Site(keys=[OLD])
    tab = mine.tab()
    await tab.put(a=1)
    token = tab.jar["__Host-session"]
    for other in (
        Site(keys=[OLD], cookie_name="other"),
        Site(Token(audience="else"), keys=[OLD]),
        Site(Token(issuer="else"), keys=[OLD]),
        Site(Token(text="json", audience="else"), keys=[OLD]),
    ):
        visitor = other.tab()
        visitor.jar = {"__Host-session": token, "__Host-other": token}
        assert await visitor.see() == {}
