"""How often copies answer, and what is left for the store and the cache, by the number of instances.

Measured: so many `Sessions` behind their ASGI middleware as there are instances, over one store and one cache that
count their commands, on a clock that jumps from request to request. Beside it stands what a simple model predicts.

The traffic: `BROWSERS` browsers with a session each and a real cookie jar, each asking every `THINK_SECONDS` on
average, independently (a Poisson process of rate a); a share w of the requests writes one key, the rest reads. A
request goes to any of n instances with the same chance, or with affinity always to the same one, so that one instance
hears a browser at the rate m = a / n (m = a with affinity). Responses take no time, nobody signs out, no instance
dies, no deadline has to be written anew. Copies may be D old; a pin lives P = D + 1 s.

The model:

- A browser is pinned if it has written within P: a request finds it unpinned with the chance e^(-a w P). Then its last
  write is longer ago than any copy may be old, so whatever copy is young enough is also new enough.
- A copy is filled by every request of a pinned browser, and by every miss of an unpinned one, but not by a hit. So, s
  seconds after the pin has died, a copy is there with the chance
      h(s) = 1 - e^(-m max(D - s, 0)) + integral of m (1 - h(u)) du, for u from max(s - D, 0) to s:
  the first part is a fill while pinned, the second one after it. (For s much longer than D this nears
  m D / (1 + m D), the rate of a cache whose entries live D seconds from their filling.)
- The local hit rate is e^(-a w P) times the mean of h(s), where s has the density a w e^(-a w s).
- With a shared cache, an unpinned request that misses its local copy is answered by the cache, which every write
  brings up to date and nothing throws out.
- Store commands for a request: 1 if the store answers, 1 more for a write, and the feed's: each of the n instances
  reads it 1 s (or D / 2) after the last time at the earliest, as soon as some copy is about to be served.
  Cache commands: 1 if the cache is asked, 1 for a write.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from heapq import heapify, heapreplace
from random import Random
from typing import Any, NamedTuple

from starlette.types import Message, Receive, Scope, Send

from holdfast import Change, Keyring, Record, Sessions
from holdfast.asgi import SessionMiddleware
from holdfast.lab.jar import Jar
from holdfast.stores.memory import MemoryStore

from .measure import markdown

BROWSERS = 60
THINK_SECONDS = 2.0
WRITE_SHARE = 0.05
COPY_AGE_SECONDS = 5.0
PIN_SECONDS = COPY_AGE_SECONDS + 1.0
FEED_SECONDS = min(1.0, COPY_AGE_SECONDS / 2)
INSTANCES = (1, 4, 10, 30)
WARM_UP_SECONDS = 60.0
MEASURED_SECONDS = 600.0
GRID_SECONDS = 0.02


class Setting(NamedTuple):
    """How many instances, how requests are routed, and whether there is a cache beside the local copies."""

    instances: int
    affinity: bool
    cache: bool


class Rates(NamedTuple):
    """Shares of the requests that a home has answered, and the commands for one request."""

    local: float
    cache: float
    to_store: float
    to_cache: float


def report(rounds: int = 1) -> str:
    """A Markdown table: for each setting what was measured, and what the model predicts.

    `rounds` is taken for the sake of the other benchmarks: traffic on a virtual clock needs none.
    """
    rows = []
    for cache in (False, True):
        for affinity in (False, True):
            for instances in INSTANCES:
                setting = Setting(instances, affinity, cache)
                measured = asyncio.run(Run(setting).go())
                predicted = model(setting)
                name = (
                    f"{'local + cache' if cache else 'local'}, {'affinity' if affinity else 'any instance'}"
                )
                rows.append([name, f"{instances}", *_beside(measured, predicted)])
    header = ["Copies, routing", "instances", "local hits", "cache hits", "store commands", "cache commands"]
    return markdown([*header[:2], *(f"{heading} (model)" for heading in header[2:])], rows)


def _beside(measured: Rates, predicted: Rates) -> Iterator[str]:
    for name, found, told in zip(Rates._fields, measured, predicted, strict=True):
        if name in ("local", "cache"):
            yield f"{100 * found:.0f} % ({100 * told:.0f} %)"
        else:
            yield f"{found:.2f} ({told:.2f})"


def model(setting: Setting) -> Rates:
    """What this module's docstring says."""
    rate, age = 1 / THINK_SECONDS, COPY_AGE_SECONDS
    writes = rate * WRITE_SHARE
    unpinned = math.exp(-writes * PIN_SECONDS)
    local = unpinned * _mean_hit(rate if setting.affinity else rate / setting.instances, age, writes)
    cache = unpinned - local if setting.cache else 0.0
    served = (local + cache) * rate * BROWSERS / setting.instances  # copies a second, at each instance
    feed = setting.instances / (FEED_SECONDS + 1 / served) / (rate * BROWSERS)
    return Rates(
        local,
        cache,
        to_store=1 - local - cache + WRITE_SHARE + feed,
        to_cache=cache + WRITE_SHARE if setting.cache else 0.0,
    )


