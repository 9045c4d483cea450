"""The checker against histories written by hand: each promise broken, and each nearly broken but kept."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.lab.checker import VIOLATIONS, Verdict, check
from holdfast.lab.history import Event

KEPT = dict.fromkeys(VIOLATIONS, 0)


def ask(op: str, t0: float, t1: float, shows: dict[str, Any] | None = None, **more: Any) -> Event:
    """One request. `shows` is what the answer shows, the user included; without it, nothing is shown."""
    shows = dict(shows or {})
    event: Event = {"kind": "request", "t0": t0, "t1": t1, "ms": 1.0, "op": op}
    event |= {"browser": 0, "tab": 0, "session": 1, "key": None, "value": None}
    event |= {
        "outcome": "ok",
        "status": 200,
        "instance": "i1",
        "user": shows.pop("user", None),
        "values": shows,
    }
    event |= more
    if event["outcome"] != "ok":
        event |= {"values": None, "user": None}
    return event


def read(t0: float, t1: float, shows: dict[str, Any] | None = None, **more: Any) -> Event:
    return ask("read", t0, t1, shows, **more)


def put(
    t0: float, t1: float, key: str, value: str, shows: dict[str, Any] | None = None, **more: Any
) -> Event:
    return ask("put", t0, t1, {key: value, **(shows or {})}, key=key, value=value, **more)


def visit(t0: float, t1: float, visits: int, shows: dict[str, Any] | None = None, **more: Any) -> Event:
    return ask("visit", t0, t1, {"visits": visits, **(shows or {})}, **more)


def login(t0: float, t1: float, shows: dict[str, Any] | None = None, **more: Any) -> Event:
    return ask("login", t0, t1, {"user": "b0", **(shows or {})}, value="b0", **more)


def logout(t0: float, t1: float, **more: Any) -> Event:
    return ask("logout", t0, t1, **more)


NETWORK = {"outcome": "network", "status": None, "instance": None}
GONE = {"outcome": "refused", "status": 409}
UNAVAILABLE = {"outcome": "refused", "status": 503}


def judge(*events: Event, **expected: int) -> Verdict:
    """The verdict, of which the counts of violations are exactly these."""
    verdict = check(events)
    counts = {kind: verdict.counts[kind] for kind in VIOLATIONS}
    assert counts == {**KEPT, **expected}, verdict.violations
    assert len(verdict.violations) == sum(expected.values())
    return verdict


def test_a_quiet_session_keeps_every_promise() -> None:
    """Write, read back, sign in, sign out, try the old cookie: nothing to complain about."""
    verdict = judge(
        put(1, 2, "a", "v1"),
        read(3, 4, {"a": "v1"}),
        visit(5, 6, 1, {"a": "v1"}),
        login(7, 8, {"a": "v1", "visits": 1}),
        read(9, 10, {"a": "v1", "visits": 1, "user": "b0"}),
        logout(11, 12),
        read(13, 14),
        ask("replay", 15, 16),
    )
    assert verdict.counts["sessions"] == 1
    assert verdict.counts["uncertain"] == 0


def test_other_events_are_left_aside() -> None:
    """An instance's fate is not the checker's business."""
    judge(
        {"kind": "instance", "t": 1.0, "instance": "i1", "what": "kill", "in_flight": 1}, put(1, 2, "a", "v1")
    )


def test_only_acknowledged_sessions_are_counted() -> None:
    """A session whose only write got no answer never came about, as far as its browser knows."""
    verdict = judge(put(1, 2, "a", "v1", **NETWORK), read(3, 4))
    assert verdict.counts["sessions"] == 0


class TestSessionsLost:
    """Everything that was acknowledged is gone while the session should be live."""

    def test_a_session_that_is_gone(self) -> None:
        """Two writes were acknowledged, and afterwards there is nothing."""
        verdict = judge(
            put(1, 2, "a", "v1"), visit(2, 3, 1, {"a": "v1"}), read(4, 5), read(6, 7), sessions_lost=1
        )
        found = verdict.violations[0]
        assert (found.t, found.kind, found.browser) == (5, "sessions_lost", 0)
        assert "the read at 4.000 s showed nothing of the session" in found.text

    def test_it_is_counted_once_whatever_follows(self) -> None:
        """What the browser writes afterwards is judged by itself; the session stays lost only once."""
        judge(
            put(1, 2, "a", "v1"),
            read(3, 4),
            read(3, 4, tab=1),
            put(5, 6, "b", "v2"),
            read(7, 8, {"b": "v2"}),
            read(9, 10),
            sessions_lost=1,
        )

    def test_a_read_that_began_before_the_acknowledgement_may_show_nothing(self) -> None:
        """The write was still on its way when the read was asked for."""
        judge(put(1, 4, "a", "v1"), read(3, 5, tab=1), read(6, 7, {"a": "v1"}))

    def test_writing_over_the_only_key_shows_nothing_else(self) -> None:
        """An answer that shows its own change, where there was nothing besides, is complete."""
        judge(put(1, 2, "a", "v1"), put(3, 4, "a", "v2"), read(5, 6, {"a": "v2"}))

    def test_a_write_that_shows_only_itself_has_lost_the_rest(self) -> None:
        """The second write began a new session in place of the first."""
        judge(put(1, 2, "a", "v1"), put(3, 4, "b", "v2"), read(5, 6, {"b": "v2"}), sessions_lost=1)

    def test_a_refused_write_in_a_live_session_says_that_it_is_gone(self) -> None:
        """409 is the right answer only if the session has ended; nobody has ended this one."""
        judge(put(1, 2, "a", "v1"), put(3, 4, "a", "v2", **GONE), sessions_lost=1)

    def test_an_outage_is_not_a_loss(self) -> None:
        """503 says nothing about the session."""
        judge(put(1, 2, "a", "v1"), put(3, 4, "a", "v2", **UNAVAILABLE), read(5, 6, {"a": "v1"}))

    def test_a_request_that_raced_with_the_login_may_be_met_as_a_stranger(self) -> None:
        """It came with the identity that the login had just replaced."""
        judge(
            put(1, 2, "a", "v1"),
            read(3, 6, tab=1),
            put(3, 6, "b", "v2", tab=1, **GONE),
            login(4, 5, {"a": "v1"}),
            read(7, 8, {"a": "v1", "user": "b0"}),
        )

    def test_a_request_after_the_login_may_not(self) -> None:
        """The login was acknowledged, and so the browser has the new identity."""
        judge(put(1, 2, "a", "v1"), login(3, 4, {"a": "v1"}), read(5, 6), sessions_lost=1)


class TestUncertain:
    """The answer to a login was lost, and perhaps the new identity with it: neither a violation nor hidden."""

    @pytest.mark.parametrize("how", [NETWORK, UNAVAILABLE])
    def test_nothing_after_an_unknown_login(self, how: dict[str, Any]) -> None:
        """The browser holds an identity that may be dead by design."""
        verdict = judge(put(1, 2, "a", "v1"), login(3, 4, **how), read(5, 6), put(7, 8, "a", "v2", **GONE))
        assert verdict.counts["uncertain"] == 1

    def test_an_unknown_login_that_never_happened(self) -> None:
        """Everything is there, nobody is signed in: all is well, and certain."""
        verdict = judge(put(1, 2, "a", "v1"), login(3, 4, **NETWORK), read(5, 6, {"a": "v1"}))
        assert verdict.counts["uncertain"] == 0

    def test_it_does_not_excuse_a_partial_loss(self) -> None:
        """A login loses the whole session or nothing."""
        judge(
            put(1, 2, "a", "v1"),
            put(3, 4, "b", "v2", {"a": "v1"}, tab=1),
            login(5, 6, **NETWORK),
            read(7, 8, {"a": "v1"}),
            updates_lost=1,
        )

    def test_a_refused_login_has_not_happened(self) -> None:
        """409 is certain: what is gone afterwards is not the login's fault."""
        judge(put(1, 2, "a", "v1"), login(3, 4, **GONE), read(5, 6), sessions_lost=1)

    def test_a_later_login_ends_the_uncertainty(self) -> None:
        """It was acknowledged, so that the browser has an identity that the first one cannot take away."""
        judge(
            put(1, 2, "a", "v1"),
            login(3, 4, **NETWORK),
            login(5, 6, {"a": "v1"}),
            read(7, 8),
            sessions_lost=1,
        )


