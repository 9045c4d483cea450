"""Sessions under ASGI: the output gate, lazy loading, WebSockets, headers, and three frameworks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi import FastAPI, Request
from litestar import Litestar
from litestar import Request as LitestarRequest
from litestar import get as litestar_get
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from asgi_client import Browser
from holdfast import ConfigError, Keyring, ResponseStarted, SessionNotLoaded, Sessions, StoreUnavailable
from holdfast.asgi import SessionMiddleware
from recording import RecordingStore, planted

KEYS = Keyring.generate()


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore()


@pytest.fixture
def sessions(store: RecordingStore) -> Sessions:
    return Sessions(store, keys=KEYS, local=None)


def answering(act: Callable[[Any], Any], *headers: tuple[bytes, bytes]) -> Any:
    """A bare ASGI application that does something with the session and answers what comes of it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        result = act(scope["session"])
        if hasattr(result, "__await__"):
            result = await result
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body", "body": json.dumps(result).encode()})

    return app


async def started(sessions: Sessions, **values: Any) -> str:
    """The cookie of a stored session."""
    session = sessions.open(None)
    session.update(values)
    await session.commit()
    assert planted(session) is not None
    return planted(session).partition(";")[0]


class TestHeaders:
    """What a response carries, and what it does not."""

    async def test_the_cookie_has_every_protection(self, sessions: Sessions) -> None:
        """`__Host-`, Secure, HttpOnly, SameSite=Lax, Path=/, no Domain (design §7)."""
        response = await Browser(SessionMiddleware(answering(lambda s: s.update(a=1)), sessions)).get()
        name, *attributes = (response.get("set-cookie") or "").split("; ")
        assert name.startswith("__Host-session=")
        assert set(attributes) == {"Path=/", "HttpOnly", "Secure", "SameSite=Lax", "Max-Age=43200"}

    async def test_over_plain_http_by_request_only(self, store: RecordingStore) -> None:
        """The insecure switch is named for what it is."""
        sessions = Sessions(store, keys=KEYS, local=None, insecure_http=True)
        response = await Browser(SessionMiddleware(answering(lambda s: s.update(a=1)), sessions)).get()
        cookie = response.get("set-cookie") or ""
        assert cookie.startswith("session=")
        assert "Secure" not in cookie

    async def test_a_host_that_passes_one_cookie_only(self, store: RecordingStore) -> None:
        """Firebase Hosting passes only `__session`: a name with that prefix is taken as it is."""
        sessions = Sessions(store, keys=KEYS, local=None, cookie_name="__session")
        browser = Browser(SessionMiddleware(answering(lambda s: s.update(a=1)), sessions))
        response = await browser.get()
        assert (response.get("set-cookie") or "").startswith("__session=")

    async def test_the_cookie_is_set_once(self, sessions: Sessions) -> None:
        """Not by reads, not by ordinary writes."""
        browser = Browser(SessionMiddleware(answering(lambda s: s.alter("n", lambda n: n + 1, 0)), sessions))
        assert (await browser.get()).get("set-cookie")
        for count in (2, 3):
            response = await browser.get()
            assert response.body == str(count).encode()
            assert response.get("set-cookie") is None

    async def test_nothing_is_added_for_a_session_that_is_not_looked_at(self, sessions: Sessions) -> None:
        """Such a response may be cached by anybody."""
        browser = Browser(SessionMiddleware(answering(lambda s: None), sessions))
        for cookie in (None, await started(sessions, a=1)):
            response = await browser.get(cookie=cookie)
            assert response.headers == []

    @pytest.mark.parametrize(
        ("present", "expected"),
        [
            ([], "Cookie"),
            ([(b"vary", b"Accept")], "Accept, Cookie"),
            ([(b"vary", b"accept, cookie")], "accept, cookie"),
            ([(b"vary", b"*")], "*"),
        ],
    )
    async def test_vary_if_the_session_was_looked_at(
        self, sessions: Sessions, present: list[tuple[bytes, bytes]], expected: str
    ) -> None:
        """A shared cache must not give one visitor's page to another."""
        response = await Browser(SessionMiddleware(answering(lambda s: s.get("a"), *present), sessions)).get()
        assert ", ".join(response.all("vary")) == expected

    @pytest.mark.parametrize(
        ("present", "expected"),
        [
            ([], ["no-store"]),
            ([(b"cache-control", b"public, max-age=60")], ["public, max-age=60", "no-store"]),
            ([(b"cache-control", b"private, max-age=60")], ["private, max-age=60"]),
            ([(b"cache-control", b"No-Store")], ["No-Store"]),
        ],
    )
    async def test_a_response_with_a_cookie_is_not_stored(
        self, sessions: Sessions, present: list[tuple[bytes, bytes]], expected: list[str]
    ) -> None:
        """`no-store`, unless it is private already."""
        app = SessionMiddleware(answering(lambda s: s.update(a=1), *present), sessions)
        assert (await Browser(app).get()).all("cache-control") == expected


