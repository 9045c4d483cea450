"""Snapshots in hostile hands: older ones kept and sent again, those of others, those of an earlier sign-in."""

from __future__ import annotations

from typing import Any

from holdfast import Keyring, Session, Sessions
from holdfast.testing import FakeClock

from recording import RecordingStore  # isort: skip

LIFE = 30.0


class Attacker:
    """A browser whose owner decides what it sends: all cookies that it has ever been given, by name."""

    def __init__(self) -> None:
        self.clock, self.store = FakeClock(), RecordingStore()
        self.keys = Keyring.generate()
        self.sessions = self.instance()

    def instance(self) -> Sessions:
        """Another one, cold."""
        # A cold instance has no local copy; an ending arrives within the snapshot's life at the latest.
        return Sessions(
            self.store, keys=self.keys, snapshot=LIFE, revoke_within=LIFE + 1, local=None, clock=self.clock
        )

    def visit(
        self, sent: dict[str, str], do: Any = None, *, cold: bool = False
    ) -> tuple[Session, dict[str, str]]:
        """One request; what the jar holds after it."""
        sessions = self.instance() if cold else self.sessions
        cookie = "; ".join(f"{name}={value}" for name, value in sent.items()).encode()
        session = sessions.open(cookie)
        sessions.sync.load(session)
        if do is not None:
            do(session)
        else:
            session.get("n")
        sessions.sync.commit(session)
        jar = dict(sent)
        for name, value in session._outgoing():
            if name == b"set-cookie":
                key, _, rest = value.decode().partition("=")
                text, _, attributes = rest.partition(";")
                jar.pop(key, None)
                if "Max-Age=0" not in attributes:
                    jar[key] = text
        return session, jar

    def with_snapshot(self, *states: int) -> dict[str, str]:
        """The jar of a visitor whose n was each of these in turn, and a fresh snapshot of the last."""
        jar: dict[str, str] = {}
        for n in states:
            _, jar = self.visit(jar, lambda session, n=n: session.update(n=n))
        self.clock.advance(120)
        _, jar = self.visit(without_pin(jar))
        assert any(name.endswith("-snapshot") for name in jar), jar
        return jar


def snapshot_in(jar: dict[str, str]) -> str:
    return next(value for name, value in jar.items() if name.endswith("-snapshot"))


def with_snapshot(jar: dict[str, str], snapshot: str) -> dict[str, str]:
    without = {name: value for name, value in jar.items() if not name.endswith("-snapshot")}
    return without | {"__Host-session-snapshot": snapshot}


def without_pin(jar: dict[str, str]) -> dict[str, str]:
    """What is sent by whoever would rather not be answered by the store."""
    return {name: value for name, value in jar.items() if not name.endswith("pin")}


def home(attacker: Attacker, session: Session) -> str:
    return attacker.sessions.explain(session).home


def test_a_good_snapshot_answers() -> None:
    """On a cold instance, and no store is asked: what the attacks below are changes of."""
    attacker = Attacker()
    jar = attacker.with_snapshot(1)
    attacker.store.taken()
    session, _ = attacker.visit(jar, cold=True)
    assert (home(attacker, session), session["n"]) == ("snapshot", 1)
    assert attacker.store.taken() == []


def test_an_older_snapshot_is_nothing_beyond_its_bound() -> None:
    """ASVS 9.2.1: kept and sent again, whatever else the browser sends: after its life it is the store that answers."""
    attacker = Attacker()
    jar = attacker.with_snapshot(1)
    for later in (LIFE + 0.1, 60.0, 600.0):
        attacker.clock.advance(later)
        session, _ = attacker.visit(jar, cold=True)
        assert (home(attacker, session), session["n"]) == ("store", 1)


def test_a_snapshot_from_before_ones_own_write_is_not_shown() -> None:
    """Within its life too: the floor says that the browser has seen something newer."""
    attacker = Attacker()
    jar = attacker.with_snapshot(1)
    old = snapshot_in(jar)

    def put(session: Session) -> None:
        session["n"] = 2

    _, after = attacker.visit(jar, put)
    for sent in (
        with_snapshot(after, old),
        with_snapshot(without_pin(after), old),
        with_snapshot({name: value for name, value in after.items() if name == "__Host-session"}, old),
    ):
        session, _ = attacker.visit(sent, cold=True)
        assert session["n"] == 2, "an older state was shown"


def test_a_replayed_snapshot_decides_no_write() -> None:
    """What is written is written onto the store's newest record, never onto what the client has sent."""
    attacker = Attacker()
    jar = attacker.with_snapshot(1)

    def count(session: Session) -> None:
        session.alter("n", lambda n: n + 1)

    _, after = attacker.visit(jar, count)
    assert after["__Host-session"] == jar["__Host-session"]
    attacker.visit(jar, count)  # with everything as it was before the first
    attacker.clock.advance(60)
    session, _ = attacker.visit({"__Host-session": jar["__Host-session"]}, cold=True)
    assert session["n"] == 3


def test_anothers_snapshot_is_nothing() -> None:
    """RFC 8725, 2.7 and 3.8: bound to the identity; with mine in front, the store answers with mine.

    Theirs is fresh, and has been changed more often: age, pin and floor would let it pass.
    """
    attacker = Attacker()
    mine, theirs = attacker.with_snapshot(1), attacker.with_snapshot(1, 2, 3)
    session, _ = attacker.visit(with_snapshot(without_pin(mine), snapshot_in(theirs)), cold=True)
    assert (home(attacker, session), session["n"]) == ("store", 1)


def test_a_snapshot_alone_opens_nothing() -> None:
    """It is no credential: without the identity there is no session, and no store is asked."""
    attacker = Attacker()
    jar = attacker.with_snapshot(1)
    attacker.store.taken()
    session, _ = attacker.visit({"__Host-session-snapshot": snapshot_in(jar)}, cold=True)
    assert session.is_new
    assert attacker.store.taken() == []


def test_a_spoilt_snapshot_is_as_none() -> None:
    """Any character of it changed: the store answers, the session is what it was, nothing is cleared or raised."""
    attacker = Attacker()
    jar = attacker.with_snapshot(1)
    good = snapshot_in(jar)
    for place in range(0, len(good), 5):
        changed = good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1 :]
        session, after = attacker.visit(with_snapshot(jar, changed), cold=True)
        assert (home(attacker, session), session["n"]) == ("store", 1)
        assert after["__Host-session"] == jar["__Host-session"]


def test_a_snapshot_from_before_the_sign_in_is_not_the_users() -> None:
    """The identity is another one: what was sealed for the old one is nothing for the new (fixation)."""
    attacker = Attacker()
    jar = attacker.with_snapshot(1)
    old = snapshot_in(jar)

    def login(session: Session) -> None:
        session.login("user-42")

    _, after = attacker.visit(jar, login)
    for sent in (after, without_pin(after)):
        session, _ = attacker.visit(with_snapshot(sent, old), cold=True)
        assert (home(attacker, session), session.owner) == ("store", "user-42")


def test_a_snapshot_of_another_application_is_nothing() -> None:
    """The same identity bytes and keys, another cookie's name: another key."""
    from fuzz_targets import IDENTITY, NOW, RECORD, RING

    from holdfast.tokens import Secrecy
    from holdfast.tokens.snapshots import SnapshotToken

    one, other = (SnapshotToken(RING, name, Secrecy((), "private")) for name in ("__Host-a", "__Host-b"))
    made = (one.make(RECORD, NOW, IDENTITY, NOW) or "").encode()
    assert one.read(made, IDENTITY, NOW) is not None
    assert other.read(made, IDENTITY, NOW) is None
