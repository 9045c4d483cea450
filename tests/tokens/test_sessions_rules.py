"""Sessions that travel with their clients keep the rules of all sessions: values, economy, timeouts, beginning, end."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from token_site import Site, Tab

from holdfast import ConfigError, Keyring, ResponseStarted, Session, Sessions
from holdfast.asgi import SessionMiddleware
from holdfast.testing import FakeClock
from holdfast.tokens import Token

KEYS = Keyring.generate()

ENCRYPTED: dict[str, dict[str, Any]] = {
    "jwe": {},
    "jwe with json": {"text": "json"},
    "paseto local": {"format": "paseto"},
}
READABLE: dict[str, dict[str, Any]] = {
    "jws EdDSA": {"format": "jws"},
    "jws ES256": {"format": "jws", "algorithm": "ES256"},
    "jws HS256": {"format": "jws", "algorithm": "HS256"},
    "paseto public": {"format": "paseto", "algorithm": "v4.public"},
}
VALUES: dict[str, Any] = {
    "none": None,
    "bool": True,
    "int": -(2**80),
    "float": 0.1,
    "text": "Größe \U0001f600 ; = , ~",
    "bytes": bytes(range(256)),
    "naive": datetime(2026, 11, 23, 20, 0, 0, 123456),
    "zone": datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    "offset": datetime(2026, 11, 23, tzinfo=timezone(timedelta(minutes=90))),
    "utc": datetime(2026, 11, 23, tzinfo=UTC),
    "date": date(2026, 11, 23),
    "uuid": UUID(int=7),
    "decimal": Decimal("1.10"),
    "list": [1, [2, (3,)], {"a": b"b"}],
    "tuple": (1, "a", None),
    "set": {1, 2},
    "frozenset": frozenset({"a"}),
    "dict": {1: "one", "two": 2, (3,): [3]},
    "": "an empty name",
}


class TestFormats:
    """The handler's code is the same for each of them."""

    def test_encrypted_is_the_default(self) -> None:
        """A session holds sensitive things: who says nothing gets a JWE."""
        assert (Token().format, Token().algorithm, Token().is_readable) == ("jwe", "A256GCM", False)

    @pytest.mark.parametrize(
        "settings", [*ENCRYPTED.values(), *READABLE.values()], ids=[*ENCRYPTED, *READABLE]
    )
    async def test_one_handler_for_all(self, settings: dict[str, Any]) -> None:
        """Set, nested change, alter, login, rotate, logout: whatever the token, on whichever instance."""
        public = {"public": {"cart", "visits"}} if settings in READABLE.values() else {}
        tab = Site(Token(**settings, **public)).tab()
        await tab.put(cart=["tea"])
        await tab.do(lambda session: session["cart"].append("milk"), 1)
        assert await tab.do(lambda session: session.alter("visits", lambda n: n + 1, default=0)) == 1
        await tab.do(lambda session: session.login("user-42"), 1)
        handle = await tab.do(lambda session: session.handle)
        await tab.do(lambda session: session.rotate())
        assert await tab.do(lambda session: session.handle, 1) != handle
        assert await tab.see(1) == {"cart": ["tea", "milk"], "visits": 1}
        assert await tab.do(lambda session: session.owner) == "user-42"
        await tab.do(lambda session: session.logout(), 1)
        assert tab.jar == {}
        assert await tab.see() == {}

    @pytest.mark.parametrize("settings", ENCRYPTED.values(), ids=ENCRYPTED)
    async def test_values_come_back_exactly(self, settings: dict[str, Any]) -> None:
        """Every type that a session holds, with its type, through an encrypted token."""
        tab = Site(Token(**settings)).tab()
        await tab.do(lambda session: session.update(VALUES))
        found = await tab.see(1)
        assert found == VALUES
        assert repr({name: found[name] for name in VALUES}) == repr(VALUES)  # types, folds and zones too

    @pytest.mark.parametrize("value", [None, True, 7, 0.5, "a", [1, {"a": [None]}], {"a": {"b": 1}}])
    @pytest.mark.parametrize("settings", READABLE.values(), ids=READABLE)
    async def test_public_values_come_back_exactly(self, settings: dict[str, Any], value: Any) -> None:
        """What JSON knows comes back through a readable token as it was."""
        tab = Site(Token(**settings, public={"a"})).tab()
        await tab.put(a=value)
        assert repr((await tab.see(1))["a"]) == repr(value)

    @pytest.mark.parametrize(
        "settings", [*ENCRYPTED.values(), *READABLE.values()], ids=[*ENCRYPTED, *READABLE]
    )
    async def test_the_header_transport(self, settings: dict[str, Any]) -> None:
        """Clients without cookies send `Holdfast-Session`, and are given a new one in the same header."""
        public = {"public": {"n"}} if settings in READABLE.values() else {}
        clock = FakeClock()
        sessions = Sessions(token=Token(**settings, **public), keys=KEYS, transport="header", clock=clock)

        def request(token: bytes | None, **values: Any) -> tuple[dict[str, Any], dict[bytes, bytes]]:
            session = sessions.open(b"session=ignored", [(b"holdfast-session", token)] if token else [])
            sessions.sync.load(session)
            session.update(values)
            sessions.sync.commit(session)
            return dict(session), dict(session._outgoing())

        token = request(None, n=1)[1][b"holdfast-session"]
        assert request(token) == ({"n": 1}, {})
        assert request(token[:-1]) == ({}, {})
        assert sessions.vary == b"Holdfast-Session"


