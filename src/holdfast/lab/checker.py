"""Judges a history against the promises: events in, verdict out.

Every violation is counted in exactly one category:

- `sessions_lost`: everything that a session was acknowledged is gone while it should be live; once a session;
- `updates_lost`: one acknowledged (or shown) update is missing later in a session that is otherwise there;
- `stale_reads`: an answer lacks what the browser had been told or shown before it asked, and a later one has it;
- `revived`: after an acknowledged logout, an answer shows the session's user or data; once a session. Where the
  promise is that an end reaches every instance within so many seconds, old cookies may be answered so long;
- `crossed`: an answer shows a user or a value of somebody else, or of another session;
- `false_acks`: an acknowledged update that no answer ever shows though nothing raced with it, an answer that counts
  more than was asked for, or one that shows what had been refused.

`uncertain` is no violation, and is not hidden either: sessions out of their browser's reach because the answer to a
login, and with it the new identity, was lost on the way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from .expectations import VISITS, Expectations, Request
from .history import Event

VIOLATIONS = ("sessions_lost", "updates_lost", "stale_reads", "revived", "crossed", "false_acks")


class Violation(NamedTuple):
    """One broken promise: when it was seen (seconds into the run), which of `VIOLATIONS`, by which browser."""

    t: float
    kind: str
    browser: int
    text: str


class Verdict(NamedTuple):
    """`counts` holds "sessions" (that were acknowledged anything), each of `VIOLATIONS`, and "uncertain".

    `late_ends` are sessions whose old cookies were still answered after the logout, within the time allowed.
    """

    counts: dict[str, int]
    violations: list[Violation]
    late_ends: int = 0


def check(events: Iterable[Event], *, ends_within: float = 0.0, travels: bool = False) -> Verdict:
    """Judge a history. Events of other kinds than "request" are left aside; the order does not matter.

    `ends_within` is the time, in seconds, that an end may take to reach every instance: a *replay* of old cookies
    that is sent within it after the logout's acknowledgement may still show the session. Nothing else may, unless the
    session itself `travels` in the cookies: then an answer that comes late brings old ones back to their own browser.
    """
    sessions: dict[tuple[int, int], list[Request]] = defaultdict(list)
    for event in events:
        if event["kind"] == "request":
            request = Request(event)
            sessions[request.browser, request.session].append(request)
    expected = {name: Expectations(requests) for name, requests in sorted(sessions.items())}
    judged = [_Judge(expectations) for expectations in expected.values()]
    violations = [violation for judge in judged for violation in judge.violations]
    origins = _Origins(expected, ends_within, travels)
    violations += origins.violations
    violations.sort()
    counts = {
        "sessions": sum(
            any(update.acknowledged for update in session.updates) for session in expected.values()
        )
    }
    counts |= {kind: sum(violation.kind == kind for violation in violations) for kind in VIOLATIONS}
    counts["uncertain"] = sum(judge.uncertain for judge in judged)
    return Verdict(counts, violations, len(origins.late_ends))


class _Judge:
    """Goes through the answers of one session, looking for what they lack."""

    def __init__(self, expected: Expectations) -> None:
        self.violations: list[Violation] = []
        self.uncertain = False
        self._expected = expected
        self._lost: set[Request] = set()
        self._visits_lost = 0
        self._visits_invented = 0
        self._session_lost = False
        for answer in expected.answers:
            if expected.is_blank(answer):
                self._judge_blank(answer)
            elif answer.answered:
                self._judge_partial(answer)
        for answer in expected.answers:
            if answer.answered:
                self._judge_excess(answer)

    def _report(self, answer: Request, kind: str, text: str) -> None:
        self.violations.append(_violation(answer, kind, text))

    def _judge_blank(self, answer: Request) -> None:
        excuse = self._expected.excuse(answer)
        if excuse is not None:
            self.uncertain |= excuse.uncertain
            if excuse.lasting:
                self._rely_on_nothing(answer)
            return
        said = "was refused as if there were no session" if answer.denied else "showed nothing of the session"
        if self._expected.back_again(answer):
            self._report(answer, "stale_reads", f"{_asked(answer)} {said}; later it was there again")
            return
        if not self._session_lost:
            self._session_lost = True
            self._report(answer, "sessions_lost", f"{_asked(answer)} {said}, and no later answer did")
        self._rely_on_nothing(answer)

    def _rely_on_nothing(self, answer: Request) -> None:
        self._expected.forget(answer.t1)
        self._visits_lost = 0

    def _judge_partial(self, answer: Request) -> None:
        behind = self._judge_visits(answer)
        for item in self._expected.items():
            missing = None if item == VISITS else self._expected.missing(answer, item)
            if missing is None or missing in self._lost:
                continue
            if self._expected.shown_again(missing, answer):
                behind.append(f"{missing.item}={missing.value}")
                continue
            self._lost.add(missing)
            self._report_loss(missing, answer, never_shown=not self._expected.was_shown(missing))
        if behind:
            lacks = ", ".join(behind)
            self._report(answer, "stale_reads", f"{_asked(answer)} lacked {lacks}; later it was there again")

    def _judge_visits(self, answer: Request) -> list[str]:
        """Report the visits that are gone for good; return what is only gone for now."""
        debt = self._expected.debt(answer)
        if debt <= 0:
            return []
        lasting = self._expected.lasting_debt(answer)
        counted = [
            visit
            for visit in self._expected.due(answer, VISITS)
            if visit.acknowledged and visit not in self._lost
        ]
        for _ in range(lasting - self._visits_lost):
            visit = counted.pop() if counted else None
            if visit is None:
                self._report(answer, "updates_lost", f"{_asked(answer)} counted less than was shown before")
                continue
            self._lost.add(visit)
            never_shown = self._expected.read_back(visit) in (answer, None)
            self._report_loss(visit, answer, never_shown=never_shown)
        self._visits_lost = max(self._visits_lost, lasting)
        gone_for_now = debt - max(lasting, self._visits_lost)
        return [f"{gone_for_now} of the visits"] if gone_for_now > 0 else []

    def _report_loss(self, update: Request, answer: Request, *, never_shown: bool) -> None:
        lacking = f"the {answer.op} at {answer.t0:.3f} s lacks it, and so does every later answer"
        if never_shown and update.acknowledged and self._expected.was_undisturbed(update, answer):
            text = f"{_asked(update)} was acknowledged and nothing raced with it, but {lacking}"
            self._report(answer, "false_acks", text)
        else:
            told = "acknowledged" if update.acknowledged else "shown"
            self._report(answer, "updates_lost", f"{_asked(update)} was {told}, but {lacking}")

    def _judge_excess(self, answer: Request) -> None:
        excess = answer.visits - self._expected.most(answer)
        for _ in range(excess - self._visits_invented):
            text = f"{_asked(answer)} showed {answer.visits} visits, {excess} more than were ever asked for"
            self._report(answer, "false_acks", text)
        self._visits_invented = max(self._visits_invented, excess)


class _Origins:
    """Asks of everything that any answer shows where it comes from."""

    def __init__(
        self, sessions: dict[tuple[int, int], Expectations], ends_within: float, travels: bool
    ) -> None:
        self.violations: list[Violation] = []
        self.late_ends: set[tuple[int, int]] = set()
        self._sessions = sessions
        self._ends_within = ends_within
        self._travels = travels
        self._written: dict[tuple[str, str], list[Request]] = defaultdict(list)
        self._told: set[object] = set()
        for expected in sessions.values():
            for request in expected.requests:
                if request.value is not None:
                    self._written[request.item or "", repr(request.value)].append(request)
        for expected in sessions.values():
            for request in expected.requests:
                self._judge(request, expected)

    def _judge(self, answer: Request, expected: Expectations) -> None:
        shown = answer.beyond_itself if answer.op != "replay" else answer.shows
        if shown and answer.t0 >= expected.over:
            what = ", ".join(f"{item}={value}" for item, value in shown.items())
            self._report_revival(answer, answer.session, f"{_asked(answer)} showed {what}")
        for item, value in answer.shows.items():
            if item == VISITS:
                if not isinstance(value, int):
                    self._report_once(answer, "crossed", item, value, "which is no count at all")
            elif not any(self._is_own(writer, answer) for writer in self._writers(item, value)):
                self._judge_foreign(answer, item, value)

    def _writers(self, item: str, value: object) -> list[Request]:
        return self._written.get((item, repr(value)), [])

    def _is_own(self, writer: Request, answer: Request) -> bool:
        same = (writer.browser, writer.session) == (answer.browser, answer.session)
        return same and writer.t0 < answer.t1 and not writer.refused

    def _judge_foreign(self, answer: Request, item: str, value: object) -> None:
        writers = self._writers(item, value)
        own = [writer for writer in writers if writer.browser == answer.browser]
        if not writers:
            self._report_once(answer, "crossed", item, value, "which nobody wrote there")
        elif not own:
            self._report_once(answer, "crossed", item, value, f"which is browser {writers[0].browser}'s")
        elif any(writer.session == answer.session and writer.refused for writer in own):
            self._report_once(answer, "false_acks", item, value, "which had been refused")
        else:
            over = [
                writer.session
                for writer in own
                if self._sessions[writer.browser, writer.session].over <= answer.t0
            ]
            if over:
                self._report_revival(answer, over[-1], f"{_asked(answer)} showed {item}={value}")
            else:
                text = f"which is of this browser's session {own[0].session}"
                self._report_once(answer, "crossed", item, value, text)

    def _report_once(self, answer: Request, kind: str, item: str, value: object, text: str) -> None:
        what = (answer.browser, answer.session, kind, item, repr(value))
        self._report(answer, kind, what, f"{_asked(answer)} showed {item}={value}, {text}")

    def _report_revival(self, answer: Request, session: int, text: str) -> None:
        ended = self._sessions[answer.browser, session].over
        old_cookies = answer.op == "replay" or (self._travels and answer.session == session)
        if old_cookies and answer.t0 < ended + self._ends_within:
            self.late_ends.add((answer.browser, session))
            return
        text = f"{text}, though session {session} was ended at {ended:.3f} s"
        self._report(answer, "revived", (answer.browser, session), text)

    def _report(self, answer: Request, kind: str, what: object, text: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self.violations.append(_violation(answer, kind, text))


def _violation(answer: Request, kind: str, text: str) -> Violation:
    where = f"browser {answer.browser}, session {answer.session}"
    return Violation(answer.t1, kind, answer.browser, f"{where}: {text}")


def _asked(request: Request) -> str:
    """A request in words."""
    what = {
        "put": f"put of {request.item}={request.value}",
        "login": f"login of {request.value}",
        "replay": "replay of the old cookie",
    }.get(request.op, request.op)
    return f"the {what} at {request.t0:.3f} s"
