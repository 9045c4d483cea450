"""What leaves the server: private values never, and in a token that others read only what was named as public."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from token_site import Site, Tab

from holdfast import Keyring, Session
from holdfast.testing import Flaky
from holdfast.tokens import Token
from holdfast.tokens.sealing import Sealing
from recording import RecordingStore

SECRET = "the-very-secret-value"

FORMATS: dict[str, dict[str, Any]] = {
    "jwe": {},
    "jwe json": {"text": "json"},
    "paseto local": {"format": "paseto"},
    "jws": {"format": "jws", "public": {"role"}},
    "paseto public": {"format": "paseto", "algorithm": "v4.public", "public": {"role"}},
}


def whole_token(tab: Tab) -> bytes:
    """The token in the browser's cookies."""
    sent = tab.site.instances[0]._engine._carrier.read(tab.cookie.encode())  # type: ignore[union-attr]
    assert sent is not None
    return sent.token


def readable_parts(token: bytes) -> bytes:
    """Everything in a token that anybody can read."""
    parts = [part + b"=" * (-len(part) % 4) for part in token.split(b".")]
    return b"".join(urlsafe_b64decode(part) for part in parts if len(part) > 8)


@pytest.mark.parametrize("settings", FORMATS.values(), ids=FORMATS)
class TestPrivate:
    """Values that must not leave the server are in no token, of whatever format, and in whatever way they were set."""

    WAYS: tuple[Callable[[Session], Any], ...] = (
        lambda session: session.update(oauth_token=SECRET),
        lambda session: session.setdefault("oauth_token", SECRET),
        lambda session: session.alter("oauth_token", lambda _: SECRET),
        lambda session: session.setdefault("oauth_nested", {}).update(a=[SECRET]),
        lambda session: (session.login("user-42"), session.update({"oauth_": SECRET})),
    )

    @pytest.mark.parametrize("way", range(len(WAYS)))
    async def test_in_no_token(self, settings: dict[str, Any], way: int) -> None:
        """The token is opened with the application's keys, and what it says is looked through."""
        keys, store = Keyring.generate(), RecordingStore()
        token = Token(**settings, private={"oauth_*"}, spill=store)
        site = Site(token, keys=keys)
        tab = site.tab()
        await tab.put(role="admin")
        await tab.do(self.WAYS[way])
        sent = whole_token(tab)
        said = Sealing(token, keys, "__Host-session").open(sent, site.clock.now)
        assert said.record.values.keys() == {"role"}
        assert SECRET.encode() not in repr(said).encode()
        assert SECRET.encode() not in sent
        assert SECRET.encode() not in readable_parts(sent)
        assert SECRET in repr(await tab.see(1))
        assert any(
            SECRET.encode() in data for record in store._records.values() for data in record.values.values()
        )

    async def test_moves_with_the_session_and_dies_with_it(self, settings: dict[str, Any]) -> None:
        """Login and rotation keep it, logout ends it in the store."""
        store = RecordingStore()
        tab = Site(Token(**settings, private={"oauth_*"}, spill=store)).tab()
        await tab.put(oauth_token=SECRET)
        await tab.do(lambda session: session.login("user-42"))
        await tab.do(lambda session: session.rotate())
        assert await tab.see(1) == {"oauth_token": SECRET}
        await tab.do(lambda session: session.logout())
        assert all(record.ended and not record.values for record in store._records.values())

    async def test_a_value_that_can_be_removed(self, settings: dict[str, Any]) -> None:
        """It is gone from the store, and stays gone."""
        store = RecordingStore()
        tab = Site(Token(**settings, private={"oauth_*"}, spill=store)).tab()
        await tab.put(oauth_token=SECRET, oauth_other=1)
        await tab.do(lambda session: session.pop("oauth_token"))
        assert await tab.see(1) == {"oauth_other": 1}
        assert all(record.values.keys() == {"oauth_other"} for record in store._records.values())

    async def test_a_failing_store_does_not_push_it_into_the_token(self, settings: dict[str, Any]) -> None:
        """503, and nothing has left the server."""
        store = Flaky(RecordingStore(), rate=1.0, when="before")
        tab = Site(Token(**settings, private={"oauth_*"}, spill=store)).tab()
        assert await tab.status(lambda session: session.update(oauth_token=SECRET)) == 503
        assert tab.jar == {}