class TestUpdatesLost:
    """An acknowledged update is missing in a session that is otherwise there."""

    def test_two_tabs_and_one_survivor(self) -> None:
        """Both writes were acknowledged; the slower one has saved the session without the other's."""
        judge(
            put(1, 2, "a", "v1"),
            put(3, 5, "b", "v2", {"a": "v1"}, tab=1),
            put(3, 6, "c", "v3", {"a": "v1"}),
            read(7, 8, {"a": "v1", "c": "v3"}),
            read(9, 10, {"a": "v1", "c": "v3"}),
            updates_lost=1,
        )

    def test_two_tabs_and_two_survivors(self) -> None:
        """What one tab's answer lacks of the other's overlapping write is no loss."""
        judge(
            put(3, 5, "b", "v2", tab=1),
            put(3, 6, "c", "v3"),
            read(7, 8, {"b": "v2", "c": "v3"}),
        )

    def test_an_update_that_was_there_and_is_gone(self) -> None:
        """It had been read back before it vanished."""
        judge(
            put(1, 2, "a", "v1"),
            put(3, 4, "b", "v2", {"a": "v1"}),
            read(5, 6, {"a": "v1", "b": "v2"}),
            read(7, 8, {"a": "v1"}),
            updates_lost=1,
        )

    def test_an_older_value_is_a_loss_too(self) -> None:
        """The key is there, but with what it had before."""
        judge(
            put(1, 2, "a", "v1"),
            read(2, 5, {"a": "v1"}, tab=1),
            put(3, 4, "a", "v2"),
            read(6, 7, {"a": "v1"}),
            updates_lost=1,
        )

    def test_a_newer_value_of_another_tab_is_none(self) -> None:
        """Last write wins, whichever of two overlapping ones that is."""
        judge(put(1, 4, "a", "v1"), put(2, 3, "a", "v2", tab=1), read(5, 6, {"a": "v1"}))
        judge(put(1, 4, "a", "v1"), put(2, 3, "a", "v2", tab=1), read(5, 6, {"a": "v2"}))

    @pytest.mark.parametrize("shown", [{}, {"b": "v2"}])
    def test_an_unknown_update_may_be_there_or_not(self, shown: dict[str, Any]) -> None:
        """Nobody has promised that it was kept, nor that it was not."""
        judge(put(1, 2, "a", "v1"), put(3, 4, "b", "v2", **NETWORK), read(5, 6, {"a": "v1", **shown}))

    def test_an_unknown_update_may_come_late(self) -> None:
        """It may be carried out after its browser has given up, even after a later write."""
        judge(
            put(1, 2, "a", "v1"),
            put(3, 4, "a", "v2", **NETWORK),
            put(5, 6, "a", "v3"),
            read(7, 8, {"a": "v3"}),
            read(9, 10, {"a": "v2"}),
        )

    def test_an_unknown_update_that_was_seen_must_stay(self) -> None:
        """By then it had happened."""
        judge(
            put(1, 2, "a", "v1"),
            put(3, 4, "b", "v2", **NETWORK),
            read(5, 6, {"a": "v1", "b": "v2"}),
            read(7, 8, {"a": "v1"}),
            updates_lost=1,
        )

    def test_a_refused_update_need_not_be_there(self) -> None:
        """409, in a race with the login: it has not happened."""
        judge(
            put(1, 2, "a", "v1"),
            login(3, 5, {"a": "v1"}),
            put(4, 6, "a", "v2", tab=1, **GONE),
            read(7, 8, {"a": "v1", "user": "b0"}),
        )

    def test_visits_are_counted_one_by_one(self) -> None:
        """Four visits were acknowledged, two of them are counted; each lost one is reported once."""
        judge(
            visit(1, 2, 1),
            visit(3, 5, 2),
            visit(3, 5, 2, tab=1),
            visit(6, 8, 3),
            visit(6, 8, 3, tab=1),
            read(9, 10, {"visits": 3}),
            read(11, 12, {"visits": 3}),
            updates_lost=2,
        )

    def test_visits_on_their_way_may_be_counted_or_not(self) -> None:
        """The read overlaps one visit, and another got no answer."""
        for visits in (1, 2, 3):
            judge(
                visit(1, 2, 1),
                visit(3, 4, 2, **NETWORK),
                visit(5, 8, 2, tab=1),
                read(6, 7, {"visits": visits}),
            )

    def test_what_a_read_has_counted_stays_counted(self) -> None:
        """The unknown visit was seen to be counted, and another was acknowledged since."""
        judge(
            visit(1, 2, 1),
            visit(3, 4, 2, **NETWORK),
            read(5, 6, {"visits": 2}),
            visit(7, 8, 3),
            read(9, 10, {"visits": 3}),
            read(11, 12, {"visits": 2}),
            updates_lost=1,
        )

    def test_a_lost_login(self) -> None:
        """The data is there, but the user has been forgotten; an overlapping request may be why."""
        judge(
            put(1, 2, "a", "v1"),
            login(3, 4, {"a": "v1"}),
            read(3, 5, {"a": "v1"}, tab=1),
            read(6, 7, {"a": "v1"}),
            updates_lost=1,
        )

    def test_an_acknowledged_update_survives_the_login_that_it_raced_with(self) -> None:
        """A login moves the session; nothing acknowledged may stay behind."""
        judge(
            put(1, 2, "a", "v1"),
            login(3, 5, {"a": "v1"}),
            put(4, 6, "b", "v2", {"a": "v1"}, tab=1),
            read(7, 8, {"a": "v1", "user": "b0"}),
            updates_lost=1,
        )