class TestOutputGate:
    """The first byte of a response leaves only after the store has accepted the change."""

    async def test_commit_comes_before_the_first_byte(
        self, sessions: Sessions, store: RecordingStore
    ) -> None:
        """expressjs/session#704: here the order is seen from outside."""
        order: list[str] = []
        browser = Browser(SessionMiddleware(answering(lambda s: s.update(a=1)), sessions))

        async def send(message: Any) -> None:
            order.append(message["type"])

        append = store.commands.append
        store.commands = type("Noted", (list,), {"append": lambda self, c: (order.append(c), append(c))[0]})()
        await browser.app(browser.scope(), lambda: None, send)
        assert order == ["create", "http.response.start", "http.response.body"]

    async def test_a_refused_change_turns_the_response_into_an_error(
        self, sessions: Sessions, store: RecordingStore
    ) -> None:
        """503 with Retry-After; the cookie stays, and no part of the handler's answer gets out."""
        browser = Browser(SessionMiddleware(answering(lambda s: s.update(secret="value")), sessions))
        browser.cookie = cookie = await started(sessions, a=1)
        original = store._note

        def after_load(command: str) -> None:
            original(command) if command != "load" else None
            store.failure = ConnectionError("down")

        store._note = after_load  # type: ignore[method-assign]
        response = await browser.get()
        assert response.status == 503
        assert int(response.get("retry-after") or 0) > 0
        assert response.get("set-cookie") is None
        assert b"value" not in response.body
        assert len([m for m in response.messages if m["type"] == "http.response.start"]) == 1
        assert browser.cookie == cookie

    async def test_an_ended_session_turns_a_write_into_409(self, sessions: Sessions) -> None:
        """It ended while the handler worked."""
        cookie = await started(sessions, a=1)

        async def slow(session: Any) -> None:
            session["a"] = 2
            await sessions.end(session.handle)

        response = await Browser(SessionMiddleware(answering(slow), sessions)).get(cookie=cookie)
        assert response.status == 409
        assert response.get("set-cookie") is None

    async def test_requests_that_need_no_session_do_not_notice_an_outage(
        self, sessions: Sessions, store: RecordingStore
    ) -> None:
        """django-redis-sessions#60: others work, those that touch it get 503, and nobody is logged out."""
        cookie = await started(sessions, a=1)
        store.failure = ConnectionError("down")
        unaware = await Browser(SessionMiddleware(answering(lambda s: "page"), sessions)).get(cookie=cookie)
        assert (unaware.status, unaware.body) == (200, b'"page"')
        touching = await Browser(SessionMiddleware(answering(lambda s: s.get("a")), sessions)).get(
            cookie=cookie
        )
        assert touching.status == 503
        assert touching.get("set-cookie") is None
        store.failure = None
        back = await Browser(SessionMiddleware(answering(lambda s: s.get("a")), sessions)).get(cookie=cookie)
        assert back.body == b"1"

    async def test_an_exception_of_the_handler_commits_nothing(
        self, sessions: Sessions, store: RecordingStore
    ) -> None:
        """Its changes are given up together."""
        cookie = await started(sessions, a=1)

        def fail(session: Any) -> None:
            session["a"] = 2
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await Browser(SessionMiddleware(answering(fail), sessions)).get(cookie=cookie)
        assert "commit" not in store.taken()

    async def test_a_value_that_cannot_be_kept_is_an_error_of_the_handler(
        self, sessions: Sessions, store: RecordingStore
    ) -> None:
        """TypeError, raised before anything was written and before the response began."""
        browser = Browser(SessionMiddleware(answering(lambda s: s["list"].append(object())), sessions))
        browser.cookie = await started(sessions, list=[], a=1)
        store.taken()
        with pytest.raises(TypeError, match=r"session\['list'\]\[0\]"):
            await browser.get()
        assert browser.sent == []
        assert store.taken() == ["load"]

    async def test_a_change_after_the_response_began_is_never_dropped_silently(
        self, sessions: Sessions, store: RecordingStore
    ) -> None:
        """At the next chunk or at the end, by assignment or nested: a clear error."""
        cookie = await started(sessions, cart=["tea"])

        def late(act: Callable[[Any], Any], more: bool) -> Any:
            async def app(scope: Any, receive: Any, send: Any) -> None:
                cart = scope["session"]["cart"]
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"1", "more_body": True})
                act(scope["session"] if more else cart)
                await send({"type": "http.response.body", "body": b"2"})

            return app

        for act, more in ((lambda s: s.update(x=1), True), (lambda cart: cart.append("milk"), False)):
            with pytest.raises(ResponseStarted, match=r"await session\.commit"):
                await Browser(SessionMiddleware(late(act, more), sessions)).get(cookie=cookie)
        assert "commit" not in store.taken()

    async def test_a_change_after_the_response_began_can_be_committed_by_hand(
        self, sessions: Sessions
    ) -> None:
        """For streams: an explicit await keeps it."""
        cookie = await started(sessions, n=1)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            scope["session"]["n"] = 2
            await scope["session"].commit()
            await send({"type": "http.response.body", "body": b"x"})

        await Browser(SessionMiddleware(app, sessions)).get(cookie=cookie)
        response = await Browser(SessionMiddleware(answering(lambda s: s["n"]), sessions)).get(cookie=cookie)
        assert response.body == b"2"

    async def test_an_explicit_commit_before_the_response_brings_its_cookie_along(
        self, sessions: Sessions
    ) -> None:
        """The cookie goes out with the response that follows."""

        async def act(session: Any) -> None:
            session["a"] = 1
            await session.commit()
            session["b"] = 2

        browser = Browser(SessionMiddleware(answering(act), sessions))
        await browser.get()
        assert browser.cookie
        response = await Browser(SessionMiddleware(answering(dict), sessions)).get(cookie=browser.cookie)
        assert json.loads(response.body) == {"a": 1, "b": 2}


