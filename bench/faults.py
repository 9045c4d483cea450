"""What comes of killing a server under load: the lab's fault runs, which the tests judge, told as figures.

Two instances serve simulated browsers; the server that holds the sessions is killed four times with SIGKILL and
started again on its port and its files. No instance is touched.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

from . import servers
from .measure import markdown

sys.path.append(str(servers.TESTS / "faults"))

from cases import CASES, LONG, Case
from outages import failures, outages, under_load

from holdfast.lab.trial import Trial


def report(rounds: int = 1) -> str:
    """A Markdown table: each server, and what browsers saw of its deaths. `rounds` is not used: it is one run each."""
    header = ["Killed", "requests", "failed", "away s", "last failure after s", "sessions", *LOST.values()]
    return markdown([*header, "noticed"], [row(name, case) for name, case in CASES.items()])


LOST = {
    "sessions_lost": "sessions lost",
    "updates_lost": "updates lost",
    "stale_reads": "stale reads",
    "revived": "revived",
}


def row(name: str, case: Case) -> list[str]:
    """One run, and its figures."""
    with tempfile.TemporaryDirectory() as place, case.start(Path(place), LONG) as (strategy, beside):
        outcome = asyncio.run(under_load(strategy, beside, LONG.seconds, Path(place) / "history.jsonl"))
    figures = outcome.row
    return [
        name,
        f"{figures['requests']:,}",
        str(figures["errors"]),
        f"{statistics.median(outage.back - outage.killed for outage in outages(outcome)):.1f}",
        f"{last_failure(outcome):.1f}",
        str(figures["sessions"]),
        *(str(figures[count]) for count in LOST),
        str(figures["losses_noticed"]),
    ]


def last_failure(outcome: Trial) -> float:
    """How long after a return a request failed, at the longest; 0 if none did."""
    late = [0.0]
    for outage in outages(outcome):
        late += [
            event["t1"] - outage.back
            for event in failures(outcome.events)
            if outage.back < event["t1"] < outage.back + 3.0
        ]
    return max(late)