class TestStaleReads:
    """An answer went backwards, and a later one did not."""

    def test_behind_what_was_acknowledged(self) -> None:
        """The read misses the write before it; the next one has it."""
        judge(
            put(1, 2, "a", "v1"),
            put(3, 4, "b", "v2", {"a": "v1"}),
            read(5, 6, {"a": "v1"}),
            read(7, 8, {"a": "v1", "b": "v2"}),
            stale_reads=1,
        )

    def test_behind_what_the_other_tab_has_seen(self) -> None:
        """Nobody has acknowledged the write, but a tab of this browser has seen it."""
        judge(
            put(1, 2, "a", "v1"),
            put(3, 12, "b", "v2", {"a": "v1"}),
            read(4, 5, {"a": "v1", "b": "v2"}, tab=1),
            read(6, 7, {"a": "v1"}, tab=1),
            read(8, 9, {"a": "v1", "b": "v2"}, tab=1),
            stale_reads=1,
        )

    def test_overlapping_reads_may_differ(self) -> None:
        """The older answer was asked for before the newer one came."""
        judge(
            put(1, 2, "a", "v1"),
            put(3, 12, "a", "v2"),
            read(4, 6, {"a": "v2"}, tab=1),
            read(5, 7, {"a": "v1"}, tab=2),
            read(8, 9, {"a": "v2"}, tab=1),
        )

    def test_a_session_that_was_gone_for_a_moment(self) -> None:
        """Nothing was there, then everything again: the read was stale, the session was not lost."""
        judge(put(1, 2, "a", "v1"), read(3, 4), read(5, 6, {"a": "v1"}), stale_reads=1)

    def test_new_data_does_not_make_the_session_be_there_again(self) -> None:
        """What is shown later was written after the session had gone."""
        judge(visit(1, 2, 1), read(3, 4), visit(5, 6, 1), read(7, 8, {"visits": 1}), sessions_lost=1)

    def test_visits_that_are_counted_again(self) -> None:
        """Too few for a moment, then all of them."""
        judge(
            visit(1, 2, 1, {"a": "v1"}),
            put(1, 2, "a", "v1", {"visits": 1}, tab=1),
            visit(3, 4, 2, {"a": "v1"}),
            read(5, 6, {"visits": 1, "a": "v1"}),
            read(7, 8, {"visits": 2, "a": "v1"}),
            stale_reads=1,
        )

    def test_one_answer_is_one_stale_read(self) -> None:
        """However much it lacks."""
        everything = {"a": "v1", "b": "v2", "visits": 2}
        judge(
            visit(1, 2, 1),
            put(3, 4, "a", "v1", {"visits": 1}),
            put(5, 6, "b", "v2", {"visits": 1, "a": "v1"}),
            visit(7, 8, 2, {"a": "v1", "b": "v2"}),
            read(9, 10, {"visits": 1}),
            read(11, 12, everything),
            stale_reads=1,
        )


