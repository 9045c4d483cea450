"""A browser at the doors of several instances, in the time of a fake clock: it keeps cookies as browsers do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast import Event, Keyring, Session, Sessions
from holdfast.testing import FakeClock
from recording import RecordingStore

KEYS = Keyring.generate()


class Fleet:
    """Instances of one application over one recording store."""

    def __init__(self, instances: int = 2, **settings: Any) -> None:
        self.clock = FakeClock(1_800_000_000.0)
        self.store = RecordingStore()
        self.events: list[Event] = []
        settings = {"copy_age": "5s", "on_event": self.events.append, **settings}
        self.instances = [
            Sessions(self.store, keys=KEYS, clock=self.clock, **settings) for _ in range(instances)
        ]

    def visitor(self) -> Visitor:
        """A browser without cookies."""
        return Visitor(self)

    def kinds(self) -> list[str]:
        """The events since the last time this was asked, but for creations."""
        kinds = [event.kind for event in self.events if event.kind != "session created"]
        self.events.clear()
        return kinds


class Visitor:
    """One browser: each call is a request to one of the instances."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.cookies: dict[str, tuple[str, float]] = {}

    def header(self) -> bytes:
        """The `Cookie` header of a request now."""
        now = self.fleet.clock()
        return "; ".join(
            f"{name}={value}" for name, (value, until) in self.cookies.items() if now < until
        ).encode()

    def begin(self, instance: int = 0, freshness: Any = None) -> Session:
        """A request that has arrived and loaded its session."""
        sessions = self.fleet.instances[instance]
        session = sessions.open(self.header())
        sessions.sync.load(session, freshness)
        return session

    def finish(self, session: Session, instance: int = 0) -> list[str]:
        """Commit, and take the response's cookies; their names."""
        self.fleet.instances[instance].sync.commit(session)
        return self.receive(session)

    def receive(self, session: Session) -> list[str]:
        """Take the cookies of a response, maybe late."""
        names = []
        for _, line in session._outgoing():
            pair, *attributes = line.decode().split("; ")
            name, _, value = pair.partition("=")
            (age,) = [int(part.partition("=")[2]) for part in attributes if part.startswith("Max-Age=")]
            self.cookies[name] = (value, self.fleet.clock() + age)
            names.append(name)
        return names

    def do(self, act: Callable[[Session], Any], instance: int = 0, freshness: Any = None) -> Any:
        """One whole request."""
        session = self.begin(instance, freshness)
        result = act(session)
        self.finish(session, instance)
        return result

    def put(self, instance: int = 0, **values: Any) -> None:
        """A request that writes."""
        self.do(lambda session: session.update(values), instance)

    def see(self, instance: int = 0, freshness: Any = None) -> dict[str, Any]:
        """A request that reads everything."""
        return self.do(dict, instance, freshness)  # type: ignore[no-any-return]

    def home(self, instance: int = 0, freshness: Any = None) -> str:
        """Which home a reading request is answered by."""
        session = self.begin(instance, freshness)
        dict(session)
        self.finish(session, instance)
        return self.fleet.instances[instance].explain(session).home

    def settle(self) -> None:
        """Wait until the pin has gone."""
        self.fleet.clock.advance(6.5)
