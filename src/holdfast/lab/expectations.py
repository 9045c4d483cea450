"""What one browser may rely on in one of its sessions, and what it was shown.

The rules that the checker stands on. They accuse nobody wrongly: whatever a correct store could have answered is
accepted, whenever the requests whose answers were lost took effect, or if they never did.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .history import Event

VISITS = "visits"
USER = "user"
NEVER = float("inf")


class Request:
    """One request of a history, read once. Its identity is the object's."""

    def __init__(self, event: Event) -> None:
        self.t0: float = event["t0"]
        self.t1: float = event["t1"]
        self.browser: int = event["browser"]
        self.tab: int = event["tab"]
        self.session: int = event["session"]
        self.op: str = event["op"]
        self.acknowledged: bool = event["outcome"] == "ok"
        status = event.get("status") or 0
        # Only a refusal by the application is certain; after a 5xx, as after no answer, nothing is known.
        self.refused = event["outcome"] == "refused" and status < 500
        self.denied = status == 409
        self.item, self.value = _written(event)
        values: dict[str, Any] | None = event.get("values")
        self.answered = self.acknowledged and values is not None
        self.shows: dict[str, Any] = dict(values or {})
        if event.get("user") is not None:
            self.shows[USER] = event["user"]

    @property
    def beyond_itself(self) -> dict[str, Any]:
        """What it was shown that does not come from its own change."""
        others = {item: value for item, value in self.shows.items() if item != self.item}
        if self.op == "visit" and self.visits > 1:
            others[VISITS] = self.visits - 1
        return others

    @property
    def visits(self) -> int:
        """The visits that it was shown."""
        shown = self.shows.get(VISITS, 0)
        return shown if isinstance(shown, int) else 0

    def overlaps(self, t0: float, t1: float) -> bool:
        """Whether some of it lies between two times."""
        return self.t0 < t1 and t0 < self.t1


def _written(event: Event) -> tuple[str | None, str | None]:
    match event["op"]:
        case "visit":
            return VISITS, None
        case "put":
            return event["key"], event["value"]
        case "login":
            return USER, event["value"]
    return None, None


class Excuse(NamedTuple):
    """Why a browser may be shown nothing of a session that it wrote to.

    `uncertain`: a login's answer was lost, and with it, perhaps, the identity that it brought. `lasting`: what
    the browser could rely on until now, it can no longer rely on.
    """

    uncertain: bool = False
    lasting: bool = False