class TestRevived:
    """After an acknowledged logout, nothing may show the session."""

    def test_the_old_cookie_still_works(self) -> None:
        """The replay shows the user."""
        judge(
            put(1, 2, "a", "v1"),
            login(3, 4, {"a": "v1"}),
            logout(5, 6),
            ask("replay", 7, 8, {"user": "b0"}),
            revived=1,
        )

    def test_it_is_counted_once_a_session(self) -> None:
        """A read and a replay show it."""
        judge(
            put(1, 2, "a", "v1"),
            logout(3, 4),
            read(5, 6, {"a": "v1"}),
            ask("replay", 7, 8, {"a": "v1"}),
            revived=1,
        )

    def test_a_late_answer_may_show_what_there_was(self) -> None:
        """It was asked for before the logout was acknowledged."""
        judge(put(1, 2, "a", "v1"), read(3, 9, {"a": "v1"}, tab=1), logout(4, 5), ask("replay", 10, 11))

    def test_a_late_write_may_be_acknowledged(self) -> None:
        """It was kept before the session ended, and went with it."""
        judge(
            put(1, 2, "a", "v1"),
            put(3, 9, "a", "v2", tab=1),
            logout(4, 5),
            read(10, 11),
            ask("replay", 12, 13),
        )

    def test_an_unknown_logout_promises_nothing(self) -> None:
        """It may not have happened, or only later."""
        judge(put(1, 2, "a", "v1"), logout(3, 4, **NETWORK), read(5, 6, {"a": "v1"}), read(7, 8))
        judge(put(1, 2, "a", "v1"), logout(3, 4, **UNAVAILABLE), read(5, 6))

    def test_an_ended_session_in_the_next_one(self) -> None:
        """A new session of the same browser shows what the ended one held."""
        judge(
            put(1, 2, "a", "v1"),
            logout(3, 4),
            put(5, 6, "b", "v2", {"a": "v1"}, session=2),
            read(7, 8, {"a": "v1", "b": "v2"}, session=2),
            revived=1,
        )


