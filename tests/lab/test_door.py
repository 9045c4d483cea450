"""The front door, before scripted instances on real sockets: what it passes on, repeats, and cuts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from holdfast.lab.door import FrontDoor

Script = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Backend:
    """An instance that does with each request what its script says, and remembers every byte it got."""

    def __init__(self, name: str, script: Script) -> None:
        self.name = name
        self.port = 0
        self.in_flight = 0
        self.requests: list[bytes] = []
        self._script = script
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        for line in request.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                request += await reader.readexactly(int(line.split(b":")[1]))
        self.requests.append(request)
        await self._script(request, writer)
        writer.close()


def answering(answer: bytes) -> Script:
    """A script that answers with these bytes and hangs up."""

    async def script(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return script


OK = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
HANGS_UP = answering(b"")


@asynccontextmanager
async def door_to(*backends: Backend, affinity: bool = False, seed: int = 1) -> AsyncIterator[FrontDoor]:
    for backend in backends:
        await backend.start()
    door = FrontDoor(lambda: backends, affinity=affinity, seed=seed)
    await door.open()
    try:
        yield door
    finally:
        await door.close()
        for backend in backends:
            backend.stop()


async def raw(door: FrontDoor, request: bytes) -> bytes:
    """Everything that a browser gets for these bytes, until its connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(door.url.rsplit(":", 1)[1]))
    writer.write(request)
    received = await reader.read()
    writer.close()
    return received


def get(path: str = "/", *headers: bytes) -> bytes:
    """A request of a browser that wants no further one on its connection."""
    head = [b"GET %s HTTP/1.1" % path.encode(), b"Host: shop", *headers, b"Connection: close", b"", b""]
    return b"\r\n".join(head)


async def test_a_request_passes_through_unchanged() -> None:
    """Method, target, body and all headers but those of the connection arrive as the browser sent them."""
    backend = Backend("i1", OK)
    async with door_to(backend) as door:
        await raw(
            door,
            b"POST /put?key=%C3%A9&value=a+b HTTP/1.1\r\nHost: shop.example\r\nCookie: a=1; b=\xffx\r\n"
            b'Cookie: c="3"\r\nX-Hop: gone\r\nConnection: close, X-Hop\r\nContent-Length: 5\r\n\r\nhello',
        )
    head, _, body = backend.requests[0].partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    assert line == b"POST /put?key=%C3%A9&value=a+b HTTP/1.1"
    assert body == b"hello"
    assert [header.split(b": ", 1)[1] for header in headers if header.lower().startswith(b"cookie:")] == [
        b"a=1; b=\xffx",
        b'c="3"',
    ]
    assert b"Host: shop.example" in headers
    assert not any(header.lower().startswith(b"x-hop") for header in headers)


async def test_an_answer_passes_through_unchanged() -> None:
    """The status, the body and every one of many Set-Cookie headers reach the browser, in their order."""
    cookies = [b"__Host-session=%d; Path=/; Secure; HttpOnly" % number for number in range(20)]
    lines = [b"HTTP/1.1 409 Nope", *(b"Set-Cookie: " + cookie for cookie in cookies), b"Content-Length: 4"]
    backend = Backend("i1", answering(b"\r\n".join(lines) + b"\r\n\r\ngone"))
    async with door_to(backend) as door:
        head, _, body = (await raw(door, get())).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 409 Nope\r\n")
    assert body == b"gone"
    passed = [line[12:] for line in head.split(b"\r\n") if line.lower().startswith(b"set-cookie: ")]
    assert passed == cookies


async def test_an_answer_in_chunks_arrives_whole() -> None:
    """Framing is the door's own business on both sides."""
    backend = Backend(
        "i1",
        answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
    )
    async with door_to(backend) as door:
        assert (await raw(door, get())).endswith(b"\r\n\r\nabcde")


async def test_the_answer_to_head_keeps_its_length() -> None:
    """HEAD has a length and no body."""
    backend = Backend("i1", answering(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"))
    async with door_to(backend) as door:
        answer = await raw(door, get().replace(b"GET", b"HEAD"))
    assert b"content-length: 7\r\n" in answer.lower()
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT"])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nSet-Coo",
        b"no http\r\n\r\n",
    ],
    ids=["nothing", "half a body", "half a head", "garbage"],
)
async def test_a_request_that_was_sent_is_never_repeated(method: bytes, answer: bytes) -> None:
    """An instance that dies over a request may have executed it: the browser's connection ends, without a
    status, and neither another instance nor the same one gets the request again."""
    dying, other = Backend("i1", answering(answer)), Backend("i2", answering(answer))
    async with door_to(dying, other) as door:
        assert await raw(door, get().replace(b"GET", method)) == b""
        assert len(dying.requests) + len(other.requests) == 1
        assert dying.in_flight == other.in_flight == 0


