"""The report for a terminal and for programs."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console
from sample_trials import a_trial, four_trials

from holdfast.lab.report import (
    PROMISES,
    Promise,
    Settings,
    as_json,
    broken,
    conceded,
    reading_help,
    table,
    without_secrets,
)
from holdfast.lab.strategies import Strategy
from holdfast.lab.trial import Trial

KEYS = [
    "name",
    "holdfast",
    "requests",
    "errors",
    "instances_started",
    "instances_killed",
    "sessions",
    "sessions_lost",
    "updates_lost",
    "stale_reads",
    "revived",
    "crossed",
    "false_acks",
    "p50_ms",
    "p99_ms",
]


def drawn(trials: list[Trial], width: int, *, terminal: bool = False) -> str:
    output = io.StringIO()
    console = Console(
        file=output, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None
    )
    console.print(table(trials, width))
    for line in reading_help(trials):
        console.print(line)
    return output.getvalue()


def crowded_trials() -> list[Trial]:
    """Counts as large as a long run may have them."""
    trials = four_trials()
    for trial in trials:
        trial.row.update(
            requests=98_765, errors=12_345, instances_killed=321, updates_lost=43_210, p99_ms=12_345.6
        )
    return trials


def test_json_has_the_seed_and_every_key_of_each_strategy() -> None:
    """Programs can rely on the names of the counts, in this order, and on numbers being numbers."""
    report = json.loads(as_json(7, four_trials()))
    assert report["seed"] == 7
    assert [row["name"] for row in report["strategies"]][-1] == "holdfast (sqlite)"
    for row in report["strategies"]:
        assert [key for key in row if key in KEYS] == KEYS
        assert isinstance(row["holdfast"], bool)
        assert all(isinstance(row[key], int | float) for key in KEYS[2:])


@pytest.mark.parametrize("width", [100, 80, 78])
def test_the_table_fits_the_terminal(width: int) -> None:
    """No line is longer than the terminal is wide, and no row takes two lines, even with large counts."""
    text = drawn(crowded_trials(), width)
    assert max(map(len, text.splitlines())) <= width
    for name in ("memory", "memory + affinity", "signed cookie", "holdfast (sqlite)"):
        assert len(re.findall(rf"^[✓✗] {re.escape(name)} +\d.*\d$", text, re.MULTILINE)) == 1


def test_the_wide_table_shows_every_figure() -> None:
    """At 100 columns nothing is left out, and at 80 no promise is."""
    row = four_trials()[0].row
    wide, narrow = drawn(four_trials(), 100), drawn(four_trials(), 80)
    for promise in PROMISES:
        assert promise.heading.split()[0] in wide
        assert promise.heading.split()[0] in narrow
    assert f"{row['requests']:,}" in wide
    assert f"{row['p50_ms']:.0f}" in wide


def test_a_very_narrow_terminal_gets_sentences() -> None:
    """Where no table fits, each strategy is told in words."""
    text = drawn(four_trials(), 40)
    assert max(map(len, text.splitlines())) <= 40
    assert "holdfast (sqlite): kept every promise" in text
    assert "171 sessions lost" in text


def test_verdicts_do_not_depend_on_colour() -> None:
    """Without a terminal there is no escape code, and each row still says whether it kept its promises."""
    text = drawn(four_trials(), 100)
    assert "\x1b" not in text
    assert "✓ holdfast (sqlite)" in text
    assert "✗ memory" in text
    assert "\x1b[" in drawn(four_trials(), 100, terminal=True)


def test_a_terminal_without_unicode_gets_plain_marks() -> None:
    """The marks can be written in ASCII."""
    output = io.StringIO()
    Console(file=output, width=100).print(table(four_trials(), 100, ascii_only=True))
    assert "+ holdfast (sqlite)" in output.getvalue()
    assert "- memory" in output.getvalue()


def test_reading_help_says_what_was_done_and_who_kept_the_promises() -> None:
    """Two lines in plain words: processes started and killed, and the verdict on each strategy."""
    done, verdict = (line.plain for line in reading_help(four_trials()))
    assert "108 processes were started; 76 were killed" in done
    assert verdict == (
        "Kept every promise: holdfast (sqlite). Broke promises: memory, memory + affinity, signed cookie."
    )


def test_reading_help_when_nobody_or_everybody_broke_a_promise() -> None:
    """The verdict is a proper sentence in the extreme cases, too."""
    *others, ours = four_trials()
    assert reading_help([ours])[1].plain == "Every row kept every promise."
    assert reading_help(others)[1].plain.startswith("Kept every promise: none. Broke promises: memory")


def test_names_are_shown_as_they_are() -> None:
    """Square brackets in a name are no markup."""
    trial = a_trial(Strategy("[red]odd[/red]", "memory"), 1, 4.0, {})
    assert "[red]odd[/red]" in drawn([trial], 100)


def test_a_trial_without_answers_has_no_latency() -> None:
    """A strategy that never answered is shown with a dash, not with an error."""
    trial = a_trial(Strategy("memory", "memory"), 1, 4.0, {})
    trial.row.update(p50_ms=None, p99_ms=None)
    assert "–" in drawn([trial], 100)


@pytest.mark.parametrize("promise", PROMISES)
def test_each_promise_counts(promise: Promise) -> None:
    """One violation of any promise makes the row a broken one."""
    row = four_trials()[-1].row
    assert broken(row) == 0
    assert broken({**row, promise.key: 1}) == 1


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("store", [None, "sqlite:///t.db"])
def test_what_is_not_promised_is_counted_and_breaks_nothing(promise: Promise, store: str | None) -> None:
    """Of tokens less is promised: that is marked like the rest, and explained. Anything else is a broken promise."""
    strategy = Strategy("tokens", "token", store=store, detect_loss=store is not None)
    trial = a_trial(strategy, 1, 4.0, {promise.key: 2})
    trial.row["unpromised"] = list(strategy.unpromised)
    text = drawn([trial], 100)
    assert "tokens: less is promised of it." in text
    assert "✗ tokens" in text, "one measure for all"
    if promise.key in strategy.unpromised:
        assert (broken(trial.row), conceded(trial.row)) == (0, 2)
        assert "promises: tokens" not in text
    else:
        assert (broken(trial.row), conceded(trial.row)) == (2, 0)
        assert "Broke promises: tokens." in text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:p@ss/w0rd@db:6379/0", "redis://…@db:6379/0"),
        ("redis://db:6379/0?password=hush&ssl=1", "redis://db:6379/0?password=…&ssl=…"),
        ("rediss://:hush@db", "rediss://…@db"),
        ("sqlite:///var/lib/sessions.db", "sqlite:///var/lib/sessions.db"),
    ],
)
def test_no_secret_of_a_store_is_shown(url: str, shown: str) -> None:
    """The command that repeats a run stands in reports that are passed on: it names no password."""
    assert without_secrets(url) == shown
    command = Settings(20, 60, 1, 6, 7, [url]).command()
    assert "hush" not in command
    assert "w0rd" not in command


def test_the_command_repeats_the_run() -> None:
    """Everything that decides a run is in the command."""
    assert Settings(2.5, 10, 2, 3, 99).command() == (
        "holdfast demo --seed 99 --seconds 2.5 --users 10 --min-instances 2 --max-instances 3"
    )
