"""A model of a correct session server, with the lab's own shoppers on it, in virtual time.

Journeys that take minutes run in milliseconds, and the same seed gives the same history, so that the checker can
be tried on thousands of histories of which it is known whether they are right. `mistake` seeds a wrong server.
"""

from __future__ import annotations

import asyncio
import itertools
import selectors
from dataclasses import dataclass, field
from random import Random
from typing import Any

from holdfast.lab.browsers import Answer
from holdfast.lab.history import Event, History
from holdfast.lab.journeys import Shopper

LOSING = 0.06  # the share of requests whose answer is lost on the way


@dataclass
class Record:
    """A session at the server."""

    values: dict[str, Any] = field(default_factory=dict)
    owner: str | None = None
    ended: bool = False


class Server:
    """Keeps sessions as Holdfast promises to, or with one mistake."""

    def __init__(self, mistake: str | None = None) -> None:
        self.mistake = mistake
        self._random = Random(mistake)
        self.sessions: dict[str, Record] = {}
        self._identities = (f"s{number}" for number in itertools.count(1))

    def load(self, identity: str | None) -> Record | None:
        """A copy of the live session, or of the dead one that it once was."""
        record = self.sessions.get(identity or "")
        return Record(dict(record.values), record.owner, record.ended) if record else None

    def create(self, values: dict[str, Any], owner: str | None = None) -> str:
        """A new session's identity."""
        identity = next(self._identities)
        self.sessions[identity] = Record(values, owner)
        return identity

    def commit(self, identity: str, loaded: Record, op: str, key: str, value: str) -> bool:
        """Whether the change of one key could be kept."""
        record = self.sessions[identity]
        if record.ended:
            if self.mistake == "upsert":
                self.sessions[identity] = Record({key: value})
                return True
            if self.mistake == "unchecked":
                self.sessions[identity] = Record({**loaded.values, key: value}, loaded.owner)
                return True
            return False
        if self.mistake == "forgetful" and self._random.random() < 0.1:
            return True
        if self.mistake == "blob":
            record.values = dict(loaded.values)
        record.values[key] = record.values.get(key, 0) + 1 if op == "visit" else value
        return True


class ModelBrowser:
    """What `Journey` needs of a browser, with a server of this process behind it."""

    def __init__(self, number: int, server: Server, history: History, seed: int) -> None:
        self.number = number
        self.jar = self
        self._server = server
        self._history = history
        self._random = Random(f"{seed}/{number}")
        self._cookie: str | None = None

    def clear(self) -> None:
        self._cookie = None

    def cookies(self) -> str | None:
        return self._cookie

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
        started = self._history.now()
        sent = cookies if cookies is not None else self._cookie
        serving = asyncio.ensure_future(self._serve(op, sent, key, value, think))
        lost = self._random.random() < LOSING
        if lost:
            await asyncio.sleep(self._random.uniform(0, 0.3))  # before, while or after it happens
            answer, cookie = Answer("network"), sent
            if self._random.random() < 0.5:
                serving.cancel()
        else:
            answer, cookie = await serving
            await asyncio.sleep(self._random.uniform(0, 0.06))
        if cookies is None and cookie != sent:
            self._cookie = cookie
        event: Event = {"kind": "request", "t0": started, "t1": self._history.now(), "ms": 1.0}
        event |= {
            "browser": self.number,
            "tab": tab,
            "session": session,
            "op": op,
            "key": key,
            "value": value,
        }
        event |= {"outcome": answer.outcome, "status": answer.status, "instance": None}
        self._history.emit(event | {"user": answer.user, "values": answer.values})
        values = set(answer.values or {}) - {key, "visits"}
        visits = (answer.values or {}).get("visits", 0)
        blank = not values and visits <= (op == "visit") and (answer.user is None or op == "login")
        return answer._replace(blank=answer.ok and blank)

    async def _serve(
        self, op: str, identity: str | None, key: str | None, value: str | None, think: float
    ) -> tuple[Answer, str | None]:
        """The answer, and the cookie that the browser then has."""
        server = self._server
        await asyncio.sleep(self._random.uniform(0.001, 0.01))
        loaded = server.load(identity)
        if server.mistake == "stale" and loaded and self._random.random() < 0.05:
            loaded.values.pop("visits", None)
        if server.mistake == "mixed up" and self._random.random() < 0.03:
            loaded = server.load(self._random.choice(list(server.sessions) or [""]))
        await asyncio.sleep(think / 1000 + self._random.uniform(0, 0.01))
        if server.mistake == "outage" and op != "read" and self._random.random() < 0.05:
            return Answer("refused", 503), identity
        if op in ("read", "replay"):
            return _shown(loaded), identity
        if op == "logout":
            if loaded and identity in server.sessions:
                server.sessions[identity].ended = True
            return Answer("ok", 200, None, {}), None
        if loaded and loaded.ended:
            return Answer("refused", 409), identity
        name, text = (key or "visits", value or "")
        if op == "login":
            return self._log_in(identity, text)
        if loaded is None or identity is None:
            return _shown(Record({name: 1 if op == "visit" else text})), server.create(
                {name: 1 if op == "visit" else text}
            )
        if not server.commit(identity, loaded, op, name, text):
            return Answer("refused", 409), identity
        loaded.values[name] = loaded.values.get(name, 0) + 1 if op == "visit" else text
        return _shown(loaded), identity

    def _log_in(self, identity: str | None, user: str) -> tuple[Answer, str | None]:
        record = self._server.sessions.get(identity or "")
        if record is None or record.ended:
            return Answer("refused", 409), identity
        record.ended = True
        successor = self._server.create(dict(record.values), user)
        return _shown(self._server.sessions[successor]), successor


def _shown(record: Record | None) -> Answer:
    if record is None or record.ended:
        return Answer("ok", 200, None, {})
    return Answer("ok", 200, record.owner, dict(record.values))


class _Skipping(selectors.DefaultSelector):
    """Does not wait: it lets the clock jump to where the waiting would have ended."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("everything waits for ever")
        self.now += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which sleeping takes no time, for tasks that do nothing but sleep."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now


def simulate(seed: int, *, users: int = 4, seconds: float = 30.0, mistake: str | None = None) -> list[Event]:
    """The history of so many shoppers at a model server, for so many virtual seconds."""
    loop = VirtualLoop()
    history = History(clock=loop.time)
    server = Server(mistake)
    browsers = [ModelBrowser(number, server, history, seed) for number in range(users)]
    shoppers = [Shopper(browser, history, seed=seed) for browser in browsers]  # type: ignore[arg-type]  # a model

    async def shop() -> None:
        await asyncio.gather(*(shopper.shop(seconds, lambda: 1.0) for shopper in shoppers))
        await asyncio.gather(*(shopper.look_again() for shopper in shoppers))
        await asyncio.sleep(1)  # whose answer was lost may still be at work

    try:
        loop.run_until_complete(shop())
    finally:
        loop.close()
    return history.events
