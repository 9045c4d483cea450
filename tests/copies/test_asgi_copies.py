"""Copies behind the ASGI middleware: routes that say how fresh, the debug header, and clients without cookies."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asgi_client import Response
from holdfast import ConfigError, Keyring, Sessions
from holdfast.asgi import SessionMiddleware
from holdfast.freshness import strong
from holdfast.testing import FakeClock
from recording import RecordingStore

KEYS = Keyring.generate()
CLOCK_START = 1_800_000_000.0


async def read(request: Request) -> JSONResponse:
    return JSONResponse(dict(request.session))


async def write(request: Request) -> JSONResponse:
    request.session.alter("n", lambda n: n + 1, default=0)
    return JSONResponse(request.session["n"])


@strong
async def admin(request: Request) -> JSONResponse:
    return JSONResponse(dict(request.session))


ROUTES = [Route("/read", read), Route("/write", write), Route("/admin", admin)]


class Client:
    """Keeps what responses say, in cookies or in headers of its own."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock(CLOCK_START)
        self.store = RecordingStore()
        self.sessions = Sessions(self.store, keys=KEYS, clock=self.clock, **settings)
        self.middleware: dict[str, Any] = {"debug_header": True}
        self.state: dict[str, Any] = {}
        self.kept: dict[bytes, bytes] = {}

    async def get(self, path: str) -> Response:
        app = SessionMiddleware(Starlette(routes=ROUTES), self.sessions, **self.middleware)
        by_header = self.sessions.vary != b"Cookie"
        cookies = b"; ".join(name + b"=" + value for name, value in self.kept.items())
        headers = list(self.kept.items()) if by_header else [(b"cookie", cookies)]
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            **self.state,
        }
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)
        response = Response(sent)
        for name, value in response.headers:
            if name == b"set-cookie":
                cookie, _, rest = value.partition(b"=")
                self.kept[cookie] = rest.partition(b";")[0]
            elif name in (b"holdfast-session", b"holdfast-floor", b"holdfast-pin"):
                self.kept[name] = value
        return response

    async def warm(self) -> None:
        """A session with a floor, whose pin has gone, and a local copy of it."""
        await self.get("/write")
        self.clock.advance(6.5)
        for name in [name for name in self.kept if name.endswith(b"-pin")]:
            del self.kept[name]
        await self.get("/read")


@pytest.fixture
def client() -> Client:
    return Client()


async def test_the_debug_header_tells_which_home_answered(client: Client) -> None:
    """And why the others did not."""
    await client.warm()
    assert (await client.get("/read")).get("holdfast-explain") == "local"
    client.kept[b"__Host-session-pin"] = b"1"
    explanation = (await client.get("/read")).get("holdfast-explain") or ""
    assert explanation.startswith("store; copies: pinned")
    client.middleware = {}
    assert (await client.get("/read")).get("holdfast-explain") is None


async def test_a_handler_that_reads_strongly(client: Client) -> None:
    """By a decorator."""
    await client.warm()
    assert (await client.get("/admin")).get("holdfast-explain") == "store; copies: the route reads strongly"


async def test_a_handler_that_reads_strongly_is_shown_no_copy_in_an_outage(client: Client) -> None:
    """A session that was revoked a moment ago may still have one."""
    await client.warm()
    assert (await client.get("/read")).get("holdfast-explain") == "local"
    client.store.failure = OSError("away")
    assert (await client.get("/admin")).status == 503
    assert (await client.get("/read")).status == 200


async def test_a_request_that_only_looks_renews_the_deadline_where_it_is_due(client: Client) -> None:
    """Once a tenth of the idle timeout is over, and before its response leaves; not each time."""
    await client.warm()
    client.store.taken()
    for seconds, commands in ((100, 0), (100, 1), (1, 0)):
        client.clock.advance(seconds)
        assert (await client.get("/read")).status == 200
        assert client.store.taken().count("commit") == commands


async def test_freshness_by_the_middleware_and_by_the_scope(client: Client) -> None:
    """The scope, which an outer layer may set for each route, has the last word."""
    await client.warm()
    client.middleware["freshness"] = "strong"
    assert ((await client.get("/read")).get("holdfast-explain") or "").startswith("store")
    client.state["holdfast.freshness"] = "session"
    assert (await client.get("/read")).get("holdfast-explain") == "local"
    with pytest.raises(ConfigError, match="freshness"):
        SessionMiddleware(Starlette(), client.sessions, freshness="fresh")  # type: ignore[arg-type]


async def test_strong_needs_a_request(client: Client) -> None:
    """A decorated function that is no handler says so."""

    @strong
    async def odd(number: int) -> int:
        return number

    with pytest.raises(ConfigError, match="request"):
        await odd(1)


async def test_the_same_tokens_travel_in_headers() -> None:
    """For API and mobile clients: identity, floor and pin, no cookie."""
    client = Client(transport="header")
    first = await client.get("/write")
    assert first.get("set-cookie") is None
    assert set(client.kept) == {b"holdfast-session", b"holdfast-floor", b"holdfast-pin"}
    assert int(client.kept[b"holdfast-pin"]) > 5
    assert "Holdfast-Session" in first.all("vary")
    assert (await client.get("/write")).body == b"2"
    await client.warm()
    assert (await client.get("/read")).get("holdfast-explain") == "local"
    del client.kept[b"holdfast-floor"]
    assert ((await client.get("/read")).get("holdfast-explain") or "").startswith("store")


@pytest.mark.parametrize("token", [b"", b"x", b"A" * 92, b"\xff\xfe", b"=" * 4000])
async def test_a_hostile_header_is_an_anonymous_session(token: bytes) -> None:
    """As with cookies: no store command, no exception; and a cookie's token is none for a header."""
    client = Client(transport="header")
    cookies = Client()
    await cookies.get("/write")
    for value in (token, cookies.kept[b"__Host-session"]):
        client.kept = {b"holdfast-session": value, b"holdfast-floor": token}
        assert (await client.get("/read")).body == b"{}"
    assert client.store.commands == []


async def test_a_host_that_passes_one_cookie_only() -> None:
    """Firebase Hosting: floor and pin ride inside `__session`."""
    client = Client(cookie_name="__session")
    await client.get("/write")
    assert set(client.kept) == {b"__session"}
    explanation = (await client.get("/read")).get("holdfast-explain") or ""
    assert explanation.startswith("store; copies: pinned")
    client.clock.advance(6.5)
    await client.get("/read")
    assert (await client.get("/read")).get("holdfast-explain") == "local"
    assert (await client.get("/write")).body == b"2"


async def test_a_response_that_raises_the_floor_is_not_stored(client: Client) -> None:
    """It carries cookies."""
    await client.get("/write")
    response = await client.get("/write")
    assert len(response.all("set-cookie")) == 2
    assert response.all("cache-control") == ["no-store"]
