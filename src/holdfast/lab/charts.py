"""The plots that compare the strategies: how often each promise was broken, and how long requests took."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from .markup import Markup, join, percent, tag
from .report import Promise
from .trial import percentile

if TYPE_CHECKING:
    from .trial import Trial

SHARES = (0.5, 0.9, 0.99, 0.999)
WIDEST_NAME = 26  # letters of a name that fit beside the figures on a phone


def violations(promise: Promise, trials: Sequence[Trial]) -> Markup:
    """One promise: a bar a strategy, as long as it was broken often. The longest bar fills the width."""
    most = max((trial.row[promise.key] for trial in trials), default=0)
    pitch, drawn = 32, []
    for place, trial in enumerate(trials):
        count, y = trial.row[promise.key], pitch * place
        drawn += [
            tag("text", _short(trial.row["name"]), x=0, y=y + 12, class_="name"),
            tag("text", f"{count:,}", x="100%", y=y + 12, class_="figure broken" if count else "figure"),
            tag("rect", class_="track", x=0, y=y + 18, width="100%", height=6, rx=3),
        ]
        if count:
            drawn.append(
                tag("rect", class_="broken", x=0, y=y + 18, width=percent(count / most), height=6, rx=3)
            )
    return _plot(
        f"broken-{promise.key}",
        f"{promise.heading}, by strategy",
        "; ".join(f"{trial.row['name']}: {trial.row[promise.key]}" for trial in trials),
        pitch * len(trials),
        *drawn,
    )


def latency(trials: Sequence[Trial]) -> Markup:
    """Four percentiles a strategy on one logarithmic axis of milliseconds."""
    measured = [(trial, percentiles(trial)) for trial in trials]
    figures = [figure for _, found in measured for figure in found]
    low, high = _ends(figures)

    def along(figure: float) -> float:
        return math.log(max(figure, low) / low) / math.log(high / low)

    pitch, drawn = 44, []
    bottom = pitch * len(trials)
    for tick, at in _ticks(low, high, along):
        anchor = "start" if tick == low else "end" if tick == high else "middle"
        drawn.append(tag("line", class_="grid", x1=percent(at), x2=percent(at), y1=18, y2=bottom))
        text = tag("text", _duration(tick), class_="tick", x=percent(at), y=bottom + 16, text_anchor=anchor)
        drawn.append(text)
    for place, (trial, found) in enumerate(measured):
        drawn.append(_spread(trial, [along(figure) for figure in found], found, pitch * place))
    return _plot(
        "latency",
        "Time to answer, by strategy",
        "; ".join(f"{trial.row['name']}: {_figures(found)}" for trial, found in measured),
        bottom + 24,
        *drawn,
    )


def percentiles(trial: Trial) -> list[float]:
    """Milliseconds that 50, 90, 99 and 99.9 % of the acknowledged requests took; empty if none was."""
    took = sorted(
        event["ms"] for event in trial.events if event["kind"] == "request" and event["outcome"] == "ok"
    )
    found = [percentile(took, share) for share in SHARES]
    return [figure for figure in found if figure is not None]


def _spread(trial: Trial, places: Sequence[float], found: Sequence[float], y: float) -> Markup:
    words = [
        tag("text", _short(trial.row["name"]), x=0, y=y + 12, class_="name"),
        tag("text", _figures(found), x="100%", y=y + 12, class_="figure"),
    ]
    middle, marks = y + 26, []
    for share, (begin, end) in zip((90, 99, 999), pairwise(places), strict=False):
        x1, x2 = percent(begin), percent(end)
        marks.append(tag("line", class_=f"to-{share}", x1=x1, x2=x2, y1=middle, y2=middle))
    for share, at in zip((50, 90, 99, 999), places, strict=False):
        marks.append(tag("use", href=f"#mark-p{share}", class_=f"p{share}", x=percent(at), y=middle))
    return tag("g", *words, *marks, class_="spread holdfast" if trial.row["holdfast"] else "spread")


def _plot(name: str, title: str, text: str, height: float, *drawn: Markup) -> Markup:
    return tag(
        "svg",
        tag("title", title, id=name),
        tag("desc", text, id=f"{name}-text"),
        join(*drawn),
        class_="plot",
        role="img",
        aria_labelledby=f"{name} {name}-text",
        width="100%",
        height=height,
    )


STEPS = [digit * 10.0**power for power in range(-2, 7) for digit in (1, 2, 5)]
APART = 0.2  # of the width, so that labels do not touch on a phone


def _ends(figures: Sequence[float]) -> tuple[float, float]:
    """The axis: from a 1, 2 or 5 at or below the smallest figure to one at or above the largest."""
    if not figures:
        return 1.0, 1000.0
    low = max((step for step in STEPS if step <= min(figures)), default=STEPS[0])
    high = min((step for step in STEPS if step >= max(figures) and step > low), default=STEPS[-1])
    return low, high


def _ticks(low: float, high: float, along: Callable[[float], float]) -> list[tuple[float, float]]:
    """Round figures and their places from 0 to 1: both ends, and between them as many as have room."""
    ticks = [(low, 0.0)]
    for step in STEPS:
        if low < step < high and ticks[-1][1] + APART <= along(step) <= 1 - APART:
            ticks.append((step, along(step)))
    return [*ticks, (high, 1.0)]


def _figures(found: Sequence[float]) -> str:
    if not found:
        return "no answer"
    return " · ".join(f"{figure:.0f}" for figure in found) + " ms"


def _duration(milliseconds: float) -> str:
    return f"{milliseconds:g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:g} s"


def _short(name: str) -> str:
    return name if len(name) <= WIDEST_NAME else name[: WIDEST_NAME - 1] + "…"
