"""What the simulated shoppers do, one session after another.

A journey is one session: a first write alone, so that there is an identity; then two tabs at once, each counting
visits and writing keys of its own, and reading back what it wrote; signing in; more of the same; signing out, and
trying the old cookies once more. Some requests are meant to be in the way: a slow read or write while the other tab
signs in, a slow write while it signs out.

A shopper who finds nothing left of the session looks once more, and then begins a new one, as people do.

Where copies are compared, shoppers also browse for a while: many reads and few writes, which is what copies are for.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import Random
from types import TracebackType

from .browsers import Answer, Browser
from .history import History

KEYS = 3  # of each tab
PAUSE = 0.6  # seconds between two steps of a tab, on average
TRIES = 3  # for what a journey cannot go on without
BROWSING = (10, 18)  # steps of each tab before signing out, where shoppers browse
WRITES_WHILE_BROWSING = 0.03  # the share of these steps that write

Pace = Callable[[], float]


class Crowd:
    """So many shoppers at once, each with a browser of its own; with `browse`, they also read for a while.

    An async context manager.
    """

    def __init__(self, url: str, users: int, history: History, *, seed: int, browse: bool = False) -> None:
        browsers = [Browser(number, url, history, seed=seed) for number in range(users)]
        self._history = history
        self._browsers = browsers
        self._shoppers = [Shopper(browser, history, seed=seed, browse=browse) for browser in browsers]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Crowd:
        for browser in self._browsers:
            await self._stack.enter_async_context(browser)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def shop(self, seconds: float) -> None:
        """Go about it for so long, more busily at some times than at others. Ends by itself."""
        start = self._history.now()

        def pace() -> float:
            """How long pauses are now, compared with the average: two rush hours in a run, and a lull after each."""
            return 1 - 0.6 * math.sin(4 * math.pi * (self._history.now() - start) / seconds)

        async with asyncio.TaskGroup() as group:
            for shopper in self._shoppers:
                group.create_task(shopper.shop(start + seconds, pace))

    async def look_again(self) -> None:
        """Everybody looks once more, from both tabs, at the session that he has."""
        async with asyncio.TaskGroup() as group:
            for shopper in self._shoppers:
                group.create_task(shopper.look_again())


class Shopper:
    """One person at one browser. What a journey does is drawn from the seed, whatever became of the one before."""

    def __init__(self, browser: Browser, history: History, *, seed: int, browse: bool = False) -> None:
        self._browser = browser
        self._history = history
        self._browse = browse
        self._seed = f"{seed}/shopper {browser.number}"
        self._sessions = 0
        self._journey: Journey | None = None

    async def shop(self, until: float, pace: Pace) -> None:
        """Make one journey after another until the time has come."""
        start = Random(f"{self._seed}/start").uniform(0, 2 * PAUSE)
        await asyncio.sleep(min(start, max(0.0, until - self._history.now())))
        while self._history.now() < until:
            self._sessions += 1
            self._browser.jar.clear()
            seed = f"{self._seed}/{self._sessions}"
            self._journey = Journey(self._browser, self._sessions, seed, browse=self._browse)
            await self._journey.go(pace, lambda: self._history.now() >= until)
            if not self._journey.began:
                await asyncio.sleep(min(PAUSE, max(0.0, until - self._history.now())))

    async def look_again(self) -> None:
        """Read the present session from both tabs, if there is one."""
        if self._journey is not None and self._journey.is_live:
            await self._journey.look(0)
            await self._journey.look(1)


class Journey:
    """One session of one browser, from its first write to the replay of its old cookies."""

    def __init__(self, browser: Browser, session: int, seed: str, *, browse: bool = False) -> None:
        self.began = False
        self._browse = browse
        self._over = False
        self._browser = browser
        self._session = session
        self._plans = [Random(f"{seed}/tab {tab}") for tab in (0, 1)]
        self._written = [0, 0]
        self._old_cookies: list[str] = []

    @property
    def is_live(self) -> bool:
        """Whether the browser has, as far as it knows, a session."""
        return self.began and not self._over

    async def go(self, pace: Pace, is_late: Callable[[], bool]) -> None:
        """Go as far as time allows. What has begun to end is ended, even if late."""
        first = await self._write(0)
        self.began = first.ok
        if not first.ok:
            return  # no cookie came back: whatever was stored, this browser has no part in it
        stages = ((self._sign_in, (3, 5), False), (self._sign_out, (1, 3), self._browse))
        for signing, steps, browse in stages:
            await self._use_both(steps, pace, is_late, writes=0.85)
            if browse:
                await self._use_both(BROWSING, pace, is_late, writes=WRITES_WHILE_BROWSING)
            if self._over or is_late():
                return
            await signing()
            if self._over:
                return

    async def look(self, tab: int) -> Answer:
        """Read, and try again a few times if there is no answer."""
        for _ in range(TRIES):
            answer = await self._ask("read", tab)
            if answer.ok:
                break
        return answer

    async def _use_both(
        self, steps: tuple[int, int], pace: Pace, is_late: Callable[[], bool], *, writes: float
    ) -> None:
        """Take so many steps in each tab, at once; `writes` is the share of the steps that write."""
        counts = [plan.randint(*steps) for plan in self._plans]
        async with asyncio.TaskGroup() as group:
            for tab in (0, 1):
                group.create_task(self._use(tab, counts[tab], pace, is_late, writes))

    async def _use(
        self, tab: int, steps: int, pace: Pace, is_late: Callable[[], bool], writes: float
    ) -> None:
        plan = self._plans[tab]
        for _ in range(steps):
            await asyncio.sleep(min(plan.expovariate(1 / PAUSE), 4 * PAUSE) * pace())
            for act in (self._write, self._read) if plan.random() < writes else (self._read,):
                if self._over or is_late():
                    return
                answer = await act(tab)
                if answer.blank or answer.status == 409:
                    await self._look_closely(tab)

    async def _write(self, tab: int) -> Answer:
        plan = self._plans[tab]
        think = plan.uniform(20, 120)
        if plan.random() < 0.5:
            return await self._ask("visit", tab, think=think)
        key = f"{'ab'[tab]}{plan.randrange(KEYS)}"
        return await self._ask("put", tab, key=key, value=self._value(tab), think=think)

    async def _read(self, tab: int) -> Answer:
        return await self._ask("read", tab, think=self._plans[tab].uniform(0, 40))

    def _value(self, tab: int) -> str:
        """A value that tells who wrote it, and when in the order of its tab."""
        self._written[tab] += 1
        return f"b{self._browser.number}.{self._session}.{tab}.{self._written[tab]}"

    async def _ask(
        self,
        op: str,
        tab: int,
        *,
        key: str | None = None,
        value: str | None = None,
        think: float = 0.0,
        cookies: str | None = None,
    ) -> Answer:
        return await self._browser.ask(
            op, tab=tab, session=self._session, key=key, value=value, think=think, cookies=cookies
        )

    async def _look_closely(self, tab: int) -> None:
        """Nothing is there: a second look decides whether to go on with this session."""
        await asyncio.sleep(self._plans[tab].uniform(0.05, 0.15))
        answer = await self.look(tab)
        if answer.blank:
            self._over = True

    def _keep_cookies(self) -> None:
        cookies = self._browser.cookies()
        if cookies and cookies not in self._old_cookies:
            self._old_cookies.append(cookies)

    async def _sign_in(self) -> None:
        """Sign in on one tab while the other is still reading, or writing."""
        self._keep_cookies()
        user = f"b{self._browser.number}"
        plan = self._plans[0]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._linger())
            await asyncio.sleep(plan.uniform(0, 0.08))
            answer = await self._ask("login", 0, value=user, think=plan.uniform(20, 80))
        for _ in range(TRIES):
            if answer.ok:
                return
            seen = await self.look(0)
            if not seen.ok or seen.blank:
                break  # perhaps the login took the identity with it, and the new one was lost on the way
            if seen.user == user:
                return
            answer = await self._ask("login", 0, value=user, think=plan.uniform(20, 80))
        self._over = not answer.ok

    async def _sign_out(self) -> None:
        """Sign out on one tab while the other is still writing; then see whether anything comes back."""
        self._keep_cookies()
        plan = self._plans[0]
        left = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write_late(left))
            await asyncio.sleep(plan.uniform(0, 0.08))
            answer = await self._ask("logout", 0, think=plan.uniform(0, 40))
            left.set()
        for _ in range(TRIES):
            if answer.ok:
                break
            seen = await self.look(0)
            if not seen.ok or seen.blank:
                break
            answer = await self._ask("logout", 0)
        self._over = True
        if answer.ok:
            await self.look(0)
            for cookies in self._old_cookies:
                await self._replay(cookies)

    async def _linger(self) -> None:
        plan = self._plans[1]
        if plan.random() < 0.7:
            await self._write_late(asyncio.Event())
            return
        await asyncio.sleep(plan.uniform(0, 0.1))
        await self._ask("read", 1, think=plan.uniform(60, 200))

    async def _write_late(self, left: asyncio.Event) -> None:
        """Write a little later, unless the browser knows by then that the session is over."""
        plan = self._plans[1]
        await asyncio.sleep(plan.uniform(0, 0.1))
        value, think = self._value(1), plan.uniform(20, 250)
        if not left.is_set():
            await self._ask("put", 1, key="b0", value=value, think=think)

    async def _replay(self, cookies: str) -> None:
        for _ in range(TRIES):
            if (await self._ask("replay", 1, cookies=cookies)).ok:
                return
