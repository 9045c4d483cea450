"""One request, as the outside saw it and as its handler did."""

from __future__ import annotations

from typing import Any

from .plan import Step


class Visit:
    """What one run of the handler saw and did, for the judge. It reaches the browser only with the response."""

    def __init__(self, step: Step, word: str) -> None:
        self.step = step
        self.word = word  # that only this request writes
        self.began: float | None = None
        self.before: dict[str, Any] = {}
        self.withheld: frozenset[str] = frozenset()  # what it could not see at first: it was private
        self.shown: dict[str, Any] = {}
        self.home = "none"
        self.version = 0  # of the record that it was given


class Request:
    """One request as the outside saw it. Times are seconds since the start; None where it did not come to that."""

    def __init__(self, number: int, step: Step, started: float, device: int) -> None:
        self.number = number
        self.step = step
        self.device = device
        self.started = started
        self.key: str | None = None  # of the session that its identity cookie names
        self.floor_of: int | None = None  # the request whose response planted the floor that it carries
        self.pinned = False
        self.visit = Visit(step, f"w{number}")
        self.status: int | None = None
        self.left: float | None = None  # when the response left the instance
        self.delivered: float | None = None
        self.version = 0  # of the record that the response shows; after a logout, of the one that was ended
        self.planted: str | None = None  # the key of the identity that the response brought
        self.jar_before: str | None = None  # whom the jar named when it was delivered, and whom afterwards
        self.jar_after: str | None = None

    @property
    def wrote(self) -> str | None:
        """The name under which it put its word, if it did."""
        return {"share": "shared", "put": f"k{self.step.track}"}.get(self.step.kind)

    def __str__(self) -> str:
        times = "–" if self.delivered is None else f"{self.delivered:.3f}"
        cookies = f"floor of #{self.floor_of}" if self.floor_of is not None else "no floor"
        return (
            f"#{self.number} t{self.step.track} {self.step} key {short(self.key)} {cookies}"
            f"{' pinned' if self.pinned else ''} -> {self.status} from {self.visit.home}, "
            f"delivered {times}: {self.visit.before} => {self.visit.shown}"
        )


def short(key: str | None) -> str:
    """A key, as far as a person wants to read it."""
    return key[:4] if key else "–"