class TestLazy:
    """`lazy=True`: routes that need no session cost nothing."""

    async def test_nothing_is_loaded_until_asked(self, sessions: Sessions, store: RecordingStore) -> None:
        """No command at all for a route that needs none."""
        cookie = await started(sessions, a=1)
        store.taken()
        await Browser(SessionMiddleware(answering(lambda s: None), sessions, lazy=True)).get(cookie=cookie)
        assert store.taken() == []

        async def load(session: Any) -> Any:
            await session.load()
            await session.load()
            return session["a"]

        response = await Browser(SessionMiddleware(answering(load), sessions, lazy=True)).get(cookie=cookie)
        assert response.body == b"1"
        assert store.taken() == ["load"]

    async def test_looking_into_an_unloaded_session_says_what_to_do(self, sessions: Sessions) -> None:
        """An error, not an empty session."""
        cookie = await started(sessions, a=1)
        app = SessionMiddleware(answering(lambda s: s.get("a")), sessions, lazy=True)
        with pytest.raises(SessionNotLoaded, match=r"await session\.load"):
            await Browser(app).get(cookie=cookie)

    async def test_a_new_visitor_needs_no_load(self, sessions: Sessions) -> None:
        """There is nothing to load: the session can be used at once."""
        app = SessionMiddleware(answering(lambda s: s.update(a=1)), sessions, lazy=True)
        assert (await Browser(app).get()).get("set-cookie")

    async def test_without_a_valid_identity_nothing_is_loaded(
        self, sessions: Sessions, store: RecordingStore
    ) -> None:
        """Eager or lazy."""
        await Browser(SessionMiddleware(answering(dict), sessions)).get(cookie="__Host-session=nonsense")
        assert store.taken() == []


