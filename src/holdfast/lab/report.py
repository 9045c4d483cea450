"""What the demo found, for a terminal (rich) and for programs (JSON). The page with plots is `page.py`.

A trial's `row` is the source of every figure here; nothing is counted anew.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from .trial import Trial

Row = Mapping[str, Any]


class Promise(NamedTuple):
    """One thing that must not happen: its count in a row, its heading, and what it means to a shopper."""

    key: str
    heading: str
    meaning: str


PROMISES = (
    Promise("sessions_lost", "sessions lost", "A shopper who had not signed out was met as a stranger."),
    Promise(
        "updates_lost", "updates lost", "A change that had been answered with “done” was not there later."
    ),
    Promise("stale_reads", "stale reads", "A page showed less than the same browser had seen before."),
    Promise("revived", "revived", "A session came back after its user had signed out."),
    Promise("crossed", "crossed", "A shopper was shown what belongs to somebody else."),
    Promise("false_acks", "false acks", "“Done” was said of something that never was stored."),
)


class Settings(NamedTuple):
    """How a demo was run; with the same settings it can be run again."""

    seconds: float
    users: int
    min_instances: int
    max_instances: int
    seed: int
    stores: Sequence[str] = ()
    copies: bool = False
    cache: str | None = None

    @property
    def browse(self) -> bool:
        """Whether shoppers also browse: so that copies have something to answer."""
        return self.copies or self.cache is not None

    def command(self) -> str:
        """The command line that repeats the run. Passwords in store URLs are left out."""
        words = ["holdfast", "demo", "--seed", str(self.seed), "--seconds", f"{self.seconds:g}"]
        words += ["--users", str(self.users), "--min-instances", str(self.min_instances)]
        words += ["--max-instances", str(self.max_instances)]
        for url in self.stores:
            words += ["--store", without_secrets(url)]
        words += ["--copies"] if self.copies else []
        words += ["--cache", without_secrets(self.cache)] if self.cache is not None else []
        return shlex.join(words)


def without_secrets(url: str) -> str:
    """A store's URL as it may be shown: user, password and the values of a query are replaced by `…`."""
    shown = re.sub(r"^([^:/?#]+://).*@", r"\1…@", url)  # greedy: a password may have been left unquoted
    return re.sub(r"=[^&#]*", "=…", shown)


def broken(row: Row) -> int:
    """How many times a strategy broke a promise, all promises together."""
    return sum(int(row[promise.key]) for promise in PROMISES if promise.key not in row.get("unpromised", ()))


def conceded(row: Row) -> int:
    """How many times happened what others promise to prevent, and this strategy does not."""
    return sum(int(row[key]) for key in row.get("unpromised", ()))


def as_json(seed: int, trials: Sequence[Trial]) -> str:
    """The report for programs: the seed, and the row of each strategy as the checker gave it."""
    return json.dumps({"seed": seed, "strategies": [trial.row for trial in trials]}, indent=2) + "\n"


def who_answered(row: Row) -> str:
    """Which home the sessions of a strategy with copies were read from: "local 61 %, store 39 %"; else nothing."""
    homes: Mapping[str, int] = row.get("homes", {})
    total = sum(homes.values())
    return ", ".join(f"{home} {100 * count / total:.0f} %" for home, count in homes.items() if count)


def footnotes(rows: Sequence[Row]) -> list[str]:
    """What has to be known of the rows of which less is promised."""
    return [
        f"{row['name']}: less is promised of it. {ONE_TAB_LOSES}; {_what_a_store_does(row)}"
        for row in rows
        if row.get("unpromised")
    ]


ONE_TAB_LOSES = "Of two tabs that change a session at once, one loses its change"


def _what_a_store_does(row: Row) -> str:
    if "revived" in row["unpromised"]:
        return "nobody notices, and whoever has kept old cookies is still answered after the logout."
    noticed = row.get("losses_noticed", 0)
    return f"its store noticed that {noticed:,} times, and refuses old cookies after the logout."


