"""A ring that is read again: when, what is ignored, and what a request notices of it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from holdfast import BadToken, Keyring
from holdfast.keyring import Marker
from holdfast.keys.own_client import OwnClient
from holdfast.testing import FakeClock

from places import Place, ring_of, settle  # isort: skip

OLD, NEW = Keyring.new_secret(), Keyring.new_secret()


def made_with(secret: str) -> bytes:
    """A token of another instance, which has this key."""
    return Keyring([secret]).marker("p").mark(b"body")


def opens(marker: Marker, token: bytes) -> bool:
    try:
        return marker.unmark(token) == b"body"
    except BadToken:
        return False


@pytest.mark.parametrize(("every", "remote"), [(5.0, False), (60.0, True)])
def test_a_place_is_read_once_in_its_time(every: float, remote: bool) -> None:
    """However many requests come; and at the next one after that time."""
    place, clock = Place(OLD, every=every, remote=remote), FakeClock()
    ring = ring_of(place, clock)
    marker = ring.marker("p")
    place.lines = [NEW, OLD]
    for _ in range(100):
        settle(ring)
        assert not opens(marker, made_with(NEW))
    assert place.reads == 1
    clock.advance(every)
    settle(ring)
    for _ in range(100):
        assert opens(marker, made_with(NEW))
        assert opens(marker, made_with(OLD))
    assert place.reads == 2


@pytest.mark.parametrize(
    "lines",
    [
        *([], ["too little"], [NEW, "too little"], ["a" * 43], [f"{NEW}@2026-13-45"]),
        *([None], [7], ["\ud800" * 40], 7),  # what a source of one's own may bring
    ],
    ids=[
        "none",
        "short",
        "one short",
        "no randomness",
        "no date",
        "nothing",
        "a number",
        "no text",
        "no list",
    ],
)
def test_what_cannot_be_a_ring_is_not_taken(lines: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A typing error, or an emptied place, logs nobody out. It is logged, without what stood there."""
    place, clock = Place(OLD, remote=False), FakeClock()
    ring = ring_of(place, clock)
    place.lines = lines
    clock.advance(60)
    with caplog.at_level(logging.ERROR, "holdfast"):
        assert opens(ring.marker("p"), made_with(OLD))
    assert len(caplog.records) == 1
    if isinstance(lines, list):
        assert not any(line in caplog.text for line in lines if isinstance(line, str))
    place.lines = [NEW]
    clock.advance(60)
    assert opens(ring.marker("p"), made_with(NEW)), "as soon as it is fit, it is taken"


def test_an_outage_keeps_the_keys_and_is_tried_again_soon(caplog: pytest.LogCaptureFixture) -> None:
    """Requests go on with the keys that are known; every ten seconds, not more often, the place is asked."""
    place, clock = Place(OLD), FakeClock()
    ring = ring_of(place, clock)
    place.failure, place.lines = OSError("no route to host"), [NEW]
    clock.advance(60)
    for second in range(31):
        settle(ring)
        assert opens(ring.marker("p"), made_with(OLD)), second
        clock.advance(1)
    assert place.reads == 1 + 4
    assert "OSError: no route to host" in caplog.text
    place.failure = None
    clock.advance(10)
    settle(ring)
    assert opens(ring.marker("p"), made_with(NEW))


def test_no_secret_is_logged_when_bytes_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """The `repr` of a UnicodeDecodeError shows all that it could not read."""
    place, clock = Place(OLD, remote=False), FakeClock()
    ring = ring_of(place, clock)
    place.failure = UnicodeDecodeError("utf-8", NEW.encode() + b"\xff", 43, 44, "invalid start byte")
    clock.advance(60)
    ring.look()
    assert "UnicodeDecodeError" in caplog.text
    assert NEW not in caplog.text


def test_a_remote_place_holds_no_request_up() -> None:
    """While it is asked, requests are served with the keys that are known, and nobody asks a second time."""
    place, clock = Place(OLD), FakeClock()
    ring = ring_of(place, clock)
    place.gate, place.lines = Event(), [NEW]
    clock.advance(60)
    for _ in range(10):
        assert opens(ring.marker("p"), made_with(OLD))
        assert not opens(ring.marker("p"), made_with(NEW))
        clock.advance(60)
    assert place.reads == 2
    place.gate.set()
    settle(ring)
    assert opens(ring.marker("p"), made_with(NEW))


