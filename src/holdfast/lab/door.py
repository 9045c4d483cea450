"""The front door: the one address that browsers know, and the instances behind it.

It routes each request to an instance at random, or by a cookie. It repeats a request only when no connection
came about, so that nothing can have been executed; when an instance dies in the middle of a request, the
browser's connection is cut: a network error, which is what happened, and no invented status. It does so for a
lab: it holds bodies in memory, knows no health checks and no timeouts, and is no load balancer.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import h11
from aiohttp import web
from multidict import CIMultiDict

AFFINITY = "lab_affinity"
PATIENCE = 10.0  # seconds to look for an instance that takes a connection
HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}

Headers = list[tuple[bytes, bytes]]


class Backend(Protocol):
    """What the front door knows of an instance. It keeps `in_flight` itself."""

    @property
    def name(self) -> str: ...
    @property
    def port(self) -> int: ...

    in_flight: int


class FrontDoor:
    """Listens on a free port of 127.0.0.1 between `open` and `close`.

    `backends` tells, for each request anew, where it may go. With `affinity` a browser is sent to the
    instance that its cookie names; if that one is gone, to another, and it gets a new cookie. `seed` decides
    the rest.
    """

    def __init__(self, backends: Callable[[], Sequence[Backend]], *, affinity: bool, seed: object) -> None:
        self._backends = backends
        self._affinity = affinity
        self._random = random.Random(f"{seed}/door")
        self._web: web.Server | None = None
        self._handling: set[asyncio.Task[object]] = set()
        self._listener: asyncio.Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where browsers go, without a slash at the end. Known once it is open."""
        return f"http://127.0.0.1:{self._port}"

    async def open(self) -> None:
        """Begin to listen."""
        self._web = web.Server(self._handle, access_log=None, auto_decompress=False)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._web, "127.0.0.1", 0, backlog=512)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut what is still connected."""
        if self._listener is not None:
            self._listener.close()
        # Ended here and not by the server's own shutdown, which can trip over a handler that ends just then.
        handling = list(self._handling)
        for task in handling:
            task.cancel()
        await asyncio.gather(*handling, return_exceptions=True)
        if self._web is not None:
            await self._web.shutdown(timeout=0.1)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler runs in one; for the type checker
        self._handling.add(task)
        try:
            return await self._pass_on(request)
        finally:
            self._handling.discard(task)

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            body = await request.read()
        except (OSError, web.RequestPayloadError):
            return _hang_up(request)  # the browser has gone
        held = _cookie(request.raw_headers, AFFINITY) if self._affinity else None
        reached = await self._connect(held)
        if reached is None:
            return _hang_up(request)
        backend, reader, writer = reached
        backend.in_flight += 1
        try:
            response = await _exchange(request, body, reader, writer)
        except h11.LocalProtocolError as error:
            return web.Response(status=400, text=f"not a request to pass on: {error}")
        except (OSError, h11.RemoteProtocolError):
            return _hang_up(request)
        finally:
            backend.in_flight -= 1
            writer.transport.abort()
        if self._affinity and held != backend.name:
            response.headers.add("Set-Cookie", f"{AFFINITY}={backend.name}; Path=/; HttpOnly; SameSite=Lax")
        return response

    async def _connect(
        self, held: str | None
    ) -> tuple[Backend, asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to an instance. Trying another is safe here and only here: nothing has been sent."""
        refused: set[str] = set()
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while asyncio.get_running_loop().time() < deadline:
            backend = self._choose(held, refused)
            if backend is None:
                refused.clear()
                await asyncio.sleep(0.01)
                continue
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", backend.port)
            except OSError:
                refused.add(backend.name)
            else:
                return backend, reader, writer
        return None

    def _choose(self, held: str | None, refused: set[str]) -> Backend | None:
        candidates = [backend for backend in self._backends() if backend.name not in refused]
        for backend in candidates:
            if backend.name == held:
                return backend
        return self._random.choice(candidates) if candidates else None


async def _exchange(
    request: web.BaseRequest, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> web.Response:
    """Send the request on a fresh connection, once, and read the whole answer.

    Not aiohttp's client: that one sends a GET a second time when the server hangs up.
    Raises `OSError` or `h11.RemoteProtocolError` if the answer did not arrive whole.
    """
    connection = h11.Connection(h11.CLIENT)
    headers = [*_end_to_end(request.raw_headers), (b"connection", b"close")]
    if body or b"content-length" in {name.lower() for name, _ in request.raw_headers}:
        headers.append((b"content-length", b"%d" % len(body)))
    head = h11.Request(method=request.method, target=str(request.rel_url), headers=headers)
    for event in (head, h11.Data(data=body), h11.EndOfMessage()):
        writer.write(connection.send(event) or b"")

    status, reason, answered, content = 0, "", CIMultiDict[str](), bytearray()
    while True:
        happened = connection.next_event()
        if happened is h11.NEED_DATA:
            connection.receive_data(await reader.read(65_536))
        elif isinstance(happened, h11.Response):
            status, reason = happened.status_code, happened.reason.decode("latin-1")
            for name, value in _end_to_end(happened.headers.raw_items()):
                answered.add(name.decode("latin-1"), value.decode("utf-8", "surrogateescape"))
            if request.method == "HEAD":
                answered.extend(_length(happened.headers))
        elif isinstance(happened, h11.Data):
            content += happened.data
        elif isinstance(happened, h11.EndOfMessage):
            return web.Response(status=status, reason=reason, headers=answered, body=bytes(content))
        elif isinstance(happened, h11.ConnectionClosed):
            raise ConnectionResetError("the instance hung up")


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """All headers that are not about this one connection or its framing, in order, repeated ones too."""
    headers = list(headers)
    named = {
        token.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for token in value.split(b",")
    }
    dropped = HOP_BY_HOP | named | {b"content-length", b"expect"}
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def _length(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [("Content-Length", value.decode()) for name, value in headers if name == b"content-length"]


def _cookie(headers: Iterable[tuple[bytes, bytes]], wanted: str) -> str | None:
    for name, value in headers:
        if name.lower() == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                key, _, text = pair.strip().partition("=")
                if key == wanted:
                    return text
    return None


def _hang_up(request: web.BaseRequest) -> web.Response:
    """Cut the browser's connection. The response that is returned for form's sake never reaches the wire."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)