class TestEconomy:
    """No cookie without a reason."""

    async def test_visitors_who_store_nothing_get_no_token(self) -> None:
        """Also if the session was looked at, or what was set was removed."""
        tab = Site().tab()
        assert await tab.see() == {}
        await tab.do(lambda session: (session.update(a=1), session.clear()))
        assert tab.cookies_set == []

    async def test_an_untouched_session_sets_no_cookie(self) -> None:
        """Not even when its deadline could be put off."""
        site = Site(idle="30m")
        tab = site.tab()
        await tab.put(a=1)
        site.clock.advance(20 * 60)
        await tab.do(lambda session: None)
        assert tab.cookies_set == []
        assert tab.last is not None
        assert tab.last.headers == []

    async def test_reading_renews_once_a_tenth_of_the_idle_timeout_has_gone(self) -> None:
        """Not at 179 seconds out of 1,800, and at 180: then the session lives for another 1,800."""
        site = Site(idle="30m")
        tab = site.tab()
        await tab.put(a=1)
        site.clock.advance(179)
        await tab.see()
        assert tab.cookies_set == []
        site.clock.advance(1)
        await tab.see(1)
        assert tab.cookies_set == ["__Host-session"]
        assert "Max-Age=1800;" in tab.last.all("set-cookie")[0]
        site.clock.advance(1799)
        assert await tab.see() == {"a": 1}

    async def test_setting_the_same_value_sets_no_cookie(self) -> None:
        """What the token says already need not be said again."""
        tab = Site().tab()
        await tab.put(a=[1])
        await tab.put(a=[1])
        assert tab.cookies_set == []

    async def test_shared_caches_keep_no_token(self) -> None:
        """`Cache-Control: no-store` with the cookie, and `Vary: Cookie` as soon as the session was looked at."""
        tab = Site().tab()
        await tab.put(a=1)
        assert tab.last.get("cache-control") == "no-store"
        await tab.see()
        assert (tab.last.get("cache-control"), tab.last.get("vary")) == (None, "Cookie")


class TestTime:
    """Both timeouts are the server's word, and no token outlives them."""

    async def test_idle(self) -> None:
        """At the deadline the session is over, whatever the browser sends."""
        site = Site(idle="30m")
        tab = site.tab()
        await tab.put(a=1)
        site.clock.advance(1799)
        assert await tab.do(len) == 1
        site.clock.advance(1800)
        assert await tab.do(len, 1) == 0

    async def test_absolute(self) -> None:
        """Use puts the idle deadline off, and the absolute one not."""
        site = Site(idle="30m", absolute="1h")
        tab = site.tab()
        await tab.put(a=1)
        for _ in range(3):
            site.clock.advance(1190)
            assert await tab.see() == {"a": 1}
        assert tab.cookies_set == []  # the last request had nothing to gain
        site.clock.advance(30)
        assert await tab.see() == {}

    async def test_a_shorter_timeout_holds_for_tokens_that_are_out_there(self) -> None:
        """An absolute timeout that is lowered today ends what began too long ago."""
        site, keys = Site(keys=KEYS, absolute="12h"), KEYS
        tab = site.tab()
        await tab.put(a=1)
        stricter = Site(keys=keys, absolute="10m")
        stricter.clock.now = site.clock.now + 601
        tab.site = stricter
        assert await tab.see() == {}

    async def test_an_expired_token_is_no_error(self) -> None:
        """The visitor begins anew: a write plants a new session in its place."""
        site = Site(idle="1m")
        tab = site.tab()
        await tab.put(a=1)
        site.clock.advance(61)
        await tab.put(b=2)
        assert await tab.see() == {"b": 2}


