"""The application on the page about bearer tokens, used as a client would."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.testclient import TestClient

from holdfast import Bearer, SessionGone, Token
from holdfast.stores.memory import MemoryStore
from holdfast.stores.sqlite import SQLiteStore
from holdfast.testing import FakeClock

PAGE = Path(__file__).parents[2] / "docs" / "bearer.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
ZOE = {"user": "zoe", "password": "correct horse"}


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page's first example defines, run as it stands."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(EXAMPLES[0], names)
    return names


@pytest.fixture
def client(shown: dict[str, Any]) -> TestClient:
    """A client of that application."""
    return TestClient(shown["app"], base_url="https://api.example", raise_server_exceptions=False)


def authorization(tokens: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {tokens['access_token']}"}


def test_from_login_to_logout(client: TestClient) -> None:
    """Sign in, read, refresh, sign out; each answer as the standards have it."""
    response = client.post("/login", json=ZOE)
    tokens = response.json()
    assert response.headers["cache-control"] == "no-store"
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 300)
    assert client.get("/me", headers=authorization(tokens)).json() == {"user": "zoe", "role": "admin"}
    assert client.get("/cart", headers=authorization(tokens)).json() == ["tea"]

    response = client.post("/refresh", json={"refresh_token": tokens["refresh_token"]})
    renewed = response.json()
    assert response.headers["cache-control"] == "no-store"
    assert renewed["refresh_token"] != tokens["refresh_token"]
    assert client.get("/me", headers=authorization(renewed)).json() == {"user": "zoe", "role": "admin"}

    assert client.post("/logout", json={"refresh_token": renewed["refresh_token"]}).status_code == 204
    assert client.post("/logout", json={"refresh_token": "garbage"}).status_code == 204
    response = client.post("/refresh", json={"refresh_token": renewed["refresh_token"]})
    assert (response.status_code, response.json()) == (400, {"error": "invalid_grant"})
    assert client.get("/cart", headers=authorization(renewed)).status_code == 401, "the store knows at once"


def test_without_a_token(client: TestClient) -> None:
    """401, with a challenge that says what is needed."""
    response = client.get("/me")
    assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Bearer realm="api"')
    response = client.get("/me", headers={"authorization": "Bearer garbage"})
    assert response.headers["www-authenticate"] == 'Bearer realm="api", error="invalid_token"'
    assert client.post("/login", json={"user": "zoe", "password": "?"}).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"1",
        b"{}",
        b'{"refresh_token": 123}',
        b'{"refresh_token": null}',
        b'{"refresh_token": []}',
        pytest.param(b"[" * 100_000, id="too deep"),
    ],
)
def test_bodies_that_no_client_of_ours_sends(client: TestClient, body: bytes) -> None:
    """Are refused like any token that is none, not answered with a server's error."""
    assert client.post("/refresh", content=body).status_code == 400
    assert client.post("/logout", content=body).status_code == 204


def test_with_a_store_for_revocation(
    shown: dict[str, Any], client: TestClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same routes of two instances, with nothing but the Token changed: five seconds after logout, 401 on both."""
    notes = MemoryStore()
    here, there = (
        Bearer(
            "sqlite:///sessions.db",
            Token("jws", public={"role"}, revocation=notes),
            keys=shown["keys"],
            clock=clock,
        )
        for _ in range(2)
    )
    monkeypatch.setitem(shown, "bearer", here)
    tokens = client.post("/login", json=ZOE).json()
    monkeypatch.setitem(shown, "bearer", there)
    assert client.get("/me", headers=authorization(tokens)).status_code == 200
    monkeypatch.setitem(shown, "bearer", here)
    assert client.post("/logout", json={"refresh_token": tokens["refresh_token"]}).status_code == 204
    assert client.get("/me", headers=authorization(tokens)).status_code == 401
    clock.advance(5.1)
    monkeypatch.setitem(shown, "bearer", there)
    assert client.get("/me", headers=authorization(tokens)).status_code == 401


def test_while_the_store_is_away(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 for what needs it, nothing else; and nobody is signed out by it."""
    tokens = client.post("/login", json=ZOE).json()

    async def broken(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as outage:
        outage.setattr(SQLiteStore, "load", broken)
        response = client.post("/refresh", json={"refresh_token": tokens["refresh_token"]})
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        assert client.get("/cart", headers=authorization(tokens)).status_code == 503
        assert client.get("/me", headers=authorization(tokens)).status_code == 200
    assert client.post("/refresh", json={"refresh_token": tokens["refresh_token"]}).status_code == 200


async def test_sessions_from_access_tokens(shown: dict[str, Any]) -> None:
    """The second example, in front of a handler that reads `request.session`."""

    async def whoami(request: Request) -> JSONResponse:
        return JSONResponse({"owner": request.session.owner, **request.session})

    shown["app"].add_route("/whoami", whoami)
    pair = await shown["bearer"].issue("zoe", {"role": "admin", "cart": ["tea"]})
    exec(EXAMPLES[1], shown)
    client = TestClient(shown["app"], base_url="https://api.example")
    found = await asyncio.to_thread(client.get, "/whoami", headers={"authorization": f"Bearer {pair.access}"})
    assert found.json() == {"owner": "zoe", "role": "admin"}


async def test_changing_and_ending(shown: dict[str, Any]) -> None:
    """The third example: the role changes, and the other devices are signed out."""
    exec(EXAMPLES[2], shown)
    bearer = shown["bearer"]
    pairs = [await bearer.issue("zoe", {"role": "admin", "cart": ["tea"]}) for _ in range(3)]
    claims = bearer.open(f"Bearer {pairs[0].access}")
    await shown["administrate"](bearer, claims)
    assert (await bearer.load(claims.handle)).values == {"role": "reader"}
    assert [info.handle for info in await bearer.of("zoe")] == [claims.handle]
    with pytest.raises(SessionGone):
        await bearer.load(bearer.open(f"Bearer {pairs[1].access}").handle)


def test_each_call_is_on_the_page() -> None:
    """None is left for readers of the source alone."""
    page = PAGE.read_text()
    for name in (
        "issue",
        "check",
        "open",
        "refresh",
        "revoke",
        "challenge",
        "load",
        "change",
        "of",
        "end",
        "end_all",
        "sync",
    ):
        assert f"bearer.{name}" in page