async def test_a_cut_browser_sees_a_network_error() -> None:
    """What an HTTP client makes of it: an error of the connection, and the next request works."""
    backend = Backend("i1", HANGS_UP)
    async with door_to(backend) as door, aiohttp.ClientSession() as browser:
        with pytest.raises(aiohttp.ClientConnectionError):
            await browser.post(door.url)
        backend._script = OK
        async with browser.post(door.url) as answer:
            assert await answer.text() == "ok"


async def test_an_instance_that_takes_no_connection_is_passed_over() -> None:
    """Where no byte was sent, another instance gets the request and the browser notices nothing."""
    gone, there = Backend("i1", OK), Backend("i2", OK)
    async with door_to(gone, there) as door:
        gone.stop()
        for _ in range(8):
            assert (await raw(door, get())).endswith(b"ok")
    assert len(there.requests) == 8


async def test_a_request_waits_for_the_next_instance() -> None:
    """If nobody takes connections just now, the door looks again."""
    backends: list[Backend] = []
    door = FrontDoor(lambda: backends, affinity=False, seed=1)
    await door.open()
    waiting = asyncio.ensure_future(raw(door, get()))
    await asyncio.sleep(0.05)
    born = Backend("i1", OK)
    await born.start()
    backends.append(born)
    assert (await waiting).endswith(b"ok")
    await door.close()
    born.stop()


async def test_requests_in_flight_are_counted_per_instance() -> None:
    """From the connection until the answer is there."""
    release = asyncio.Event()

    async def wait(request: bytes, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(b"HTTP/1.1 204 Fine\r\n\r\n")

    backend = Backend("i1", wait)
    async with door_to(backend) as door:
        working = [asyncio.ensure_future(raw(door, get())) for _ in range(3)]
        while len(backend.requests) < 3:  # noqa: ASYNC110 - the requests travel over real sockets
            await asyncio.sleep(0.001)
        assert backend.in_flight == 3
        release.set()
        await asyncio.gather(*working)
        assert backend.in_flight == 0


async def test_affinity_names_the_instance_and_sticks_to_it() -> None:
    """The first answer sets the cookie; who brings it back stays where he was and is set no other."""
    backends = [Backend(f"i{number}", OK) for number in range(5)]
    async with door_to(*backends, affinity=True) as door:
        head = (await raw(door, get())).partition(b"\r\n\r\n")[0]
        cookie = next(line[12:] for line in head.split(b"\r\n") if line.lower().startswith(b"set-cookie: "))
        (chosen,) = [backend for backend in backends if backend.requests]
        assert cookie.startswith(b"lab_affinity=%s;" % chosen.name.encode())
        for _ in range(10):
            answer = await raw(door, get("/", b"Cookie: a=1; lab_affinity=%s; b=2" % chosen.name.encode()))
            assert b"lab_affinity" not in answer
    assert len(chosen.requests) == 11


async def test_affinity_to_an_instance_that_is_gone_is_set_anew() -> None:
    """The browser moves to another instance and stays there from then on."""
    backend = Backend("i2", OK)
    async with door_to(backend, affinity=True) as door:
        assert b"lab_affinity=i2;" in await raw(door, get("/", b"Cookie: lab_affinity=i1"))


async def test_routing_is_random_by_its_seed() -> None:
    """Without affinity no cookie is set, every instance is used, and a seed repeats itself."""

    async def routed(seed: int) -> list[str]:
        route: list[str] = []
        backends = []
        for name in ("i1", "i2", "i3"):

            async def script(request: bytes, writer: asyncio.StreamWriter, name: str = name) -> None:
                route.append(name)
                await OK(request, writer)

            backends.append(Backend(name, script))
        async with door_to(*backends, seed=seed) as door:
            for _ in range(20):
                assert b"set-cookie" not in (await raw(door, get())).lower()
        return route

    first = await routed(7)
    assert set(first) == {"i1", "i2", "i3"}
    assert await routed(7) == first
    assert await routed(8) != first


async def test_an_unfit_request_is_refused_and_nothing_is_sent() -> None:
    """What cannot be passed on as HTTP/1.1 is the browser's mistake."""
    backend = Backend("i1", OK)
    async with door_to(backend) as door:
        assert b" 400 " in (await raw(door, b"GET / HTTP/1.0\r\n\r\n")).split(b"\r\n")[0]
    assert backend.requests == []
