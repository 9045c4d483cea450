"""An application whose sessions travel with their clients, on several instances, in the time of a fake clock."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from asgi_client import Browser, Response
from holdfast import Event, Keyring, Session, Sessions
from holdfast.asgi import SessionMiddleware
from holdfast.testing import FakeClock
from holdfast.tokens import Token

Act = Callable[[Session], Any]


class Site:
    """Instances that share keys, clock and whatever stores the token names."""

    def __init__(self, token: Token | None = None, *, instances: int = 2, **settings: Any) -> None:
        self.clock = FakeClock(1_800_000_000.0)
        self.events: list[Event] = []
        settings = {"keys": Keyring.generate(), **settings}
        self.instances = [
            Sessions(token=token or Token(), clock=self.clock, on_event=self.events.append, **settings)
            for _ in range(instances)
        ]
        self.apps = [SessionMiddleware(_app, sessions) for sessions in self.instances]

    def tab(self) -> Tab:
        """A browser without cookies."""
        return Tab(self)

    def kinds(self) -> list[str]:
        """The kinds of events since the last time this was asked."""
        kinds = [event.kind for event in self.events]
        self.events.clear()
        return kinds

    @property
    def sync(self) -> Any:
        """The administrator's calls on the first instance."""
        return self.instances[0].sync


class Tab(Browser):
    """One browser: each call is a request, handled by what it is given."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.apps[0])
        self.site = site
        self._act: Act = dict
        self.last: Response | None = None

    def scope(self, path: str = "/", kind: str = "http", cookie: str | None = None) -> dict[str, Any]:
        return {**super().scope(path, kind, cookie), "holdfast.act": self._act, "seen": []}

    def beside(self) -> Tab:
        """Another tab of the same browser: it shares the cookies."""
        tab = Tab(self.site)
        tab.jar = self.jar
        return tab

    async def do(self, act: Act, instance: int = 0) -> Any:
        """One request; what the handler returned. Fails unless it is answered 200."""
        result: list[Any] = []

        async def noting(session: Session) -> None:
            found = act(session)
            result.append(await found if inspect.isawaitable(found) else found)

        self._act, self.app = noting, self.site.apps[instance]
        self.last = await self.get()
        assert self.last.status == 200, self.last.body
        return result[0]

    async def status(self, act: Act, instance: int = 0) -> int:
        """One request; its status."""
        self._act, self.app = act, self.site.apps[instance]
        self.last = await self.get()
        return self.last.status

    async def put(self, instance: int = 0, **values: Any) -> None:
        """A request that sets values."""
        await self.do(lambda session: session.update(values), instance)

    async def see(self, instance: int = 0) -> dict[str, Any]:
        """A request that reads everything."""
        found: dict[str, Any] = await self.do(dict, instance)
        return found

    @property
    def cookies_set(self) -> list[str]:
        """The names of the cookies that the last response set or cleared."""
        assert self.last is not None
        return [line.partition("=")[0] for line in self.last.all("set-cookie")]


def regressions(site: Site) -> list[str]:
    """What was told of overwritten changes since the last time."""
    details = [event.detail for event in site.events if event.kind == "regression"]
    site.events.clear()
    return details


async def overlapping(tab: Tab, *acts: Act) -> None:
    """Requests of several tabs that all read before any of them responds, on the instances in turn."""
    ready = asyncio.Barrier(len(acts))

    def waiting(act: Act) -> Act:
        async def handler(session: Session) -> None:
            act(session)
            await ready.wait()

        return handler

    tabs = [tab.beside() for _ in acts]
    await asyncio.gather(
        *(each.do(waiting(act), n % 2) for n, (each, act) in enumerate(zip(tabs, acts, strict=True)))
    )


def setting(**values: Any) -> Act:
    """A handler that sets values."""
    return lambda session: session.update(values)


def counting(name: str) -> Act:
    """A handler that counts one up."""
    return lambda session: session.alter(name, lambda n: n + 1, default=0)


async def _app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    found = scope["holdfast.act"](scope["session"])
    if inspect.isawaitable(found):
        await found
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
