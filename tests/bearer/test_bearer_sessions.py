"""`request.session` from an access token: `Sessions(token=…, transport="bearer")` behind the ASGI middleware."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from holdfast import BadToken, Bearer, ConfigError, Event, Keyring, Sessions, Token
from holdfast.asgi import SessionMiddleware
from holdfast.testing import FakeClock
from recording import RecordingStore

KEYS = Keyring.generate()
DAY = 86400.0


async def me(request: Request) -> JSONResponse:
    session = request.session
    return JSONResponse({"owner": session.owner, "handle": session.handle, **session})


async def write(request: Request) -> JSONResponse:
    request.session["role"] = "admin"
    return JSONResponse("written")


async def login(request: Request) -> JSONResponse:
    request.session.login("user-43")
    return JSONResponse("signed in")


async def logout(request: Request) -> JSONResponse:
    request.session.logout()
    return JSONResponse("signed out")


ROUTES = [Route("/me", me), Route("/write", write), Route("/login", login), Route("/logout", logout)]


class Site:
    """An application whose handlers read sessions, and the Bearer that begins them."""

    def __init__(self, token: Token, clock: FakeClock, **settings: Any) -> None:
        self.events: list[Event] = []
        self.store = RecordingStore()
        self.bearer = Bearer(self.store, token, keys=KEYS, clock=clock, name="api", **settings)
        self.sync = self.bearer.sync
        self.sessions = Sessions(
            token=token,
            keys=KEYS,
            transport="bearer",
            cookie_name="api",
            clock=clock,
            on_event=self.events.append,
        )
        app = SessionMiddleware(Starlette(routes=ROUTES), self.sessions)
        self.client = TestClient(app, base_url="https://api.example")

    def get(self, path: str, access: str | None = None) -> Any:
        return self.client.get(path, headers={"authorization": f"Bearer {access}"} if access else {})

    def handle(self, access: str) -> str:
        return self.bearer.open(f"Bearer {access}").handle


TOKENS = {
    "jwe": Token(),
    "jws": Token("jws", public={"role"}),
    "paseto": Token("paseto"),
}


@pytest.mark.parametrize("name", TOKENS)
def test_a_handler_reads_the_session(name: str, clock: FakeClock) -> None:
    """Owner, handle and values, with no store and no cookie; caches keep answers apart by who has asked."""
    site = Site(TOKENS[name], clock)
    access = site.sync.issue("user-42", {"role": "admin"}).access
    site.store.taken()
    response = site.get("/me", access)
    assert response.json() == {"owner": "user-42", "handle": site.handle(access), "role": "admin"}
    assert response.headers["vary"] == "Authorization"
    assert "set-cookie" not in response.headers
    assert site.store.taken() == []


@pytest.mark.parametrize("name", TOKENS)
def test_without_a_good_token_nobody_is_signed_in(name: str, clock: FakeClock) -> None:
    """None, garbage, a refresh token, one that is expired, one under another key: all the same to the handler."""
    site = Site(TOKENS[name], clock)
    old = site.sync.issue("user-42", {"role": "admin"})
    stranger = Bearer(RecordingStore(), TOKENS[name], keys=Keyring.generate(), clock=clock).sync.issue(
        "user-42"
    )
    clock.advance(300)
    for access in (None, "x", old.refresh, old.access, stranger.access):
        response = site.get("/me", access)
        assert response.json() == {"owner": None, "handle": None}
        assert "set-cookie" not in response.headers
    twice = [("authorization", f"Bearer {site.sync.issue('user-42').access}")] * 2
    assert site.client.get("/me", headers=twice).json()["owner"] is None


@pytest.mark.parametrize("path", ["/write", "/login", "/logout"])
def test_a_handler_cannot_change_it(path: str, clock: FakeClock) -> None:
    """What it did would be lost with the response: it hears so, and who does such things instead."""
    site = Site(TOKENS["jwe"], clock)
    access = site.sync.issue("user-42", {"role": "reader"}).access
    with pytest.raises(ConfigError, match="its Bearer"):
        site.get(path, access)
    assert site.get("/me", access).json()["role"] == "reader"


@pytest.mark.parametrize("age", [1, 20, 89])
def test_a_session_lives_as_long_as_its_bearer_says(age: int, clock: FakeClock) -> None:
    """Not as long as sessions with cookies do, whose twelve hours are over long before."""
    site = Site(TOKENS["jwe"], clock, idle="90d")
    pair = site.sync.issue("user-42", {"role": "admin"})
    clock.advance(age * DAY)
    assert site.get("/me", site.sync.refresh(pair.refresh).access).json()["role"] == "admin"


def test_administrators_are_sent_to_the_bearer(clock: FakeClock) -> None:
    """Here only an access token would end, and the refresh token would bring the session back."""
    site = Site(Token(revocation=RecordingStore()), clock)
    handle = site.handle(site.sync.issue("user-42").access)
    with pytest.raises(ConfigError, match=r"bearer\.end\(\)"):
        site.sessions.sync.end(handle)
    with pytest.raises(ConfigError, match=r"bearer\.end_all\(\)"):
        site.sessions.sync.end_all("user-42")


class TestRevocation:
    """`Token(revocation=…)`: an access token ends with its session, within the bound (OWASP ASVS 7.4.1)."""

    def site(self, clock: FakeClock) -> Site:
        self.notes = RecordingStore()
        return Site(Token("jws", public={"role"}, revocation=self.notes, revoke_within="5s"), clock)

    @pytest.mark.parametrize("how", ["revoke", "end", "end_all", "reuse"])
    def test_every_ending_is_heeded(self, how: str, clock: FakeClock) -> None:
        """Whoever ends it: five seconds later no instance takes the access token any more."""
        site = self.site(clock)
        first = site.sync.issue("user-42", {"role": "admin"})
        other = site.sync.issue("user-43", {"role": "other"})
        pair = site.sync.refresh(first.refresh)
        clock.advance(31)
        assert site.get("/me", pair.access).json()["owner"] == "user-42"
        if how == "revoke":
            site.sync.revoke(pair.refresh)
        elif how == "end":
            assert site.sync.end(site.handle(pair.access))
        elif how == "end_all":
            assert site.sync.end_all("user-42") == 1
        else:
            with pytest.raises(BadToken, match="reused"):
                site.sync.refresh(first.refresh)
        clock.advance(5.1)
        assert site.get("/me", pair.access).json()["owner"] is None
        assert site.get("/me", first.access).json()["owner"] is None
        assert site.get("/me", other.access).json()["owner"] == "user-43"

    def test_what_it_costs(self, clock: FakeClock) -> None:
        """One question for a session in five seconds, and none for a sign-in."""
        site = self.site(clock)
        access = site.sync.issue("user-42").access
        assert self.notes.taken() == []
        for _ in range(3):
            for _ in range(10):
                assert site.get("/me", access).json()["owner"] == "user-42"
            assert self.notes.taken() == ["load"]
            clock.advance(5.1)

    def test_the_note_comes_first(self, clock: FakeClock) -> None:
        """If it cannot be made, nothing has ended, and whoever asked for it is told."""
        site = self.site(clock)
        pair = site.sync.issue("user-42")
        self.notes.failure = ConnectionError()
        with pytest.raises(Exception, match="not available"):
            site.sync.revoke(pair.refresh)
        self.notes.failure = None
        assert site.sync.refresh(pair.refresh)

    def test_a_sign_in_after_signing_out_everywhere_counts(self, clock: FakeClock) -> None:
        """At the same moment too, and with the sessions of browsers signed out by the same notes."""
        site = self.site(clock)
        browsers = Sessions(token=Token(revocation=self.notes), keys=KEYS, clock=clock)
        site.sync.issue("user-42")
        site.sync.end_all("user-42")
        browsers.sync.end_all("user-42")
        assert site.get("/me", site.sync.issue("user-42").access).json()["owner"] == "user-42"

    def test_a_note_outlives_the_access_tokens(self, clock: FakeClock) -> None:
        """And is forgotten afterwards."""
        site = self.site(clock)
        pair = site.sync.issue("user-42")
        clock.advance(10)
        site.sync.revoke(pair.refresh)
        (note,) = self.notes._records.values()
        assert clock.now + 300 <= note.expires_at <= clock.now + 600