async def test_a_value_that_becomes_private_leaves_the_token() -> None:
    """A name that is declared private today: the next token has it no more, and the server's word counts from then."""
    keys, store = Keyring.generate(), RecordingStore()
    tab = Site(Token(private={"p"}, spill=store), keys=keys).tab()
    await tab.put(p=0, oauth_token="old", n=1)
    late = tab.beside()
    late.jar = dict(tab.jar)
    token = Token(private={"p", "oauth_*"}, spill=store)
    late.site = tab.site = Site(token, keys=keys)
    assert await tab.see() == {"p": 0, "oauth_token": "old", "n": 1}
    await tab.put(n=2)
    said = Sealing(token, keys, "__Host-session").open(whole_token(tab), tab.site.clock.now)
    assert said.record.values.keys() == {"n"}
    await tab.put(oauth_token="new")
    assert await tab.see() == {"p": 0, "oauth_token": "new", "n": 2}
    assert (await late.see())["oauth_token"] == "new"  # and not the one that its own token still has


@pytest.mark.parametrize("settings", [FORMATS["jws"], FORMATS["paseto public"]], ids=["jws", "paseto public"])
async def test_a_value_that_is_not_private_any_more_stays_where_it_is(settings: dict[str, Any]) -> None:
    """Nor public: by being forgotten in the settings it becomes readable by nobody, and no request fails for it."""
    keys, store = Keyring.generate(), RecordingStore()
    before = Site(Token(**settings, private={"oauth_token", "cart"}, spill=store), keys=keys)
    site = Site(Token(**settings, private={"oauth_token"}, spill=store), keys=keys)
    tab = before.tab()
    await tab.put(role="admin", cart=[SECRET], oauth_token=SECRET)
    tab.site = site
    for _ in range(3):
        site.clock.advance(600)
        assert await tab.see() == {"role": "admin", "cart": [SECRET], "oauth_token": SECRET}
        assert tab.cookies_set == ["__Host-session"]  # its deadline is put off
    await tab.do(lambda session: session["cart"].append("tea"))
    await tab.do(lambda session: session.login("ann"))
    assert (await tab.see(1))["cart"] == [SECRET, "tea"]
    assert SECRET.encode() not in readable_parts(whole_token(tab))


async def test_a_reader_is_not_disturbed_by_what_is_not_public_any_more() -> None:
    """A renewal that would tell what must not be told is left out, and the request is answered."""
    keys = Keyring.generate()
    before = Site(Token("jws", public={"role", "cart"}, private={"p"}, spill=RecordingStore()), keys=keys)
    tab = before.tab()
    store = before.instances[0]._engine._backing.held.store.store  # type: ignore[union-attr]  # it has one
    await tab.put(role="admin", p=("a", "tuple"))
    site = tab.site = Site(Token("jws", public={"role", "cart", "p"}, private={"x"}, spill=store), keys=keys)
    site.clock.advance(600)
    assert await tab.see() == {"role": "admin", "p": ("a", "tuple")}
    assert tab.cookies_set == []


async def test_two_tabs_that_change_different_private_values() -> None:
    """They are held in the store, so neither change is lost, whichever token the browser keeps."""
    tab = Site(Token(private={"p_*"}, spill=RecordingStore())).tab()
    await tab.put(p_begin=0)
    one, other = tab.beside(), tab.beside()
    one.jar, other.jar = dict(tab.jar), dict(tab.jar)
    await one.put(p_one=1)
    await other.put(p_other=2)
    for each in (one, other):
        assert await each.see() == {"p_begin": 0, "p_one": 1, "p_other": 2}


READABLE: dict[str, dict[str, Any]] = {
    "EdDSA": {"format": "jws"},
    "ES256": {"format": "jws", "algorithm": "ES256"},
    "HS256": {"format": "jws", "algorithm": "HS256"},
    "v4.public": {"format": "paseto", "algorithm": "v4.public"},
}


