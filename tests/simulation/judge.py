"""Judges a run by what was delivered to the browser, against all that the store ever held.

What a browser knows is what responses have brought it: a request that *starts* after a response was delivered
must see at least that. Where values come from is looked up in the store's own history: each value is written by
one request only, so that "older" means "was stored earlier".
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from .history import NEVER, History, contents_of
from .plan import Plan
from .request import Request, short
from .world import World


class Violation(NamedTuple):
    """One broken promise."""

    promise: str
    text: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.text}"


def judge(world: World) -> list[Violation]:
    """What the run has broken, in the order of time as far as there is one."""
    return _Judge(world).judge()


class _Judge:
    def __init__(self, world: World) -> None:
        self.plan: Plan = world.plan
        self.world = world
        self.revocation = self.plan.ends_within
        self.found: list[Violation] = []
        self.truth = History(world.written)

    def judge(self) -> list[Violation]:
        lossy = bool(self.world.rolled_back)
        self._errors()
        if lossy:
            self._loss_is_noticed()
            return self.found
        self._store_history()
        self._reads()
        self._identities()
        self._updates()
        self._revocations()
        self._age()
        return self.found

    def _blame(self, promise: str, text: str) -> None:
        self.found.append(Violation(promise, text))

    # No request fails for what a copy does, and none fails otherwise

    def _errors(self) -> None:
        for request in self.world.requests:
            if request.status is None or request.status == 200:
                continue
            if request.status == 503 and not self.plan.failing:
                left = request.left or 0.0
                if not any(a <= left and request.started <= b for a, b in self.world.store_troubles):
                    self._blame("a failing copy fails no request", str(request))
            elif request.status == 409 and not self.world.rolled_back:
                if not self._may_look_over(request):
                    self._blame("a live session is not refused", str(request))
            elif request.status not in (409, 503):
                self._blame("no request fails", str(request))

    def _may_look_over(self, request: Request) -> bool:
        return self.truth.may_look_over(request.key, request.started, request.left or 0.0)

    # No revival, no lost update: in the store itself

    def _store_history(self) -> None:
        for key, states in self.truth.states.items():
            over = False
            seen: dict[str, int] = {}
            for at, record in states:
                is_live = record is not None and not record.ended and record.expires_at >= 0
                if over and is_live:
                    self._blame("no revival", f"{short(key)} lives again at {at:.3f}")
                over = not is_live
                if record is None or not record.values:
                    continue
                for name, value in contents_of(record).items():
                    rank = self.truth.rank(self.truth.session_of[key], name, value)
                    if rank < seen.get(name, -1):
                        self._blame("no lost update", f"{short(key)} went back to {name}={value} at {at:.3f}")
                    seen[name] = rank

    # Read-your-writes, monotonic reads and writes

    def _reads(self) -> None:
        moments: list[tuple[float, int, Request]] = []
        for request in self.world.requests:
            if request.status != 200 or request.device < 0:
                continue
            moments.append((request.started, 1, request))
            if request.delivered is not None:
                moments.append((request.delivered, 0, request))
        known: dict[tuple[int, str], dict[str, tuple[int, Request]]] = defaultdict(dict)
        shown_over: dict[tuple[int, str | None], Request] = {}
        for _, is_start, request in sorted(moments, key=lambda moment: moment[:2]):
            visit = request.visit
            session = visit.before.get("born") if is_start else visit.shown.get("born")
            if is_start and session is not None and (request.device, request.key) in shown_over:
                earlier = shown_over[request.device, request.key]
                if request.started >= (earlier.delivered or 0.0) + self.revocation:
                    self._blame("no revival", f"{request}\n    after {earlier}")
            elif not is_start and request.key is not None and not visit.before:
                if self.truth.may_look_expired(request.key, request.started, request.left or 0.0):
                    continue  # it expires at another moment for a clock that differs
                shown_over.setdefault((request.device, request.key), request)
            if session is None:
                if is_start and request.key is not None and not self._may_look_over(request):
                    self._blame("a session is not lost", str(request))
                continue
            bounds = known[request.device, session]
            if is_start:
                if self.truth.session_of.get(request.key or "") != session:
                    self._blame("no crossing", str(request))
                for name, (rank, shown_by) in bounds.items():
                    if (
                        name not in visit.withheld
                        and self.truth.rank(session, name, visit.before.get(name)) < rank
                    ):
                        own = shown_by.step.kind != "read"
                        promise = "read your writes" if own else "monotonic reads"
                        self._blame(promise, f"{name} went back: {request}\n    after {shown_by}")
                        break
            else:
                for name, value in visit.shown.items():
                    rank = self.truth.rank(session, name, value)
                    if rank > bounds.get(name, (-1,))[0]:
                        bounds[name] = (rank, request)

    # Late responses do not harm

    def _identities(self) -> None:
        for request in self.world.requests:
            before, after = request.jar_before, request.jar_after
            if request.delivered is None or before is None or before == after:
                continue
            if after is None:
                if request.step.kind != "logout":
                    self._blame("only a logout takes the cookie", str(request))
            elif request.key is not None and self.truth.is_live(before, request.delivered):
                # Two tabs of a new visitor (or of one whose session has expired) are each given a session, and
                # one of them stays.
                own = self.truth.session_of[request.key]
                of_its_own = request.visit.before.get("born") == own and self.truth.session_of[before] != own
                left = request.left or 0.0
                if (
                    of_its_own
                    or self.truth.is_long_over(request.key, left)
                    or self.truth.may_look_expired(request.key, request.started, left)
                ):
                    continue
                self._blame("a late response does not replace a live session", str(request))

    # No lost update, as acknowledged

    def _updates(self) -> None:
        counted: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        kept: dict[tuple[str, str], list[tuple[int, Request]]] = defaultdict(list)
        for request in self.world.requests:
            visit = request.visit
            session = visit.shown.get("born")
            acknowledged = request.status == 200 and request.left is not None
            if session is None:
                continue
            if request.step.kind in ("count", "count and login"):
                counted[session][0] += acknowledged
                counted[session][1] += 1
            elif acknowledged and request.wrote is not None:
                rank = self.truth.rank(session, request.wrote, visit.word)
                if rank == NEVER:
                    self._blame("acknowledged means committed", str(request))
                elif self.truth.newest(session, request.wrote) < rank:
                    self._blame("no lost update", str(request))
                kept[session, request.wrote].append((rank, request))
        for writes in kept.values():
            for rank, write in writes:
                for other_rank, other in writes:
                    if (write.left or 0.0) < other.started and other_rank < rank:
                        self._blame("monotonic writes", f"{other}\n    after {write}")
        for session, (least, most) in counted.items():
            n = max(self.truth.newest(session, "n"), 0)
            if not least <= n <= most:
                self._blame("no lost update", f"{session} has n={n}, not {least} to {most}")

    # Bounded revocation

    def _revocations(self) -> None:
        over = dict(reversed([(key, at) for at, key in self.world.revoked]))
        for request in self.world.requests:
            if request.status == 200 and request.key is not None and request.left is not None:
                moved = request.planted is not None and request.planted != request.key
                if (moved and request.visit.before) or request.step.kind == "logout":
                    at = over.get(request.key, request.left)
                    over[request.key] = min(at, request.left)
        for request in self.world.requests:
            at = over.get(request.key or "")
            if at is None or request.status != 200 or not request.visit.before:
                continue
            if request.started >= at + (0.0 if request.step.strong else self.revocation):
                self._blame("bounded revocation", f"over since {at:.3f}, {request}")

    # Bounded age of copies

    def _age(self) -> None:
        if self.world.backends.to_cache.troubles or self.world.replica_paused or self.plan.max_lag > 5.0:
            return
        bound = max(self.plan.oldest, self.plan.max_lag) + 0.001
        for write in self.world.requests:
            session = write.visit.shown.get("born")
            if write.status != 200 or write.left is None or write.wrote is None or session is None:
                continue
            name, rank = write.wrote, self.truth.rank(session, write.wrote, write.visit.word)
            for request in self.world.requests:
                visit = request.visit
                if request.status != 200 or visit.before.get("born") != session or visit.began is None:
                    continue
                is_late = request.started >= write.left + bound
                if (
                    is_late
                    and name not in visit.withheld
                    and self.truth.rank(session, name, visit.before.get(name)) < rank
                ):
                    self._blame("bounded copy age", f"{request}\n    does not see {write}")

    # Loss is noticed

    def _loss_is_noticed(self) -> None:
        by_number = {request.number: request for request in self.world.requests}
        for request in self.world.requests:
            if request.status != 200 or request.floor_of is None or request.device < 0:
                continue
            earlier = by_number[request.floor_of]
            session = earlier.visit.shown.get("born")
            if session is None or (earlier.planted or earlier.key) != request.key:
                continue  # another identity's floor is none
            seen = request.visit.before
            if seen and (seen.get("born") != session or request.version > earlier.version):
                continue  # so much was written since the loss that versions tell nothing
            behind = not seen or any(
                self.truth.rank(session, name, seen.get(name)) < self.truth.rank(session, name, value)
                for name, value in earlier.visit.shown.items()
                if name not in request.visit.withheld
            )
            said = any(
                event.kind == "regression" and event.handle == request.key and at >= self.world.rolled_back[0]
                for at, event in self.world.events
            )
            if behind and not said and (seen or not self._may_look_over(request)):
                self._blame("loss is noticed", f"{request}\n    whose floor is of {earlier}")
