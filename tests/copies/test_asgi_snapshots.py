"""Snapshots behind the ASGI middleware: what travels in a response, and clients without cookies."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_client import Browser, Response
from holdfast import Keyring, SessionNotLoaded, Sessions
from holdfast.asgi import SessionMiddleware
from holdfast.testing import FakeClock
from recording import RecordingStore

KEYS = Keyring.generate()
PIN_SECONDS = 32.0


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Writes, replaces, or looks at its session, as the path says."""
    session, headers, body = scope["session"], [], b""
    match scope["path"]:
        case "/write":
            session.update(n=1, oauth_token="secret")
        case "/replace":
            # As Litestar's `request.set_session` does.
            scope["session"] = {"m": 2}
        case "/spread":
            scope["session"] = {**session, "m": 2}
        case "/logout":
            session.logout()
        case "/private":
            headers = [(b"cache-control", b"private, max-age=60")]
            body = repr(session["n"]).encode()
        case "/untouched":
            pass
        case _:
            body = repr(sorted(session)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Visit(Browser):
    """A browser, instances of one application, and their clock."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock(1_800_000_000.0)
        self.store = RecordingStore()
        self.settings = {"snapshot": "30s", "revoke_within": "31s", "local": None, **settings}
        super().__init__(self.instance())

    def instance(self) -> Any:
        """An instance that has never served anybody."""
        sessions = Sessions(self.store, keys=KEYS, clock=self.clock, **self.settings)
        return SessionMiddleware(application, sessions, debug_header=True)

    async def quiet(self) -> Response:
        """The first read after the pin of a write has died."""
        await self.get("/write")
        self.clock.advance(PIN_SECONDS + 0.5)
        self.jar = {name: value for name, value in self.jar.items() if not name.endswith("-pin")}
        return await self.get("/read")


async def test_what_a_response_with_a_snapshot_says() -> None:
    """One cookie more, for as long as it is good, and nothing that a shared cache may keep."""
    visit = Visit()
    visit.clock.advance(0.25)
    response = await visit.quiet()
    (line,) = response.all("set-cookie")
    assert line.startswith("__Host-session-snapshot=")
    assert line.partition("; ")[2] == "Max-Age=30; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert len(line) < 500
    assert response.get("cache-control") == "no-store"
    assert response.get("vary") == "Cookie"
    assert len(visit.cookie or "") < 1000


async def test_a_cold_instance_behind_the_middleware() -> None:
    """Answers without the store, and sets no cookie."""
    visit = Visit()
    await visit.quiet()
    visit.app = visit.instance()
    visit.store.taken()
    response = await visit.get("/read")
    assert response.get("holdfast-explain") == "snapshot"
    assert (response.body, response.all("set-cookie")) == (b"['n', 'oauth_token']", [])
    assert visit.store.taken() == []


async def test_what_the_application_says_of_caching_stands() -> None:
    """`private` forbids shared caches already."""
    visit = Visit()
    await visit.quiet()
    visit.clock.advance(31)
    response = await visit.get("/private")
    assert response.all("set-cookie")[0].startswith("__Host-session-snapshot=")
    assert response.all("cache-control") == ["private, max-age=60"]


async def test_a_request_that_does_not_look_is_given_none() -> None:
    """It varies by nothing and stays cacheable."""
    visit = Visit()
    await visit.quiet()
    visit.clock.advance(31)
    response = await visit.get("/untouched")
    assert (response.all("set-cookie"), response.all("cache-control")) == ([], [])


async def test_a_logout_clears_it() -> None:
    """Together with identity, floor and pins."""
    visit = Visit()
    await visit.quiet()
    await visit.get("/logout")
    assert visit.jar == {}


async def test_a_framework_that_replaces_the_session() -> None:
    """What it puts in its place is all that is left, private values too: that is what was asked for."""
    visit = Visit(private={"oauth_token"})
    await visit.quiet()
    visit.app = visit.instance()
    response = await visit.get("/replace")
    assert response.get("holdfast-explain") == "snapshot"
    assert (await visit.get("/read")).body == b"['m']"


async def test_a_framework_that_builds_upon_the_session_loses_nothing_unread() -> None:
    """To copy what is not there is an error, not a session without it."""
    visit = Visit(private={"oauth_token"})
    await visit.quiet()
    visit.app = visit.instance()
    with pytest.raises(SessionNotLoaded, match="oauth_token"):
        await visit.get("/spread")
    assert (await visit.get("/read")).body == b"['n', 'oauth_token']"


async def test_a_snapshot_travels_in_a_header() -> None:
    """For clients that keep no cookies; a logout empties it."""
    visit = Visit(transport="header")
    held: dict[str, str] = {}

    async def ask(path: str) -> Response:
        sent: list[Any] = []
        scope = visit.scope(path)
        scope["headers"] = [(name.encode(), value.encode()) for name, value in held.items()]

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await visit.app(scope, receive, send)
        response = Response(sent)
        held.update(
            (name.decode(), value.decode())
            for name, value in response.headers
            if name.startswith(b"holdfast-") and name != b"holdfast-explain"
        )
        return response

    await ask("/write")
    visit.clock.advance(PIN_SECONDS + 0.5)
    del held["holdfast-pin"]
    first = await ask("/read")
    assert (first.get("holdfast-snapshot") or "").startswith("A")
    assert first.all("set-cookie") == []
    visit.app = visit.instance()
    visit.store.taken()
    second = await ask("/read")
    assert (second.get("holdfast-explain"), second.get("holdfast-snapshot")) == ("snapshot", None)
    assert visit.store.taken() == []
    await ask("/logout")
    assert held["holdfast-snapshot"] == ""
    assert (await ask("/read")).body == b"[]"
