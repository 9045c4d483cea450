"""A simulated browser: real HTTP over loopback, a real cookie jar, and answers that overtake each other.

The tabs of a browser share its jar. An answer is delivered to its tab, and its cookies to the jar, some time after
it has arrived: the delay is random, so that the cookies of two tabs come in any order, as they do on a network.
"""

from __future__ import annotations

import asyncio
import time
from random import Random
from types import TracebackType
from typing import Any, NamedTuple

import aiohttp

from .history import Event, History
from .jar import Jar

LONGEST_DELAY = 0.06  # seconds between the arrival and the delivery of an answer
TIMEOUT = 10.0  # seconds after which a browser gives an answer up
EXPLAIN = "Holdfast-Explain"  # the debug header that begins with the home which has answered

READ = ("GET", "/read")
CALLS = {
    "visit": ("POST", "/visit"),
    "put": ("POST", "/put"),
    "read": READ,
    "login": ("POST", "/login"),
    "logout": ("POST", "/logout"),
    "replay": READ,
}


class Answer(NamedTuple):
    """What a tab was told: `outcome` is "ok", "refused" or "network", as in the history.

    `blank`: it was acknowledged, and shows nothing but what the request itself has put there.
    """

    outcome: str
    status: int | None = None
    user: str | None = None
    values: dict[str, Any] | None = None
    blank: bool = False

    @property
    def ok(self) -> bool:
        """Whether the request was acknowledged."""
        return self.outcome == "ok"


class Browser:
    """One browser at `url`. Whatever it asks goes into the history, with its answer.

    An async context manager, for its connections. `seed` decides the delays.
    """

    def __init__(self, number: int, url: str, history: History, *, seed: int | str) -> None:
        self.number = number
        self.jar = Jar(url)
        self._url = url
        self._history = history
        self._delays = [Random(f"{seed}/browser {number}/tab {tab}") for tab in (0, 1)]
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Browser:
        # aiohttp asks again, once, when a GET's connection breaks before an answer, as browsers may do; a read may
        # so be asked twice. A POST is never repeated.
        self._http = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=TIMEOUT)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    def cookies(self) -> str | None:
        """The `Cookie` header that it would send now."""
        return self.jar.header(READ[1], time.time())

    async def ask(
        self,
        op: str,
        *,
        tab: int,
        session: int,
        key: str | None = None,
        value: str | None = None,
        think: float = 0.0,
        cookies: str | None = None,
    ) -> Answer:
        """Send one request from a tab and wait for its delivery.

        `op` is one of `CALLS`, `think` the milliseconds that the handler is to work. `cookies` replaces what
        the jar would send; the jar then learns nothing from the answer.
        """
        method, path = CALLS[op]
        started = self._history.now()
        sent = cookies if cookies is not None else self.jar.header(path, time.time())
        query = {"think": f"{think:.0f}"}
        if op == "put":
            query |= {"key": key or "", "value": value or ""}
        elif op == "login":
            query["user"] = value or ""
        reply = await self._fetch(method, path, query, {"Cookie": sent} if sent else {})
        arrived = self._history.now()
        if reply.arrived:
            await asyncio.sleep(self._delays[tab].uniform(0, LONGEST_DELAY))
        if cookies is None:
            self.jar.receive(reply.set_cookies, path, time.time())
        answer = reply.answer
        event: Event = {
            "kind": "request",
            "t0": round(started, 6),
            "t1": round(self._history.now(), 6),
            "ms": round((arrived - started) * 1000, 3),
            "browser": self.number,
            "tab": tab,
            "session": session,
            "op": op,
            "key": key,
            "value": value,
            "outcome": answer.outcome,
            "status": answer.status,
            "instance": reply.instance,
            "user": answer.user,
            "values": answer.values,
        }
        if reply.home is not None:
            event["home"] = reply.home
        self._history.emit(event)
        return answer._replace(blank=answer.ok and _is_blank(answer, op, key))

    async def _fetch(self, method: str, path: str, query: dict[str, str], headers: dict[str, str]) -> _Reply:
        if self._http is None:
            raise RuntimeError("a browser is used inside `async with`")
        reply = _Reply(Answer("network"))
        try:
            async with self._http.request(
                method, self._url + path, params=query, headers=headers, allow_redirects=False
            ) as response:
                # Cookies count from the headers on, even if the rest never comes.
                reply = reply._replace(arrived=True, set_cookies=response.headers.getall("Set-Cookie", []))
                if not response.ok:
                    await response.read()
                    return reply._replace(answer=Answer("refused", response.status))
                body = await response.json()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return reply
        answer = Answer("ok", response.status, body["user"], body["values"])
        home = response.headers.get(EXPLAIN, "").partition(";")[0] or None
        return reply._replace(answer=answer, instance=body["instance"], home=home)


class _Reply(NamedTuple):
    answer: Answer
    arrived: bool = False
    set_cookies: list[str] = []  # noqa: RUF012 - never changed
    instance: str | None = None
    home: str | None = None


def _is_blank(answer: Answer, op: str, key: str | None) -> bool:
    values = answer.values or {}
    if any(name not in ("visits", key) for name in values):
        return False
    return values.get("visits", 0) <= (op == "visit") and (answer.user is None or op == "login")
