"""What a person sees while the trials run."""

from __future__ import annotations

import io
import re

from rich.console import Console
from sample_trials import four_trials

from holdfast.lab.progress import Bars, Lines, watch

TRIALS = four_trials()
STRATEGIES = [trial.strategy for trial in TRIALS]


def test_a_terminal_gets_a_bar_for_each_strategy() -> None:
    """The finished strategy says how it went, the running one how much time is left, the others wait."""
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80, height=24)
    now = 100.0
    with Bars(STRATEGIES, console, clock=lambda: now) as bars:
        move = bars.begin(STRATEGIES[0])
        move(0.0)
        now = 105.0
        move(0.25)
        now = 121.0
        move(1.0)
        bars.end(TRIALS[0])
        move = bars.begin(STRATEGIES[1])
        now = 124.0
        move(0.2)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.getvalue()).splitlines()
    shown = [line for line in lines if "━" in line][-4:]
    assert re.fullmatch(r"memory +━+ 19 killed, 2,802 promises broken", shown[0].strip())
    assert re.fullmatch(r"memory \+ affinity ━+\S?━+ 12 s left", shown[1].strip())
    assert re.fullmatch(r"signed cookie +━+ waits", shown[2].strip())
    assert re.fullmatch(r"holdfast \(sqlite\) ━+ waits", shown[3].strip())


def test_a_log_gets_plain_lines() -> None:
    """Where there is no terminal, a line tells of each beginning and each end, without control codes."""
    output = io.StringIO()
    with Lines(20.0, Console(file=output, width=40)) as lines:
        for trial in (TRIALS[0], TRIALS[3]):
            lines.begin(trial.strategy)(0.5)
            lines.end(trial)
    assert output.getvalue().splitlines() == [
        "memory: runs for 20 s",
        "memory: 4,000 requests, 19 processes killed, 2,802 promises broken",
        "holdfast (sqlite): runs for 20 s",
        "holdfast (sqlite): 4,000 requests, 19 processes killed, every promise kept",
    ]


def test_the_console_decides() -> None:
    """Bars are for terminals only."""
    assert isinstance(watch(STRATEGIES, 20.0, Console(file=io.StringIO(), force_terminal=True)), Bars)
    assert isinstance(watch(STRATEGIES, 20.0, Console(file=io.StringIO())), Lines)
