"""What the shoppers do, watched at a model server in virtual time."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from session_model import VirtualLoop, simulate

from holdfast.lab.browsers import Answer
from holdfast.lab.history import Event, History
from holdfast.lab.journeys import Shopper

Sessions = dict[tuple[int, int], list[Event]]


@pytest.fixture(scope="module")
def sessions() -> Sessions:
    """The requests of each session, in the order in which they were sent."""
    found: Sessions = defaultdict(list)
    for event in sorted(simulate(1, users=20, seconds=40), key=lambda event: event["t0"]):
        found[event["browser"], event["session"]].append(event)
    return found


def test_a_session_begins_with_a_write_alone(sessions: Sessions) -> None:
    """So that both tabs have the same identity from the start."""
    for events in sessions.values():
        first = events[0]
        assert first["op"] in ("visit", "put")
        assert all(event["t0"] >= first["t1"] for event in events[1:])
        if first["outcome"] != "ok":
            assert len(events) == 1


def test_two_tabs_work_at_once(sessions: Sessions) -> None:
    """Their requests overlap, and each tab has its own keys."""
    overlapping = 0
    for events in sessions.values():
        for event in events:
            if event["op"] == "put":
                assert event["key"][0] == "ab"[event["tab"]]
                assert event["value"].startswith(f"b{event['browser']}.{event['session']}.{event['tab']}.")
            overlapping += any(
                other["tab"] != event["tab"] and event["t0"] <= other["t0"] < event["t1"] for other in events
            )
    assert overlapping > 100


def test_values_are_unique(sessions: Sessions) -> None:
    """A value tells which write it is of."""
    values = [event["value"] for events in sessions.values() for event in events if event["op"] == "put"]
    assert len(values) == len(set(values)) > 100


def test_a_tab_asks_for_one_thing_at_a_time(sessions: Sessions) -> None:
    """As a person does."""
    for events in sessions.values():
        for tab in (0, 1):
            own = [event for event in events if event["tab"] == tab]
            assert all(later["t0"] >= earlier["t1"] for earlier, later in pairwise(own))


def test_writes_are_read_back(sessions: Sessions) -> None:
    """The next thing that a tab asks for after a write is a read, unless the session was just changing."""
    written = read_back = 0
    for events in sessions.values():
        for tab in (0, 1):
            own = [event for event in events if event["tab"] == tab]
            for event, following in pairwise(own[1:]):
                written += event["op"] in ("visit", "put")
                read_back += event["op"] in ("visit", "put") and following["op"] == "read"
    assert read_back > 0.8 * written > 100


def test_signing_in_and_out_are_raced_with(sessions: Sessions) -> None:
    """The other tab is still at work; that is where sessions are revived."""
    for op in ("login", "logout"):
        raced = [
            other
            for events in sessions.values()
            for event in events
            if event["op"] == op
            for other in events
            if other["op"] == "put" and other["t0"] < event["t1"] and event["t0"] < other["t1"]
        ]
        assert len(raced) > 10


def test_nothing_is_asked_of_a_session_after_its_logout_but_whether_it_is_over(sessions: Sessions) -> None:
    """One look with the browser's own cookies, and a replay of those before the login and the logout."""
    replays = 0
    for events in sessions.values():
        over = [event["t1"] for event in events if event["op"] == "logout" and event["outcome"] == "ok"]
        for event in events:
            if over and event["t0"] >= over[0]:
                assert event["op"] in ("read", "replay")
                replays += event["op"] == "replay"
    assert replays > 20


def test_the_user_is_the_browsers_own(sessions: Sessions) -> None:
    """So that a user who is shown to somebody else is recognised."""
    logins = [event for events in sessions.values() for event in events if event["op"] == "login"]
    assert logins
    assert all(event["value"] == f"b{event['browser']}" for event in logins)


def test_everybody_looks_once_more_at_the_end(sessions: Sessions) -> None:
    """The last requests of a session that is live are reads from both tabs."""
    unfinished = [
        events
        for events in sessions.values()
        if events[0]["outcome"] == "ok"
        and all(event["outcome"] == "ok" for event in events if event["op"] == "login")
        and not any(event["op"] == "logout" for event in events)
    ]
    looked = [events for events in unfinished if events[-1]["t0"] > 40]
    assert looked
    for events in looked:
        assert {event["tab"] for event in events if event["t0"] > 40 and event["op"] == "read"} >= {0, 1}


def test_it_ends_in_time(sessions: Sessions) -> None:
    """What has begun is finished, nothing else is begun."""
    begun = [events[0]["t0"] for events in sessions.values()]
    assert max(begun) < 40
    assert max(event["t1"] for events in sessions.values() for event in events) < 43


class ForgetfulBrowser:
    """A browser at a server that forgets everything at once."""

    def __init__(self) -> None:
        self.number = 0
        self.jar = self
        self.asked: list[tuple[int, str]] = []
        self.cleared = 0

    def clear(self) -> None:
        self.cleared += 1

    def cookies(self) -> str | None:
        return None

    async def ask(self, op: str, *, session: int, **_: Any) -> Answer:
        self.asked.append((session, op))
        return Answer("ok", 200, None, {}, blank=True)


def test_who_finds_nothing_looks_once_more_and_begins_anew() -> None:
    """A new session with an empty jar, as a person would who finds himself signed out."""
    loop = VirtualLoop()
    browser = ForgetfulBrowser()
    shopper = Shopper(browser, History(clock=loop.time), seed=1)  # type: ignore[arg-type]  # a stand-in
    loop.run_until_complete(shopper.shop(20.0, lambda: 1.0))
    loop.close()
    sessions = {session for session, _ in browser.asked}
    assert len(sessions) == browser.cleared > 3
    for session in sorted(sessions)[:-1]:
        assert [op for number, op in browser.asked if number == session][-1] == "read"