class Expectations:
    """One session of one browser: its updates, its answers, and what each answer had to contain."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self.requests = sorted(requests, key=lambda request: request.t0)
        self.updates = [request for request in self.requests if request.item and not request.refused]
        self.over = min(
            (request.t1 for request in self.requests if request.op == "logout" and request.acknowledged),
            default=NEVER,
        )
        self.answers = [
            request
            for request in self.requests
            if (request.answered or request.denied)
            and request.op not in ("logout", "replay")
            and request.t0 < self.over
        ]
        self.since = -NEVER  # what was told before is not relied on
        self._settled = {update: self._settling(update) for update in self.updates}
        self._debts: dict[Request, int] = {}

    def _settling(self, update: Request) -> float:
        """When an update was known to have happened: acknowledged, or first shown; never, while it is unknown."""
        shown = (answer.t1 for answer in self.answers if _shows(answer, update))
        return min(update.t1 if update.acknowledged else NEVER, *shown, NEVER)

    def forget(self, time: float) -> None:
        """Rely on nothing that was told before `time`: it has been judged."""
        self.since = time
        self._debts.clear()

    def due(self, answer: Request, item: str) -> list[Request]:
        """The updates of an item that had happened, as far as the browser knew, when it asked."""
        return [
            update
            for update in self.updates
            if update.item == item and update.t0 >= self.since and self._settled[update] <= answer.t0
        ]

    def missing(self, answer: Request, item: str) -> Request | None:
        """The last update of a key, or of the user, that the answer is behind; None if it is not behind."""
        due = self.due(answer, item)
        shown = answer.shows.get(item)
        if not due:
            return None
        if shown is None:
            return due[-1]
        sources = [
            update
            for update in self.updates
            if update.item == item and update.value == shown and update.t0 < answer.t1
        ]
        if not sources:
            return None  # it is nobody's to miss: a foreign value is counted as such
        newest = max(self._settled[update] for update in sources)
        later = [update for update in due if update.t0 >= newest]
        return later[-1] if later else None

    def debt(self, answer: Request) -> int:
        """How many visits the answer is short of; zero or less if it may be right."""
        if answer not in self._debts:
            own = 1 if answer.op == "visit" else 0
            self._debts[answer] = self._fewest(answer) + own - answer.visits
        return self._debts[answer]

    def lasting_debt(self, answer: Request) -> int:
        """How many of the visits that the answer is short of no later answer certainly has."""
        return min([self.debt(answer), *(self._most_missing(later) for later in self.after(answer))])

    def _most_missing(self, answer: Request) -> int:
        """How many visits the answer may be short of, if everything possible has happened before it."""
        possible = sum(
            update.item == VISITS and update.t0 < answer.t1 and update.t1 > self.since
            for update in self.updates
        )
        return possible - answer.visits

    def _fewest(self, answer: Request) -> int:
        """The fewest visits that can have been counted when the answer was asked for."""
        due = self.due(answer, VISITS)
        fewest = len(due)
        for earlier in self.answers:
            if earlier.answered and self.since <= earlier.t0 and earlier.t1 <= answer.t0:
                seen = min(earlier.visits, self.most(earlier))
                fewest = max(fewest, seen + sum(visit.t0 >= earlier.t1 for visit in due))
        return fewest

    def most(self, answer: Request) -> int:
        """The most visits that can have been counted when the answer came."""
        return sum(update.item == VISITS and update.t0 < answer.t1 for update in self.updates)

    def is_blank(self, answer: Request) -> bool:
        """Whether the answer shows nothing at all of a session that there should be."""
        if answer.beyond_itself:
            return False
        overwritten = None if answer.denied or answer.op == "visit" else answer.item
        return any(self.due(answer, item) for item in self.items() if item != overwritten)

    def items(self) -> Sequence[str]:
        """Everything that the browser has written in this session."""
        return list(dict.fromkeys(update.item for update in self.updates if update.item))

    def after(self, answer: Request) -> list[Request]:
        """The answers to what was asked later, as far as they show anything."""
        return [later for later in self.answers if later.answered and later.t0 >= answer.t1]

    def shown_again(self, update: Request, answer: Request) -> bool:
        """Whether an update that an answer lacks is there in a later one."""
        return any(_shows(later, update) for later in self.after(answer))

    def back_again(self, blank: Request) -> bool:
        """Whether anything from before a blank answer is there in a later one."""
        for later in self.after(blank):
            newer = sum(
                update.item == VISITS
                and update.t0 < later.t1
                and not (update.acknowledged and update.t1 <= blank.t0)
                for update in self.updates
            )
            if later.visits > newer:
                return True
            for item, value in later.shows.items():
                sources = [
                    update
                    for update in self.updates
                    if update.item == item and update.value == value and update.t0 < later.t1
                ]
                if item != VISITS and sources and all(update.t0 < blank.t0 for update in sources):
                    return True
        return False

    def was_undisturbed(self, update: Request, until: Request) -> bool:
        """Whether the browser asked for nothing else from an update to its read-back: nothing raced with it."""
        back = self.read_back(update) or until
        return not any(
            request.overlaps(update.t0, back.t1) for request in self.requests if request not in (update, back)
        )

    def read_back(self, update: Request) -> Request | None:
        """The first answer that the same tab asked for after the update."""
        return next((answer for answer in self.after(update) if answer.tab == update.tab), None)

    def was_shown(self, update: Request) -> bool:
        """Whether any answer but its own has ever shown the update."""
        return any(_shows(answer, update) for answer in self.answers if answer is not update)

    def excuse(self, answer: Request) -> Excuse | None:
        """Why the answer may be blank, if it may.

        A request that overlaps a login or a logout may have come with an identity that was just replaced or
        ended. An unknown logout may have happened, or may yet. So may an unknown login, which takes the
        browser's identity away with it, until a later login has given it another.
        """
        uncertain = False
        for request in self.requests:
            if request is answer or request.refused or request.t0 >= answer.t1:
                continue
            if request.op == "logout":
                return Excuse(lasting=not request.acknowledged)
            if request.op != "login":
                continue
            if request.acknowledged:
                if answer.t0 < request.t1:
                    return Excuse()
                uncertain = False
            else:
                uncertain = True
        return Excuse(uncertain=True, lasting=True) if uncertain else None


def _shows(answer: Request, update: Request) -> bool:
    """Whether the answer shows this update of a key, or of the user. Visits look all the same."""
    if update.item is None or update.item == VISITS:
        return False
    return answer.shows.get(update.item) == update.value and update.t0 < answer.t1