class TestBeginningAndEnd:
    """Identities, and what is left of them."""

    async def test_login_begins_anew(self) -> None:
        """Another handle, the absolute timeout from now, the data as it was."""
        site = Site(absolute="1h")
        tab = site.tab()
        await tab.put(cart=["tea"])
        before = await tab.do(lambda session: (session.handle, session.created_at))
        site.clock.advance(600)
        await tab.do(lambda session: session.login("user-42"))
        handle, created_at, cart = await tab.do(
            lambda session: (session.handle, session.created_at, session["cart"]), 1
        )
        assert handle != before[0]
        assert created_at == before[1] + 600
        assert cart == ["tea"]
        assert await tab.do(lambda session: session.is_new) is False

    async def test_rotate_keeps_the_absolute_timeout(self) -> None:
        """A new identity, and not a second more."""
        site = Site()
        tab = site.tab()
        await tab.put(a=1)
        before = await tab.do(lambda session: (session.handle, session.created_at))
        site.clock.advance(100)
        await tab.do(lambda session: session.rotate())
        after = await tab.do(lambda session: (session.handle, session.created_at))
        assert after[0] != before[0]
        assert after[1] == before[1]

    async def test_a_token_planted_before_login_is_not_signed_in_after_it(self) -> None:
        """No fixation: whoever knew the anonymous token still has an anonymous one."""
        tab = Site().tab()
        await tab.put(a=1)
        thief = tab.beside()
        thief.jar = dict(tab.jar)
        await tab.do(lambda session: session.login("user-42"))
        assert await thief.do(lambda session: session.owner) is None

    async def test_logout_clears_all_parts(self) -> None:
        """Nothing of a session in several cookies is left in the browser."""
        tab = Site(Token(max_bytes=20_000)).tab()
        await tab.put(big="x" * 10_000)
        assert len(tab.jar) == 4
        await tab.do(lambda session: session.logout())
        assert tab.jar == {}

    async def test_what_is_put_in_after_logout_begins_a_new_session(self) -> None:
        """In the same request too, with no more parts than it needs."""
        tab = Site(Token(max_bytes=20_000)).tab()
        await tab.put(big="x" * 10_000)
        handle = await tab.do(lambda session: session.handle)
        await tab.do(lambda session: (session.logout(), session.update(hello="again")))
        assert list(tab.jar) == ["__Host-session"]
        assert await tab.see() == {"hello": "again"}
        assert await tab.do(lambda session: session.handle) != handle

    @pytest.mark.parametrize("begun_before", [False, True])
    async def test_a_token_made_earlier_in_the_request_does_not_outlive_its_logout(
        self, begun_before: bool
    ) -> None:
        """Committed by hand, then signed out: the response plants nothing."""
        tab = Site().tab()
        if begun_before:
            await tab.put(a=1)

        async def act(session: Session) -> None:
            session["a"] = 2
            await session.commit()
            session.logout()

        await tab.do(act)
        assert tab.jar == {}

    async def test_several_commits_plant_one_token(self) -> None:
        """The last one, and it has it all."""
        tab = Site().tab()

        async def act(session: Session) -> None:
            session["a"] = 1
            await session.commit()
            session["b"] = 2
            await session.commit()

        await tab.do(act)
        assert tab.cookies_set == ["__Host-session"]
        assert await tab.see() == {"a": 1, "b": 2}