@pytest.mark.parametrize("settings", READABLE.values(), ids=READABLE)
class TestPublic:
    """A token that anybody reads says what was named, and refuses the rest instead of leaking it."""

    def tab(self, settings: dict[str, Any]) -> Tab:
        return Site(Token(**settings, public={"role", "cart"})).tab()

    async def test_others_can_read_what_is_public(self, settings: dict[str, Any]) -> None:
        """As claims, without a key."""
        tab = self.tab(settings)
        await tab.put(role="admin", cart=["tea"])
        await tab.do(lambda session: session.login("user-42"))
        token = whole_token(tab)
        body = token.split(b".")[1 if settings["format"] == "jws" else 2]
        raw = urlsafe_b64decode(body + b"=" * (-len(body) % 4))
        claims, _ = json.JSONDecoder().raw_decode(raw.decode("latin-1"))
        assert (claims["role"], claims["cart"], claims["sub"]) == ("admin", ["tea"], "user-42")
        assert claims["aud"] == "__Host-session"

    @pytest.mark.parametrize(
        "act",
        [
            lambda session: session.update(email=SECRET),
            lambda session: session.setdefault("email", SECRET),
            lambda session: session.setdefault("email", []).append(SECRET),
            lambda session: session.alter("email", lambda _: SECRET),
            lambda session: session.update({"Role": SECRET}),
            lambda session: session.update({"role ": SECRET}),
        ],
    )
    async def test_what_was_not_named_is_refused(self, settings: dict[str, Any], act: Any) -> None:
        """In whatever way it was set; the error says what to do, no cookie is set, the session stays as it was."""
        tab = self.tab(settings)
        await tab.put(role="admin")
        before = dict(tab.jar)
        with pytest.raises(TypeError, match="readable by anybody"):
            await tab.do(act)
        assert tab.jar == before
        assert await tab.see() == {"role": "admin"}

    @pytest.mark.parametrize(
        "value",
        [
            b"bytes",
            (1,),
            {1},
            datetime(2026, 1, 1),
            2**60,
            float("nan"),
            float("inf"),
            {1: 2},
            [b"x"],
            {"a": (1,)},
        ],
        ids=repr,
    )
    async def test_the_wrong_kind_is_refused(self, settings: dict[str, Any], value: Any) -> None:
        """What JSON would change, round or not know at all."""
        tab = self.tab(settings)
        with pytest.raises(TypeError, match="JSON only"):
            await tab.put(role=value)
        assert tab.jar == {}

    @pytest.mark.parametrize(
        "act",
        [
            lambda session: session["cart"].append((1, 2)),
            lambda session: session["cart"][0].update(price=b"1"),
            lambda session: session.alter("cart", lambda cart: [*cart, {3}]),
        ],
    )
    async def test_the_wrong_kind_deep_within(self, settings: dict[str, Any], act: Any) -> None:
        """A nested change is looked at like any other."""
        tab = self.tab(settings)
        await tab.put(cart=[{"name": "tea"}])
        with pytest.raises(TypeError, match="JSON only"):
            await tab.do(act)
        assert await tab.see() == {"cart": [{"name": "tea"}]}

    async def test_a_handler_that_sees_the_error_can_answer(self, settings: dict[str, Any]) -> None:
        """It is raised where the response begins; a page about it may pass, and nothing of the change is kept."""
        site = Site(Token(**settings, public={"role"}))
        tab = site.tab()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scope["session"]["email"] = SECRET
            try:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            except TypeError:
                await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        from holdfast.asgi import SessionMiddleware

        tab.app = SessionMiddleware(app, site.instances[0])
        response = await tab.get()
        assert response.status == 500
        assert response.all("set-cookie") == []

    async def test_what_is_public_is_never_held_back(self, settings: dict[str, Any]) -> None:
        """Its readers would find it missing: too large is an error, also with a store."""
        from holdfast import SessionTooLarge

        store = RecordingStore()
        tab = Site(Token(**settings, public={"role"}, private={"p"}, spill=store, max_bytes=1_000)).tab()
        with pytest.raises(SessionTooLarge, match="'role'"):
            await tab.put(role="x" * 2_000)
        assert store.taken() == []

    async def test_a_name_that_is_not_public_any_more(self, settings: dict[str, Any]) -> None:
        """A deployment later: the old token's value is not taken over."""
        keys = Keyring.generate()
        site = Site(Token(**settings, public={"role", "cart"}), keys=keys)
        tab = site.tab()
        await tab.put(role="admin", cart=[])
        tab.site = Site(Token(**settings, public={"role"}), keys=keys)
        assert await tab.see() == {"role": "admin"}


@pytest.mark.parametrize("settings", FORMATS.values(), ids=FORMATS)
async def test_logs_and_events_hold_no_secret(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither values nor tokens."""
    caplog.set_level("DEBUG")
    site = Site(Token(**settings, private={"p"}, spill=RecordingStore(), revocation=RecordingStore()))
    tab = site.tab()
    await tab.put(p=SECRET)
    await tab.do(lambda session: session.login("user-42"))
    token = whole_token(tab).decode()
    tab.jar["__Host-session"] = "x" + token
    await tab.see()
    said = caplog.text + repr(site.events)
    assert SECRET not in said
    assert token[-40:] not in said