class TestWebSockets:
    """Loaded at the handshake, committed on an explicit await (aiohttp-session#640)."""

    def client(self, sessions: Sessions, endpoint: Any) -> TestClient:
        app = Starlette(routes=[WebSocketRoute("/ws", endpoint)])
        return TestClient(SessionMiddleware(app, sessions), base_url="https://shop.example")

    async def test_changes_are_kept_when_committed(self, sessions: Sessions) -> None:
        """As often as wanted."""
        cookie = await started(sessions, n=1)

        async def endpoint(socket: WebSocket) -> None:
            await socket.accept()
            for _ in range(2):
                socket.session["n"] += 1
                await socket.session.commit()
            await socket.send_json(socket.session["n"])
            await socket.close()

        with self.client(sessions, endpoint).websocket_connect("/ws", headers={"cookie": cookie}) as socket:
            assert socket.receive_json() == 3
        response = await Browser(SessionMiddleware(answering(lambda s: s["n"]), sessions)).get(cookie=cookie)
        assert response.body == b"3"

    async def test_a_forgotten_commit_is_an_error(self, sessions: Sessions) -> None:
        """Not a change that is lost in silence."""
        cookie = await started(sessions, n=1)

        async def endpoint(socket: WebSocket) -> None:
            await socket.accept()
            socket.session["n"] = 2
            await socket.close()

        with (
            pytest.raises(ResponseStarted, match="WebSocket"),
            self.client(sessions, endpoint).websocket_connect("/ws", headers={"cookie": cookie}) as socket,
        ):
            socket.receive_text()

    async def test_a_session_that_begins_at_the_handshake_gets_its_cookie(self, sessions: Sessions) -> None:
        """The answer to the handshake is the only one that can carry it."""

        async def endpoint(socket: WebSocket) -> None:
            socket.session["n"] = 1
            await socket.session.commit()
            await socket.accept()
            await socket.close()

        client = self.client(sessions, endpoint)
        with client.websocket_connect("/ws") as socket:
            headers = dict(socket.extra_headers)
        assert headers[b"set-cookie"].startswith(b"__Host-session=")

    async def test_a_session_cannot_begin_after_the_handshake(self, sessions: Sessions) -> None:
        """Its cookie could not reach the browser any more."""

        async def endpoint(socket: WebSocket) -> None:
            await socket.accept()
            socket.session["n"] = 1
            with pytest.raises(ResponseStarted):
                await socket.session.commit()
            socket.session.clear()
            await socket.close()

        with self.client(sessions, endpoint).websocket_connect("/ws"):
            pass