def test_an_instance_that_was_frozen_knows_its_first_token() -> None:
    """After a long sleep it waits for news before it refuses a key that it has not heard of."""
    place, clock = Place(OLD), FakeClock()
    ring = ring_of(place, clock)
    marker = ring.marker("p")
    place.gate, place.lines = Event(), [NEW]
    clock.advance(3600)
    threading.Timer(0.05, place.gate.set).start()
    assert opens(marker, made_with(NEW))
    assert not opens(marker, made_with(OLD)), "and by its second request it has forgotten what was removed"


def test_a_forger_makes_no_busy_instance_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an instance that nobody has used for two intervals waits, and only while it is being told."""
    place, clock = Place(OLD), FakeClock()
    ring = ring_of(place, clock)
    place.gate = Event()
    clock.advance(119)
    waits: list[float | None] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", lambda thread, timeout=None: waits.append(timeout))
        assert not opens(ring.marker("p"), made_with(NEW))
    assert waits == []
    assert ring._watch is not None
    assert ring._watch._thread is not None
    assert ring._watch._thread.is_alive(), "it is being asked, and was not waited for"
    place.gate.set()
    settle(ring)
    assert not ring.seek()


@pytest.mark.parametrize("step", [-86400.0, 86400.0])
def test_a_clock_that_is_set_makes_it_look(step: float) -> None:
    """Backwards or forwards, nothing is known about how old the keys are."""
    place, clock = Place(OLD, remote=False), FakeClock()
    ring = ring_of(place, clock)
    clock.advance(step)
    ring.look()
    ring.look()
    assert place.reads == 2


def test_a_steady_clock_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the wall clock stands still, time passes all the same."""
    place, clock = Place(OLD, remote=False), FakeClock()
    ring = ring_of(place, clock)
    assert ring._watch is not None
    now = ring._watch._steady()
    monkeypatch.setattr(ring._watch, "_steady", lambda: now + 61)
    ring.look()
    assert place.reads == 2


def test_no_thread_to_be_had_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the end of an interpreter, or at a limit of the system, a request goes on."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    place, clock = Place(OLD), FakeClock()
    ring = ring_of(place, clock)
    clock.advance(60)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert opens(ring.marker("p"), made_with(OLD))
    assert "can't start new thread" in caplog.text
    clock.advance(60)
    settle(ring)
    assert place.reads == 2


def in_child(check: Callable[[], bool]) -> bool:
    """Whether the check holds in a forked child, which is given ten seconds."""
    process = os.fork()
    if process == 0:
        import signal

        signal.alarm(10)
        os._exit(0 if check() else 1)
    return os.waitpid(process, 0)[1] == 0


def test_a_fork_goes_on_looking() -> None:
    """Also one that is made while the parent asks, and holds the locks: the child's thread would never answer."""
    place, clock = Place(OLD), FakeClock()
    ring = ring_of(place, clock)
    marker = ring.marker("p")
    place.gate, place.lines = Event(), [NEW]
    clock.advance(60)
    ring.look()
    assert ring._watch is not None

    def check() -> bool:
        place.gate = None
        settle(ring)
        return opens(marker, made_with(NEW))

    with ring._lock, ring._watch._lock:
        assert in_child(check)
    place.gate.set()


def test_a_client_is_not_shared_with_a_fork() -> None:
    """Two processes that write to one connection read each other's answers."""
    client = OwnClient(lambda: [os.getpid()])
    own = client.index(os.getpid())
    assert own == 0
    assert in_child(lambda: client.index(os.getpid()) == 0)


def test_threads_see_whole_states_only() -> None:
    """While keys come and go, every thread makes tokens with a key of the ring, and nothing raises."""
    place, clock = Place(OLD, remote=False, every=0.5), FakeClock()
    ring = ring_of(place, clock)
    markers = [ring.marker("p") for _ in range(2)]
    failures: list[BaseException] = []
    stop = Event()

    def work() -> None:
        try:
            while not stop.is_set():
                for marker in markers:
                    marker.is_newest(marker.mark(b"body"))
                    opens(marker, made_with(OLD))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(2000):
        place.lines = [[OLD], [NEW], [NEW, OLD]][turn % 3]
        clock.advance(1)
        ring.look()
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
