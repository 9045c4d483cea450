"""Places of keys for tests: what they hold, how they fail, and when they answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event

from holdfast import Keyring, Session, Sessions
from holdfast.keys import KeySource, NoKeys


class Place:
    """Keys in memory: `lines` is what is there, `failure` is raised while it is set.

    While `gate` is set to an event, reading waits for it.
    """

    def __init__(self, *lines: str, every: float = 60.0, remote: bool = True) -> None:
        self.every, self.remote = every, remote
        self.lines = list(lines)
        self.failure: Exception | None = None
        self.gate: Event | None = None
        self.reads = 0

    def read(self) -> list[str] | None:
        self.reads += 1
        if self.gate is not None:
            self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        if not self.lines:
            raise NoKeys("nothing here")
        return list(self.lines)

    def write(self, keys: Sequence[str]) -> None:
        self.lines = list(keys)


class Remote:
    """A source that is asked as remote ones are, whatever it is: once a minute, in a thread."""

    every, remote = 60.0, True

    def __init__(self, source: KeySource) -> None:
        self.read, self.write = source.read, source.write


def ring_of(source: KeySource, clock: Callable[[], float]) -> Keyring:
    """The ring that an instance makes of a source when it starts."""
    return Keyring(source.read() or [], source=source, clock=clock)


def settle(ring: Keyring) -> None:
    """Look, and return when what was asked for in a thread has come."""
    ring.look()
    if ring._watch is not None and ring._watch._thread is not None:
        ring._watch._thread.join(60)


def begin(sessions: Sessions) -> bytes:
    """Make a session, as a browser's request does; the `Cookie` header that it sends from then on."""
    session = sessions.open(None)
    session["n"] = 1
    sessions.sync.commit(session)
    cookie = cookies_of(session)
    assert cookie
    return cookie


def shows(sessions: Sessions, cookie: bytes) -> bool:
    """Whether a request with these cookies finds its session."""
    session = sessions.open(cookie)
    sessions.sync.load(session)
    return session.get("n") == 1


def cookies_of(session: Session) -> bytes:
    """What a browser that had none keeps of a response's cookies."""
    lines = [value for name, value in session._outgoing() if name == b"set-cookie"]
    return b"; ".join(line.partition(b";")[0] for line in lines if b"Max-Age=0" not in line)