class TestFrameworks:
    """`request.session` in Starlette, FastAPI and Litestar."""

    async def test_starlette(self, sessions: Sessions) -> None:
        """As middleware inside, or around the application."""

        async def add(request: StarletteRequest) -> JSONResponse:
            request.session.setdefault("cart", []).append("tea")
            return JSONResponse(request.session["cart"])

        routes = [Route("/", add)]
        inside = Starlette(routes=routes, middleware=[Middleware(SessionMiddleware, sessions=sessions)])
        for app in (inside, SessionMiddleware(Starlette(routes=routes), sessions)):
            browser = Browser(app)
            await browser.get()
            assert json.loads((await browser.get()).body) == ["tea", "tea"]

    async def test_starlette_streams(self, sessions: Sessions) -> None:
        """What the handler did before the first chunk is kept; the stream may read."""

        async def stream(request: StarletteRequest) -> StreamingResponse:
            request.session["n"] = request.session.get("n", 0) + 1

            async def chunks() -> AsyncIterator[str]:
                for _ in range(3):
                    yield str(request.session["n"])

            return StreamingResponse(chunks())

        browser = Browser(SessionMiddleware(Starlette(routes=[Route("/", stream)]), sessions))
        assert (await browser.get()).body == b"111"
        assert (await browser.get()).body == b"222"

    async def test_fastapi(self, sessions: Sessions) -> None:
        """With `add_middleware`."""
        app = FastAPI()
        app.add_middleware(SessionMiddleware, sessions=sessions)

        @app.get("/")
        async def count(request: Request) -> int:
            return int(request.session.alter("n", lambda n: n + 1, default=0))

        browser = Browser(app)
        assert [(await browser.get()).body for _ in range(3)] == [b"1", b"2", b"3"]

    async def test_litestar(self, sessions: Sessions) -> None:
        """Around the application, with its own ways of replacing and clearing a session."""

        @litestar_get("/add")
        async def add(request: LitestarRequest) -> list[str]:
            request.session.setdefault("cart", []).append("tea")
            return list(request.session["cart"])

        @litestar_get("/replace")
        async def replace(request: LitestarRequest) -> None:
            request.set_session({"other": 1})

        @litestar_get("/read")
        async def read(request: LitestarRequest) -> dict[str, Any]:
            return dict(request.session)

        @litestar_get("/clear")
        async def clear(request: LitestarRequest) -> None:
            request.clear_session()

        browser = Browser(SessionMiddleware(Litestar([add, replace, read, clear]), sessions))
        await browser.get("/add")
        assert json.loads((await browser.get("/add")).body) == ["tea", "tea"]
        await browser.get("/replace")
        assert json.loads((await browser.get("/read")).body) == {"other": 1}
        await browser.get("/clear")
        assert json.loads((await browser.get("/read")).body) == {}

    @pytest.mark.parametrize("framework", ["starlette inside", "starlette around", "fastapi", "litestar"])
    async def test_an_outage_is_503_in_every_framework(
        self, sessions: Sessions, store: RecordingStore, framework: str
    ) -> None:
        """Also where the framework makes an error page of the exception before it reaches the middleware."""

        async def touch(request: StarletteRequest) -> JSONResponse:
            return JSONResponse(request.session.get("a"))

        if framework == "starlette inside":
            app: Any = Starlette(
                routes=[Route("/", touch)], middleware=[Middleware(SessionMiddleware, sessions=sessions)]
            )
        elif framework == "starlette around":
            app = SessionMiddleware(Starlette(routes=[Route("/", touch)]), sessions)
        elif framework == "fastapi":
            api = FastAPI()

            @api.get("/")
            def touch_in_a_thread(request: Request) -> Any:
                return request.session.get("a")

            app = SessionMiddleware(api, sessions)
        else:

            @litestar_get("/")
            async def touch_litestar(request: LitestarRequest) -> Any:
                return request.session.get("a")

            app = SessionMiddleware(Litestar([touch_litestar]), sessions)
        cookie = await started(sessions, a=1)
        store.failure = ConnectionError("down")
        response = await Browser(app).get(cookie=cookie)
        assert response.status == 503
        assert response.get("retry-after")
        assert response.get("set-cookie") is None
        assert len([m for m in response.messages if m["type"] == "http.response.start"]) == 1

    async def test_an_application_may_answer_an_outage_itself(
        self, sessions: Sessions, store: RecordingStore
    ) -> None:
        """Its own page, its own status."""

        async def page(request: StarletteRequest) -> JSONResponse:
            try:
                return JSONResponse(request.session.get("a"))
            except StoreUnavailable:
                return JSONResponse("without a session today", status_code=503)

        cookie = await started(sessions, a=1)
        store.failure = ConnectionError("down")
        browser = Browser(SessionMiddleware(Starlette(routes=[Route("/", page)]), sessions))
        response = await browser.get(cookie=cookie)
        assert response.body == b'"without a session today"'


async def test_several_cookie_headers_are_one(sessions: Sessions) -> None:
    """HTTP/2 may split cookies over several header lines."""
    cookie = await started(sessions, a=1)
    app = SessionMiddleware(answering(lambda s: s.get("a")), sessions)
    browser = Browser(app)
    scope = browser.scope()
    scope["headers"] += [(b"cookie", b"theme=dark"), (b"cookie", cookie.encode()), (b"cookie", b"x=y")]
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, lambda: None, send)
    assert sent[1]["body"] == b"1"


async def test_lifespan_passes_through(sessions: Sessions) -> None:
    """And lets go of the store's connections at the end."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await SessionMiddleware(app, sessions)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]


def test_a_middleware_without_sessions_is_refused() -> None:
    """A store or URL in the place of `Sessions` is a mistake seen at construction."""
    with pytest.raises(ConfigError, match="takes a Sessions"):
        SessionMiddleware(answering(dict), "memory://")  # type: ignore[arg-type]