class TestCrossed:
    """Nobody is shown what is not his."""

    def test_a_value_of_another_browser(self) -> None:
        """Each of its values is counted once in a session."""
        judge(
            put(1, 2, "a", "v1"),
            put(1, 2, "a", "w1", browser=1),
            read(3, 4, {"a": "v1"}),
            read(5, 6, {"a": "v1"}, browser=1),
            read(7, 8, {"a": "v1"}, browser=1),
            crossed=1,
        )

    def test_a_user_of_another_browser(self) -> None:
        """Somebody is met as somebody else."""
        judge(
            put(1, 2, "a", "w1", browser=1),
            login(3, 4),
            read(5, 6, {"a": "w1", "user": "b0"}, browser=1),
            crossed=1,
        )

    def test_a_value_that_nobody_wrote(self) -> None:
        """Wherever it comes from, it is not this session's."""
        judge(put(1, 2, "a", "v1"), read(3, 4, {"a": "v1", "b": "x"}), crossed=1)
        judge(put(1, 2, "a", "v1"), read(3, 4, {"a": "v1", "visits": "many"}), crossed=1)

    def test_a_value_before_it_was_written(self) -> None:
        """Nothing is shown before it was sent."""
        judge(read(1, 2, {"a": "v1"}), put(3, 4, "a", "v1"), crossed=1)

    def test_an_earlier_session_that_was_given_up(self) -> None:
        """The browser had dropped its cookies; nobody had ended that session, but it is another one."""
        judge(put(1, 2, "a", "v1"), put(3, 4, "b", "v2", {"a": "v1"}, session=2), crossed=1)

    def test_the_same_text_of_two_browsers_is_everybodys_own(self) -> None:
        """A value is judged by who wrote it where it is shown."""
        judge(
            put(1, 2, "a", "tea"),
            put(1, 2, "a", "tea", browser=1),
            read(3, 4, {"a": "tea"}),
            read(3, 4, {"a": "tea"}, browser=1),
        )


