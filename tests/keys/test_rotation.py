"""Rotation on several instances: over the whole time, none meets a token whose key it does not know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from holdfast import Keyring, Sessions
from holdfast.cli import main
from holdfast.cookies import Cookies, Sent
from holdfast.keys import KeySource
from holdfast.keys.file import KeyFile
from holdfast.stores.memory import MemoryStore
from holdfast.testing import FakeClock
from holdfast.tokens import Token

from places import Place, Remote, begin, cookies_of, ring_of, settle, shows  # isort: skip

KINDS: dict[str, Callable[[], dict[str, object]]] = {
    "store": dict,
    "jwe": lambda: {"token": Token("jwe")},
    "EdDSA": lambda: {"token": Token("jws", public={"n"})},
    "ES256": lambda: {"token": Token("jws", algorithm="ES256", public={"n"})},
    "v4.local": lambda: {"token": Token("paseto")},
    "v4.public": lambda: {"token": Token("paseto", algorithm="v4.public", public={"n"})},
}

_TICK_SECONDS = 27.0
_PER_HOUR = 133


class Fleet:
    """Instances whose clocks differ by eight seconds, and which look at their sources at different times."""

    def __init__(
        self, path: Path, kind: str, wrap: Callable[[KeySource], KeySource], apart: float = 0.0
    ) -> None:
        self.clock = FakeClock()
        store = MemoryStore()
        self.rings: list[Keyring] = []
        self.instances: list[Sessions] = []
        for skew in (0.0, -8.0):
            self.clock.advance(apart if skew else 0.0)
            about = KINDS[kind]()
            clock = self._skewed(skew)
            ring = ring_of(wrap(KeyFile(path)), clock)
            self.rings.append(ring)
            if "token" not in about:
                about["store"] = store
            self.instances.append(
                Sessions(keys=ring, clock=clock, idle="1h", absolute="1h", **about)  # type: ignore[arg-type]
            )

    def _skewed(self, skew: float) -> Callable[[], float]:
        return lambda: self.clock() + skew

    def turn(self, living: list[bytes], some: slice) -> int:
        """Requests on all instances, without a cookie and with some of the living: how many are not known to one."""
        lost = 0
        for ring, sessions in zip(self.rings, self.instances, strict=True):
            settle(ring)
            living.append(begin(sessions))
            lost += sum(not shows(each, living[-1]) for each in self.instances)
        return lost + sum(not shows(each, cookie) for cookie in living[some] for each in self.instances)


def whole_timeline(
    path: Path, kind: str, wrap: Callable[[KeySource], KeySource], patch: pytest.MonkeyPatch, wait: str
) -> int:
    """Add a key, wait, rotate, wait, rotate: how often a cookie was not known to an instance while it was good."""
    main(["keys", "add", str(path)])
    fleet = Fleet(path, kind, wrap, apart=2 * _TICK_SECONDS)
    patch.setattr("holdfast.cli.keys.time", SimpleNamespace(time=fleet.clock))
    lost, living = 0, list[bytes]()
    for tick in range(3 * _PER_HOUR):
        if tick in (16, 205):  # the second time retires what the first one has replaced
            main(["keys", "rotate", str(path), "--wait", wait, "--lifetime", "1h"])
        lost += fleet.turn(living, slice(tick % 24, None, 24))
        fleet.clock.advance(_TICK_SECONDS)
        del living[: -2 * (_PER_HOUR - 1)]  # what is left is less than an hour old
    return lost


_EACH = [pytest.param(kind, lambda source: source, id=f"file-{kind}") for kind in KINDS]
_REMOTE = [pytest.param(kind, Remote, id=f"remote-{kind}") for kind in ("store", "jwe")]


@pytest.mark.parametrize(("kind", "wrap"), _EACH + _REMOTE)
def test_add_wait_rotate_retire_logs_nobody_out(
    tmp_path: Path, kind: str, wrap: Callable[[KeySource], KeySource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 10, over three hours: at no moment does an instance meet a token whose key it does not know."""
    path = tmp_path / "keys"
    assert whole_timeline(path, kind, wrap, monkeypatch, "10m") == 0
    ids = Keyring.from_file(path).key_ids
    assert len(ids) == 2, "the first key was retired by the second rotation"


def test_the_timeline_sees_a_key_that_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wait an instance meets tokens under a key that it has not heard of."""
    lost = whole_timeline(tmp_path / "keys", "store", Remote, monkeypatch, "1s")
    assert 0 < lost < 10, "until its next look"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("wrap", "within"), [(lambda source: source, 5), (Remote, 60)], ids=["file", "remote"]
)
def test_a_removed_key_opens_nothing_after_the_stated_time(
    tmp_path: Path, kind: str, wrap: Callable[[KeySource], KeySource], within: float
) -> None:
    """On every instance, also what it has recognised as a whole before; and the other key's tokens live on."""
    path = tmp_path / "keys"
    old, new = Keyring.new_secret(), Keyring.new_secret()
    path.write_text(f"{old}\n")
    fleet = Fleet(path, kind, wrap)
    leaked = begin(fleet.instances[0])
    path.write_text(f"{new}\n{old}\n")
    fleet.clock.advance(within)
    for ring in fleet.rings:
        settle(ring)
    good = begin(fleet.instances[0])
    for sessions in fleet.instances:
        for _ in range(3):
            assert shows(sessions, leaked)
            assert shows(sessions, good)
    path.write_text(f"{new}\n")
    fleet.clock.advance(within)
    for ring in fleet.rings:
        settle(ring)
    for sessions in fleet.instances:
        assert not shows(sessions, leaked)
        assert shows(sessions, good)


def test_tokens_are_made_with_the_newest_key_whose_time_has_come(tmp_path: Path) -> None:
    """Before, with the one after it; a token under the old one is sealed anew by a request that only reads."""
    path = tmp_path / "keys"
    clock = FakeClock(1_800_000_000.0)  # 2027-01-15T08:00:00Z
    old, new = Keyring.new_secret(), Keyring.new_secret()
    path.write_text(f"{new}@2027-01-15T08:10:00Z\n{old}\n")
    ring = ring_of(KeyFile(path), clock)
    sessions = Sessions(token=Token(), keys=ring, clock=clock)
    assert ring.newest.id == Keyring([old]).newest.id
    cookie = begin(sessions)
    clock.advance(599.9)
    assert ring.newest.id == Keyring([old]).newest.id
    clock.advance(0.1)
    assert ring.newest.id == Keyring([new]).newest.id
    again = sessions.open(cookie)
    sessions.sync.load(again)
    assert again["n"] == 1
    sessions.sync.commit(again)
    resealed = cookies_of(again)
    path.write_text(f"{new}\n")
    clock.advance(5)
    assert shows(sessions, resealed)
    assert not shows(sessions, cookie)


def test_a_slow_thread_brings_no_removed_key_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was checking a cookie while its key went does not make the instance recognise it from then on."""
    old, new = Keyring.new_secret(), Keyring.new_secret()
    place, clock = Place(old, remote=False), FakeClock()
    sessions = Sessions(MemoryStore(), keys=ring_of(place, clock), clock=clock)
    cookie = begin(sessions)
    read = Cookies.read

    def slowly(self: Cookies, header: bytes) -> Sent:
        sent = read(self, header)
        monkeypatch.setattr(Cookies, "read", read)
        place.lines = [new]
        clock.advance(60)
        shows(sessions, b"__Host-session=another")  # by another thread, which notices the change
        return sent

    monkeypatch.setattr(Cookies, "read", slowly)
    assert shows(sessions, cookie), "it was good when it came"
    assert not shows(sessions, cookie)
