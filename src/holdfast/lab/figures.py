"""The report's table: one row a strategy on a wide screen, one card a strategy on a phone.

The roles are written out because a style sheet that turns rows into cards takes them away otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .markup import Markup, join, tag
from .report import PROMISES, Row, broken, conceded, footnotes, who_answered

if TYPE_CHECKING:
    from .trial import Trial


def figures(trials: Sequence[Trial]) -> Markup:
    """The table, and under it whatever else the checker counted."""
    rows = [trial.row for trial in trials]
    groups = tag(
        "tr",
        tag("td", colspan=1, role="cell"),
        *(
            tag("th", words, scope="colgroup", colspan=span, role="columnheader")
            for words, span in (
                ("requests", 2),
                ("processes", 2),
                ("promises broken", 6),
                ("time, ms", 2),
            )
        ),
        role="row",
        class_="groups",
    )
    heads = tag(
        "tr",
        tag("th", "strategy", scope="col", role="columnheader"),
        *(tag("th", heading, scope="col", role="columnheader") for _, heading in COLUMNS),
        role="row",
    )
    table = tag(
        "table",
        tag("caption", "One row a strategy. A promise is kept if its column says 0."),
        tag("thead", groups, heads, role="rowgroup"),
        tag("tbody", *map(_row, rows), role="rowgroup"),
        role="table",
        class_="figures",
    )
    return join(table, *_also_counted(rows))


COLUMNS = (
    ("requests", "sent"),
    ("errors", "errors"),
    ("instances_started", "started"),
    ("instances_killed", "killed"),
    *((promise.key, promise.heading) for promise in PROMISES),
    ("p50_ms", "p50"),
    ("p99_ms", "p99"),
)
ALONE = {
    "requests": "requests",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
}  # headings where no group stands above


def _row(row: Row) -> Markup:
    promised = {promise.key for promise in PROMISES}
    cells = []
    for key, heading in COLUMNS:
        value = row[key]
        written = join(
            "–" if value is None else f"{value:,.0f}" if isinstance(value, float) else f"{value:,}"
        )
        if key == "sessions_lost":
            written = tag("span", written, tag("small", f"/{row['sessions']:,}"))
        class_ = None if key not in promised else "bad" if value else "good"
        cells.append(tag("td", written, role="cell", data_heading=ALONE.get(key, heading), class_=class_))
    name = tag("th", tag("span", row["name"]), verdict(row), scope="row", role="rowheader")
    return tag("tr", name, *cells, role="row")


def verdict(row: Row) -> Markup:
    """Whether a strategy kept its promises, as a badge beside its name."""
    if count := broken(row):
        return tag("span", f"✗ broken {count:,} ×", class_="verdict bad")
    if count := conceded(row):
        return tag("span", f"✗ not promised, {count:,} ×", class_="verdict bad")
    return tag("span", "✓ kept every promise", class_="verdict good")


ALSO = {
    "late_ends": "Ended sessions that old cookies still opened, within the time that an end may take to arrive",
    "losses_noticed": "Warnings of changes that were overwritten or lost",
    "refused": "Writes refused, and the browser told so, because the session had ended or changed its identity",
    "uncertain": "Sessions that their browser cannot reach, for the answer to its sign-in was lost on the way",
}


def _also_counted(rows: Sequence[Row]) -> list[Markup]:
    """What is no violation and no error, and is not hidden either; a line for each count that is not 0 everywhere."""
    known = {key for key, _ in COLUMNS} | {"name", "holdfast", "unpromised", "sessions", "homes"}
    lines = []
    for key in dict.fromkeys(key for row in rows for key in row if key not in known):
        counts = [f"{row['name']} {row[key]:,}" for row in rows if row.get(key)]
        if counts:
            words = ALSO.get(key, key.replace("_", " ").capitalize())
            lines.append(tag("p", f"{words}: {', '.join(counts)}.", class_="aside"))
    read = ((row["name"], who_answered(row)) for row in rows)
    told = (f"{name} read its sessions from: {homes}." for name, homes in read if homes)
    return [*lines, *(tag("p", line, class_="aside") for line in (*told, *footnotes(rows)))]
