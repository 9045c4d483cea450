"""The plot of one trial over time: every instance's life as a bar, and what its browsers suffered below it.

Positions along the time axis are percentages and everything else is in pixels, so that one drawing serves
a phone and a wide screen with letters of the same size. The labels left of the axis stand in the drawing's
padding, which the style sheet makes narrower on a phone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .markup import Markup, join, percent, tag
from .report import PROMISES

if TYPE_CHECKING:
    from .trial import Trial

PITCH = 17  # from one row to the next, in pixels
BAR = 11
BINS = 240  # marks closer together than one bin are drawn as one


def lanes(trial: Trial, until: float, number: int) -> Markup:
    """The plot of a trial on a time axis of `until` seconds; `number` keeps its ids unique."""
    lives = read_lives(trial.events, last_answer(trial))
    rows = pack(lives)
    top = 4
    placed = [(life, top + PITCH * row) for life, row in zip(lives, rows, strict=True)]
    below = top + PITCH * (max(rows, default=0) + 1) + 8
    suffered = _suffered(trial)
    bottom = below + PITCH * len(suffered) + 2
    guides = [_guide(life.end / until, below, bottom) for life in lives if life.killed]
    rugs = [_rug(row, below + PITCH * (place + 0.5), until) for place, row in enumerate(suffered)]
    label = tag("text", "instances", x=-10, y=top + BAR / 2, class_="label", dominant_baseline="central")
    return tag(
        "svg",
        tag("title", f"{trial.row['name']}: instances over time", id=f"lanes-{number}"),
        tag("desc", _in_words(trial, lives, suffered), id=f"lanes-{number}-text"),
        _axis(until, bottom),
        *guides,
        label,
        *(_life(life, y, until) for life, y in placed),
        *(_death(life, y + BAR / 2, until) for life, y in placed),  # above the next life in the same row
        *rugs,
        class_="plot lanes holdfast" if trial.row["holdfast"] else "plot lanes",
        role="img",
        aria_labelledby=f"lanes-{number} lanes-{number}-text",
        width="100%",
        height=bottom + 24,
    )


def last_answer(trial: Trial) -> float:
    """When the last browser was content, in seconds since the start; then the platform is taken down."""
    return max((event["t1"] for event in trial.events if event["kind"] == "request"), default=trial.seconds)


class Life(NamedTuple):
    """One instance from birth to death, in seconds since the start of the trial."""

    instance: str
    start: float
    ready: float | None
    end: float
    freezes: Sequence[tuple[float, float]]
    terminated: float | None
    killed: bool
    died: bool
    in_flight: int


def read_lives(events: Iterable[dict[str, Any]], until: float) -> list[Life]:
    """The lives of a trial's instances in the order of birth, as far as `until`: what ends later lives on.

    So the end of the whole platform, after the last answer, is not taken for a disturbance.
    """
    told: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event["kind"] == "instance" and event["t"] < until:
            told.setdefault(event["instance"], []).append(event)
    return sorted(
        (_read_life(name, marks, until) for name, marks in told.items()), key=lambda life: life.start
    )


def _read_life(name: str, marks: list[dict[str, Any]], until: float) -> Life:
    at = {what: [mark for mark in marks if mark["what"] == what] for what in WHAT}
    deaths = at["kill"] or at["exit"]
    end = deaths[0]["t"] if deaths else until
    thaws = [mark["t"] for mark in at["thaw"]]
    freezes = [
        (mark["t"], min((thaw for thaw in thaws if thaw >= mark["t"]), default=end)) for mark in at["freeze"]
    ]
    return Life(
        instance=name,
        start=marks[0]["t"],
        ready=at["ready"][0]["t"] if at["ready"] else None,
        end=end,
        freezes=[(begin, min(thaw, end)) for begin, thaw in freezes if begin < end],
        terminated=at["terminate"][0]["t"] if at["terminate"] else None,
        killed=bool(at["kill"]),
        died=bool(deaths),
        in_flight=max((mark.get("in_flight") or 0 for mark in at["kill"]), default=0),
    )


WHAT = ("start", "ready", "freeze", "thaw", "terminate", "kill", "exit")


def pack(lives: Sequence[Life]) -> list[int]:
    """The row of each life: the first one that is free at its birth, as few rows as lives overlap."""
    free_from: list[float] = []
    rows = []
    for life in lives:
        row = next((row for row, free in enumerate(free_from) if free <= life.start), len(free_from))
        free_from[row : row + 1] = [life.end]
        rows.append(row)
    return rows


def _life(life: Life, y: float, until: float) -> Markup:
    ready = life.end if life.ready is None else min(life.ready, life.end)
    parts = [_bar("cold", life.start, ready, y + 0.5, BAR - 1, until)]
    here = ready
    for begin, thaw in sorted(life.freezes):
        parts.append(_bar("up", here, begin, y, BAR, until))
        parts.append(_bar("frozen", begin, thaw, y + BAR / 2 - 1.5, 3, until))
        here = max(here, thaw)
    parts.append(_bar("up", here, life.end, y, BAR, until))
    return tag("g", tag("title", life_in_words(life)), *parts, class_="life")


def _death(life: Life, y: float, until: float) -> Markup:
    words = tag("title", life_in_words(life))
    marks = []
    if life.terminated is not None and life.terminated <= life.end:
        marks.append(_mark("terminated", words, life.terminated / until, y))
    if life.killed:
        marks.append(_mark("killed", words, life.end / until, y))
    return join(*marks)


def life_in_words(life: Life) -> str:
    """What a reader is told of a bar when pointing at it."""
    words = f"{life.instance}: started at {life.start:.1f} s"
    words += ", never got ready" if life.ready is None else f", ready after {life.ready - life.start:.1f} s"
    if life.freezes:
        words += f", frozen {len(life.freezes)} ×"
    if life.terminated is not None:
        words += f", told to end at {life.terminated:.1f} s"
    if life.killed:
        return words + f", killed at {life.end:.1f} s with {life.in_flight} requests in work"
    return words + (f", ended at {life.end:.1f} s" if life.died else ", lived to the end")


def _bar(class_: str, begin: float, end: float, y: float, height: float, until: float) -> Markup:
    if end <= begin:
        return Markup()
    return tag(
        "rect",
        class_=class_,
        x=percent(begin / until),
        y=y,
        width=percent((end - begin) / until),
        height=height,
        rx=2 if height > 4 else None,
    )


def _mark(class_: str, words: Markup, at: float, y: float) -> Markup:
    return tag("use", words, href=f"#mark-{class_}", class_=class_, x=percent(at), y=y)


def _guide(at: float, top: float, bottom: float) -> Markup:
    return tag("line", class_="guide", x1=percent(at), x2=percent(at), y1=top - 6, y2=bottom)


class Suffered(NamedTuple):
    """A row under the bars: when something happened to the browsers."""

    heading: str
    class_: str
    times: Sequence[float]


def _suffered(trial: Trial) -> list[Suffered]:
    cut = [
        event["t1"] for event in trial.events if event["kind"] == "request" and event["outcome"] == "network"
    ]
    rows = [Suffered("cut off", "cut", cut)]
    for promise in PROMISES:
        times = [violation.t for violation in trial.violations if violation.kind == promise.key]
        if times:
            rows.append(Suffered(promise.heading, "broken", times))
    if len(rows) == 1:
        rows.append(Suffered("broken", "kept", []))
    return rows


def _rug(row: Suffered, y: float, until: float) -> Markup:
    label = tag("text", row.heading, x=-10, y=y, class_="label", dominant_baseline="central")
    if row.class_ == "kept":
        words = tag("text", "none", x=0, y=y, class_="kept", dominant_baseline="central")
        return tag("g", label, words)
    bins = Counter(min(BINS - 1, int(time / until * BINS)) for time in row.times)
    ticks = [
        tag(
            "rect",
            tag("title", f"{(place + 0.5) / BINS * until:.1f} s: {row.heading}, {count} ×"),
            class_=row.class_,
            x=percent(place / BINS),
            y=y - BAR / 2,
            width=2,
            height=BAR,
        )
        for place, count in sorted(bins.items())
    ]
    return tag("g", label, *ticks, class_="rug")


def _axis(until: float, bottom: float) -> Markup:
    step = next((step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if until / step <= 7), 1200)
    marks = []
    for second in range(0, int(until) + 1, step):
        at = percent(second / until)
        marks.append(tag("line", class_="grid", x1=at, x2=at, y1=0, y2=bottom))
        anchor = "end" if second / until > 0.96 else "middle"
        text = f"{second} s"
        marks.append(tag("text", text, class_="tick", x=at, y=bottom + 16, text_anchor=anchor))
    return join(*marks)


def _in_words(trial: Trial, lives: Sequence[Life], suffered: Sequence[Suffered]) -> str:
    killed = sum(life.killed for life in lives)
    freezes = sum(len(life.freezes) for life in lives)
    rows = ", ".join(f"{row.heading} {len(row.times)} ×" for row in suffered if row.times)
    return (
        f"{len(lives)} instances as bars over time: {killed} were killed at work, {freezes} times one froze. "
        f"Below, what browsers met: {rows or 'nothing'}."
    )
