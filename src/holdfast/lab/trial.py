"""One trial: a strategy under churn, with shoppers at work, and the verdict on what they were shown."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .checker import Verdict, Violation, check
from .history import Event, History
from .journeys import Crowd
from .platform import Platform
from .strategies import Strategy

TELL_EVERY = 0.1  # seconds
HOMES = (
    "local",
    "snapshot",
    "cache",
    "store",
)  # in the order in which they are asked; the lab has no weak reads


class Trial(NamedTuple):
    """What came out: `row` is the strategy's row of the report, `seconds` how long the trial took in all."""

    strategy: Strategy
    row: dict[str, Any]
    events: list[Event]
    violations: list[Violation]
    seconds: float


async def trial(
    strategy: Strategy,
    *,
    seconds: float,
    users: int,
    min_instances: int,
    max_instances: int,
    seed: int,
    browse: bool = False,
    churn: bool = True,
    beside: Callable[[History], Coroutine[Any, Any, None]] | None = None,
    history_path: Path | str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Trial:
    """Put one strategy through `seconds` of churn with so many shoppers, then let them look once more in calm.

    The same seed gives every strategy the same disturbances and the same shoppers; with `browse` these also read a
    lot for a while. `history_path` keeps the events in a file. `progress` is told from time to time how much of
    the churn is over, from 0 to 1.

    Without `churn`, instances are left alone; with as many of them at most as at least, none comes or goes.
    `beside` is run while the shoppers shop, given the history: for faults of the servers that a strategy uses.
    """
    started = time.monotonic()
    with History(history_path) as history:
        platform = Platform(
            strategy,
            min_instances=min_instances,
            max_instances=max_instances,
            seed=seed,
            emit=history.emit,
        )
        async with platform, Crowd(platform.url, users, history, seed=seed, browse=browse) as crowd:
            work = [crowd.shop(seconds), _tell(progress, seconds)]
            if churn:
                work.append(platform.churn(seconds))
            if beside is not None:
                work.append(beside(history))
            await _together(*work)
            await crowd.look_again()
    verdict = check(history.events, ends_within=strategy.ends_within, travels=strategy.kind == "token")
    return Trial(
        strategy,
        row=summary(strategy, history.events, verdict),
        events=history.events,
        violations=verdict.violations,
        seconds=time.monotonic() - started,
    )


def summary(strategy: Strategy, events: Iterable[Event], verdict: Verdict) -> dict[str, Any]:
    """The strategy's row of the report.

    `errors` are requests without an answer, or with a 5xx. `refused` are the other refusals: writes that met
    their session's end or change of identity; one that came without such a reason is among the violations.
    Latencies are in milliseconds until an acknowledgement arrived, None if none did. `homes`, of strategies with
    copies only, counts the answered requests that had a session by the home that it was read from; `late_ends`,
    where an end may take its time to arrive, the ended sessions that old cookies still opened within that time.
    `losses_noticed`, of strategies that detect losses only, is how often instances have warned of one.
    `unpromised` names the counts that are no broken promises, where there are any (see `Strategy.unpromised`).
    """
    events = list(events)
    requests = [event for event in events if event["kind"] == "request"]
    fates = [event["what"] for event in events if event["kind"] == "instance"]
    latencies = sorted(event["ms"] for event in requests if event["outcome"] == "ok")
    row = {
        "name": strategy.name,
        "holdfast": strategy.holdfast,
        **({"unpromised": list(strategy.unpromised)} if strategy.unpromised else {}),
        "requests": len(requests),
        "errors": sum(_failed(event) for event in requests),
        "instances_started": fates.count("start"),
        "instances_killed": fates.count("kill"),
        **{name: count for name, count in verdict.counts.items() if name != "uncertain"},
        "p50_ms": percentile(latencies, 0.50),
        "p99_ms": percentile(latencies, 0.99),
        "refused": sum(event["outcome"] == "refused" and not _failed(event) for event in requests),
        "uncertain": verdict.counts["uncertain"],
    }
    if strategy.copies:
        asked = Counter(event["home"] for event in requests if event.get("home") in HOMES)
        row["homes"] = {home: asked[home] for home in HOMES}
    if strategy.ends_within:
        row["late_ends"] = verdict.late_ends
    if strategy.detect_loss:
        warnings = (event["warnings"] for event in events if "warnings" in event)
        row["losses_noticed"] = sum(counts.get("regression", 0) for counts in warnings)
    return row


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that so much of the ordered values do not exceed (nearest rank); None of nothing."""
    if not ordered:
        return None
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 1)


def _failed(request: Event) -> bool:
    return request["outcome"] == "network" or (
        request["outcome"] == "refused" and int(request["status"]) >= 500
    )


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    """Run it all at once. If something fails, the rest is ended, and the failure is raised as it is."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _tell(progress: Callable[[float], None] | None, seconds: float) -> None:
    start = time.monotonic()
    share = 0.0
    while progress is not None and share < 1.0:
        progress(share)
        await asyncio.sleep(TELL_EVERY)
        share = min((time.monotonic() - start) / seconds, 1.0)
    if progress is not None:
        progress(1.0)