class TestFalseAcks:
    """Acknowledged, and not so."""

    def test_an_update_that_never_was(self) -> None:
        """Nothing raced with it, and no answer but its own has ever shown it."""
        judge(
            put(1, 2, "a", "v1"),
            read(3, 4, {"a": "v1"}),
            put(5, 6, "b", "v2", {"a": "v1"}),
            read(7, 8, {"a": "v1"}),
            read(9, 10, {"a": "v1"}),
            false_acks=1,
        )

    def test_a_visit_that_never_was(self) -> None:
        """It was acknowledged as the second, and remains the first."""
        judge(
            visit(1, 2, 1), visit(3, 4, 2), read(5, 6, {"visits": 1}), read(7, 8, {"visits": 1}), false_acks=1
        )

    def test_something_may_have_raced_with_it(self) -> None:
        """The other tab was busy meanwhile: the update may have been kept, and overwritten."""
        judge(
            put(1, 2, "a", "v1"),
            read(3, 4, {"a": "v1"}),
            put(5, 6, "b", "v2", {"a": "v1"}),
            put(5.5, 6.5, "c", "v3", {"a": "v1"}, tab=1),
            read(7, 8, {"a": "v1", "c": "v3"}),
            updates_lost=1,
        )

    def test_more_visits_than_were_asked_for(self) -> None:
        """One was counted twice."""
        judge(
            visit(1, 2, 1), visit(3, 4, 2), read(5, 6, {"visits": 3}), read(7, 8, {"visits": 3}), false_acks=1
        )

    def test_what_was_refused_is_there(self) -> None:
        """409 means that it has not happened; a 503 says nothing."""
        race = (put(1, 2, "a", "v1"), login(3, 5, {"a": "v1"}))
        after = read(7, 8, {"a": "v1", "b": "v2", "user": "b0"})
        judge(*race, put(4, 6, "b", "v2", tab=1, **GONE), after, false_acks=1)
        judge(*race, put(4, 6, "b", "v2", tab=1, **UNAVAILABLE), after)


@pytest.mark.parametrize(
    ("op", "asked_after", "counts"),
    [
        ("replay", 0.4, (0, 1)),
        ("replay", 0.6, (1, 0)),
        ("read", 0.4, (1, 0)),
    ],
)
def test_an_end_that_may_take_its_time(op: str, asked_after: float, counts: tuple[int, int]) -> None:
    """Old cookies may be answered within the time allowed, and no longer; what the browser itself asks, never."""
    events = [
        ask("put", 0.0, 1.0, {"a0": "tea"}, key="a0", value="tea"),
        ask("logout", 2.0, 3.0),
        ask(op, 3.0 + asked_after, 4.0, {"a0": "tea"}),
    ]
    verdict = check(events, ends_within=0.5)
    assert (verdict.counts["revived"], verdict.late_ends) == counts
    assert check(events).counts["revived"] == 1


@pytest.mark.parametrize(("asked_after", "counts"), [(0.4, (0, 1)), (0.6, (1, 0))])
def test_an_end_may_take_its_time_where_sessions_travel(asked_after: float, counts: tuple[int, int]) -> None:
    """An answer from before the logout that comes after it brings the session back, for as long as old cookies work."""
    events = [
        ask("put", 0.0, 1.0, {"a0": "tea"}, key="a0", value="tea"),
        ask("logout", 2.0, 3.0),
        read(3.0 + asked_after, 4.0, {"a0": "tea"}),
    ]
    verdict = check(events, ends_within=0.5, travels=True)
    assert (verdict.counts["revived"], verdict.late_ends) == counts
    assert check(events, travels=True).counts["revived"] == 1