def _mean_hit(m: float, age: float, writes: float) -> float:
    """The mean of h(s) over s, which lasts 1 / `writes` on average; both integrals by steps of `GRID_SECONDS`."""
    back, filled, total = (
        round(age / GRID_SECONDS),
        [0.0],
        0.0,
    )  # filled: the integral of m (1 - h) up to each step
    for step in range(round(8 / writes / GRID_SECONDS)):
        s = step * GRID_SECONDS
        hit = 1 - math.exp(-m * max(age - s, 0.0)) + filled[-1] - filled[max(step - back, 0)]
        total += hit * writes * math.exp(-writes * s) * GRID_SECONDS
        filled.append(filled[-1] + m * (1 - hit) * GRID_SECONDS)
    return total


class CountingStore(MemoryStore):
    """Counts the commands that a server would have received, for records and for copies."""

    commands = 0

    async def create(self, key: str, record: Record) -> bool:
        self.commands += 1
        return await super().create(key, record)

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        self.commands += 1
        return await super().load(key, weak=weak)

    async def commit(self, key: str, change: Change) -> Record:
        self.commands += 1
        return await super().commit(key, change)

    async def get_copy(self, key: str) -> bytes | None:
        self.commands += 1
        return await super().get_copy(key)

    async def claim_copy(self, key: str, claim: bytes, life: float) -> bool:
        self.commands += 1
        return await super().claim_copy(key, claim, life)

    async def fill_copy(self, key: str, claim: bytes, rank: int, data: bytes, life: float) -> bool:
        self.commands += 1
        return await super().fill_copy(key, claim, rank, data, life)

    async def put_copy(self, key: str, rank: int, data: bytes, life: float) -> bool:
        self.commands += 1
        return await super().put_copy(key, rank, data, life)


class Run:
    """One setting under traffic."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._now = 1_000_000.0
        self._random = Random(f"{setting}")
        self._store = CountingStore()
        self._cache = CountingStore(clock=self._clock)
        keys = Keyring.generate()
        self._instances = [self._instance(keys) for _ in range(setting.instances)]

    def _clock(self) -> float:
        return self._now

    def _instance(self, keys: Keyring) -> SessionMiddleware:
        sessions = Sessions(
            self._store,
            keys=keys,
            idle="100d",
            absolute="100d",
            copy_age=COPY_AGE_SECONDS,
            cache=self._cache if self._setting.cache else None,
            clock=self._clock,
        )
        return SessionMiddleware(handle, sessions, debug_header=True)

    async def go(self) -> Rates:
        """Let the browsers ask, first without counting."""
        start, homes = self._now, {"local": 0, "cache": 0, "store": 0, "none": 0}
        queue = [(start + self._think(), number, Jar("https://shop")) for number in range(BROWSERS)]
        heapify(queue)
        counting, before = False, (0, 0)
        while queue[0][0] < start + WARM_UP_SECONDS + MEASURED_SECONDS:
            self._now, number, jar = queue[0]
            if not counting and self._now >= start + WARM_UP_SECONDS:
                counting, before = True, (self._store.commands, self._cache.commands)
            home = await self._ask(number, jar)
            homes[home] += counting
            heapreplace(queue, (self._now + self._think(), number, jar))
        total = sum(homes.values())
        return Rates(
            homes["local"] / total,
            homes["cache"] / total,
            (self._store.commands - before[0]) / total,
            (self._cache.commands - before[1]) / total,
        )

    def _think(self) -> float:
        return self._random.expovariate(1 / THINK_SECONDS)

    async def _ask(self, number: int, jar: Jar) -> str:
        """One request of a browser; the home that has answered."""
        cookies = jar.header("/", self._now)
        writes = cookies is None or self._random.random() < WRITE_SHARE
        place = number if self._setting.affinity else self._random.randrange(len(self._instances))
        headers = [(b"cookie", cookies.encode())] if cookies else []
        path = "/write" if writes else "/read"
        scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
        answer: dict[str, Any] = {}

        async def send(message: Message) -> None:
            answer.update(message)

        await self._instances[place % len(self._instances)](scope, _nothing, send)
        home = "none"
        for name, value in answer["headers"]:
            if name == b"set-cookie":
                jar.receive([value.decode()], "/", self._now)
            elif name == b"holdfast-explain":
                home = value.decode().partition(";")[0]
        return home


async def handle(scope: Scope, receive: Receive, send: Send) -> None:
    """Read or write one key."""
    session = scope["session"]
    count = session.get("count", 0)
    if scope["path"] == "/write":
        session["count"] = count + 1
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _nothing() -> Message:
    return {"type": "http.request"}