def table(trials: Sequence[Trial], width: int, *, ascii_only: bool = False) -> RenderableType:
    """One row a strategy. 100 columns show everything, 80 leave some out; below 78 it is sentences."""
    names = [_name(trial.row, ascii_only) for trial in trials]
    if width < NARROW:
        return Group(*(name.append(_in_words(trial.row)) for name, trial in zip(names, trials, strict=True)))
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False, header_style="bold")
    drawn.add_column("\nstrategy", overflow="fold")
    columns = [column for column in COLUMNS if width >= FULL or not column.optional]
    for column in columns:
        drawn.add_column(column.heading, justify="right", no_wrap=True)
    for name, trial in zip(names, trials, strict=True):
        drawn.add_row(name, *(column.cell(trial.row) for column in columns))
    return drawn


def reading_help(trials: Sequence[Trial]) -> list[Text]:
    """The lines under the table: what was done to the strategies, which home has answered where there are copies,
    and which strategies kept every promise."""
    rows = [trial.row for trial in trials]
    started, killed = (sum(row[key] for row in rows) for key in ("instances_started", "instances_killed"))
    judged = [row for row in rows if broken(row) or not row.get("unpromised")]
    kept = [row["name"] for row in judged if not broken(row)]
    broke = [row["name"] for row in judged if broken(row)]
    lines = [Text(f"{started:,} processes were started; {killed:,} were killed while they were answering.")]
    lines += [Text(f"{row['name']}: read from {homes}.") for row in rows if (homes := who_answered(row))]
    lines += [Text(note) for note in footnotes(rows)]
    if not broke:
        every = "Every other row" if len(judged) < len(rows) else "Every row"
        return [*lines, Text(f"{every} kept every promise.", style="green")] if judged else lines
    verdict = Text("Kept every promise: ")
    verdict.append(", ".join(kept) or "none", style="bold green" if kept else "bold")
    verdict.append(". Broke promises: ").append(", ".join(broke), style="bold red").append(".")
    return [*lines, verdict]


FULL = 100
NARROW = 78


def _name(row: Row, ascii_only: bool) -> Text:
    kept = not (broken(row) or conceded(row))  # one measure for all rows, whatever is promised of them
    mark = ("+" if kept else "-") if ascii_only else ("✓" if kept else "✗")
    return Text.assemble((mark, "bold green" if kept else "bold red"), f" {row['name']}")


def _in_words(row: Row) -> Text:
    counts = [f"{row[promise.key]:,} {promise.heading}" for promise in PROMISES if row[promise.key]]
    return Text(": " + (", ".join(counts) or "kept every promise"))


class Column(NamedTuple):
    heading: str
    cell: Callable[[Row], Text]
    optional: bool = False


def _count(key: str) -> Callable[[Row], Text]:
    return lambda row: Text(f"{row[key]:,}")


def _violations(key: str) -> Callable[[Row], Text]:
    return lambda row: Text(f"{row[key]:,}", style="bold red" if row[key] else "dim")


def _milliseconds(key: str) -> Callable[[Row], Text]:
    return lambda row: Text("–" if row[key] is None else f"{row[key]:,.0f}")


COLUMNS = (
    Column("\nrequests", _count("requests"), optional=True),
    Column("\nerrors", _count("errors"), optional=True),
    Column("\nkilled", _count("instances_killed")),
    Column("sessions\nlost", _violations("sessions_lost")),
    Column("updates\nlost", _violations("updates_lost")),
    Column("stale\nreads", _violations("stale_reads")),
    Column("\nrevived", _violations("revived")),
    Column("\ncrossed", _violations("crossed")),
    Column("false\nacks", _violations("false_acks")),
    Column("p50\nms", _milliseconds("p50_ms"), optional=True),
    Column("p99\nms", _milliseconds("p99_ms")),
)