class TestTooLateToTell:
    """A cookie that cannot be sent any more is an error, never a change that is lost in silence."""

    async def test_a_stream_that_changes_the_session(self) -> None:
        """After the response has begun, the session of a token is read-only."""

        async def stream(scope: Any, receive: Any, send: Any) -> None:
            session = scope["session"]
            session["a"] = 1
            await send({"type": "http.response.start", "status": 200, "headers": []})
            assert session["a"] == 1
            await session.commit()  # there is nothing to commit
            session["a"] = 2
            await session.commit()

        tab = Site().tab()
        tab.app = SessionMiddleware(stream, tab.site.instances[0])
        with pytest.raises(ResponseStarted, match="cookie can no longer be sent"):
            await tab.get()

    async def test_a_stream_that_never_commits(self) -> None:
        """It hears of it at its next chunk."""

        async def stream(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            scope["session"]["a"] = 2
            await send({"type": "http.response.body", "body": b""})

        tab = Site().tab()
        tab.app = SessionMiddleware(stream, tab.site.instances[0])
        with pytest.raises(ResponseStarted):
            await tab.get()

    @pytest.mark.parametrize("late", [False, True])
    async def test_a_websocket(self, late: bool) -> None:
        """What is committed before the handshake's answer goes with it; after it, the change is refused."""
        sent: list[Any] = []

        async def socket(scope: Any, receive: Any, send: Any) -> None:
            if late:
                await send({"type": "websocket.accept"})
            scope["session"]["a"] = 1
            await scope["session"].commit()
            if not late:
                await send({"type": "websocket.accept"})

        async def send(message: Any) -> None:
            sent.append(message)

        tab = Site().tab()
        app = SessionMiddleware(socket, tab.site.instances[0])
        run = app(tab.scope(kind="websocket"), None, send)  # type: ignore[arg-type]  # nothing is received
        if late:
            with pytest.raises(ResponseStarted):
                await run
        else:
            await run
            assert any(name == b"set-cookie" for name, _ in sent[0]["headers"])


class TestConfiguration:
    """What could not work is refused when the application starts, with what to do."""

    @pytest.mark.parametrize(
        ("settings", "match"),
        [
            ({"store": "memory://"}, "leave token= out"),
            ({"snapshot": "30s"}, "leave token= out"),
            ({"cache": "memory://"}, "cache=: token= keeps"),
            ({"private": {"a"}}, r"Token\(private="),
            ({"outage": "anonymous"}, "outage="),
        ],
        ids=str,
    )
    def test_settings_of_sessions_in_a_store(self, settings: dict[str, Any], match: str) -> None:
        """They mean nothing to a token, so saying them is a misunderstanding."""
        with pytest.raises(ConfigError, match=match):
            Sessions(token=Token(), keys=KEYS, **settings)

    @pytest.mark.parametrize(
        ("settings", "match"),
        [
            ({"format": "jwt"}, "jwe"),
            ({"algorithm": "none"}, "A256GCM"),
            ({"format": "jws", "algorithm": "A256GCM"}, "EdDSA"),
            ({"max_bytes": 100}, "512"),
            ({"max_bytes": 100_000}, "60000"),
            ({"public": {"a"}}, "shows nothing"),
            ({"format": "jws", "public": {"a*"}}, "one by one"),
            ({"format": "jws", "public": "role"}, "set of names"),
            (
                {"format": "jws", "public": {"a"}, "private": {"a"}, "spill": "memory://"},
                "public and private",
            ),
            ({"format": "jws", "public": {"a"}, "spill": "memory://"}, "travels whole"),
            ({"private": {"a"}}, "spill="),
            ({"revoke_within": 0}, "revoke_within"),
        ],
        ids=str,
    )
    def test_settings_of_tokens(self, settings: dict[str, Any], match: str) -> None:
        """Each with the name of what is wrong."""
        with pytest.raises(ConfigError, match=match):
            Token(**settings)

    @pytest.mark.parametrize("name", ["exp", "sub", "jti", "ver", "held"])
    def test_names_of_claims_are_taken(self, name: str) -> None:
        """No value of a session can pass for what the token says about itself."""
        with pytest.raises(ConfigError, match=name):
            Sessions(token=Token("jws", public={name}), keys=KEYS)

    @pytest.mark.parametrize(
        "where",
        [{"spill": "memcached://localhost", "private": {"a"}}, {"revocation": "memcached://localhost"}],
    )
    def test_a_store_that_forgets_has_to_be_accepted(self, where: dict[str, Any]) -> None:
        """One that throws notes out when it is full would let signed-out users in again."""
        with pytest.raises(ConfigError, match="forgets"):
            Sessions(token=Token(**where), keys=KEYS)
        accepted = {
            name: value + "?forgets=accepted" if isinstance(value, str) else value
            for name, value in where.items()
        }
        Sessions(token=Token(**accepted), keys=KEYS)


async def test_sync_callers_have_the_same_sessions() -> None:
    """Both colours read what the other has planted."""
    site = Site()
    tab = site.tab()
    await tab.put(a=1)
    session = site.instances[1].open(tab.cookie.encode())
    site.instances[1].sync.load(session)
    session["b"] = 2
    site.instances[1].sync.commit(session)
    (line,) = [value.decode() for name, value in session._outgoing()]
    tab.cookie = line.partition(";")[0]
    assert await tab.see() == {"a": 1, "b": 2}


async def test_a_host_that_passes_one_cookie_gets_one() -> None:
    """Firebase Hosting drops every cookie but `__session`: a token never has a second part there."""
    tab = Site(Token(max_bytes=20_000, spill="memory://"), cookie_name="__session").tab()
    await tab.put(small=1, big="x" * 10_000)
    assert list(tab.jar) == ["__session"]
    assert await tab.see() == {"small": 1, "big": "x" * 10_000}


def test_tabs_are_browsers() -> None:
    """(The tests' own: a tab shares its cookies with the others of its browser.)"""
    tab: Tab = Site().tab()
    assert tab.beside().jar is tab.jar
