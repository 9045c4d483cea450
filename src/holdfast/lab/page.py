"""The report as one HTML file: it needs no network, no script and no other file, and fits a phone.

The plots are SVG written by `lanes` and `charts`; a content security policy lets the page load nothing and
apply no style but its own.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from . import charts
from .figures import figures, verdict
from .lanes import lanes, last_answer
from .legend import LEGEND, MARKS, SHARES_LEGEND
from .markup import Markup, tag
from .report import PROMISES, Row, Settings, broken, conceded

if TYPE_CHECKING:
    from .trial import Trial

FIRST = 10  # violations told in words, for each strategy


def page(trials: Sequence[Trial], settings: Settings, made: str = "") -> str:
    """The whole document. `made` says when and on what the demo ran; it stands at the foot of the page."""
    style = files(__package__).joinpath("page.css").read_text("utf-8")
    policy = f"default-src 'none'; style-src 'sha256-{_digest(style)}'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"Holdfast laboratory report, seed {settings.seed}"),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        MARKS,
        _opening(trials, settings),
        tag(
            "main",
            _section("figures", "The figures", figures(trials)),
            _promises(trials),
            _timelines(trials),
            _latency(trials),
            _first_violations(trials),
            _method(settings),
        ),
        tag("footer", tag("p", made)),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _digest(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()


def _opening(trials: Sequence[Trial], settings: Settings) -> Markup:
    rows = [trial.row for trial in trials]
    tiles = [
        (sum(row["requests"] for row in rows), "requests sent by simulated browsers"),
        (sum(row["instances_started"] for row in rows), "real processes started"),
        (sum(row["instances_killed"] for row in rows), "processes killed in the middle of requests"),
        (sum(broken(row) for row in rows if row["holdfast"]), "promises broken by Holdfast"),
    ]
    return tag(
        "header",
        tag("p", "Holdfast laboratory report", class_="eyebrow"),
        tag("h1", _headline(rows)),
        tag("p", _lede(rows, settings), class_="lede"),
        tag(
            "dl",
            *(
                tag("div", tag("dt", words), tag("dd", f"{count:,}", class_="bad" if bad and count else None))
                for (count, words), bad in zip(tiles, (False, False, False, True), strict=True)
            ),
            class_="tiles",
        ),
    )


def _headline(rows: Sequence[Row]) -> str:
    ours = [row for row in rows if row["holdfast"]]
    failed = [row["name"] for row in ours if broken(row)]
    if failed:
        return f"Broken promises in {', '.join(failed)}."
    return "Holdfast kept every promise." if ours else "Holdfast took no part in this run."


def _lede(rows: Sequence[Row], settings: Settings) -> str:
    others = [row for row in rows if not row["holdfast"]]
    breaches = sum(map(broken, others))
    failed = sum(1 for row in others if broken(row))
    done = (
        f"{_in_letters(len(rows)).capitalize()} ways to keep a web session met the same churn, one after "
        f"another, for {settings.seconds:g} seconds each: {settings.users} browsers with two tabs, and "
        f"{settings.min_instances} to {settings.max_instances} instances that start cold, freeze, and are "
        "killed while they answer."
    )
    tokens = ""
    if count := sum(map(conceded, rows)):
        tokens = f" Of sessions in tokens less is promised: {count:,} times something was lost or came back."
    if not others:
        return done + tokens
    which = (
        f"All {_in_letters(failed)}" if failed == len(others) > 1 else f"Of the {_in_letters(len(others))}"
    )
    rest = "usual ways" if failed == len(others) > 1 else f"usual ways, {_in_letters(failed)}"
    return f"{done} {which} {rest} broke promises, {breaches:,} times in all.{tokens}"


def _in_letters(number: int) -> str:
    small = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return small[number] if number < len(small) else str(number)


def _section(name: str, heading: str, *content: Markup) -> Markup:
    return tag("section", tag("h2", heading, id=name), *content, aria_labelledby=name)


def _promises(trials: Sequence[Trial]) -> Markup:
    panels = [
        tag(
            "figure",
            tag("figcaption", tag("h3", promise.heading), tag("p", promise.meaning)),
            charts.violations(promise, trials),
            class_="card",
        )
        for promise in PROMISES
    ]
    note = tag("p", "Each panel has its own scale: its longest bar is its largest count.", class_="aside")
    return _section("promises", "Broken promises, one by one", tag("div", *panels, class_="panels"), note)


def _timelines(trials: Sequence[Trial]) -> Markup:
    until = max(map(last_answer, trials), default=0.0) or 1.0
    figures = [
        tag(
            "figure",
            tag("figcaption", tag("h3", trial.row["name"]), verdict(trial.row)),
            lanes(trial, until, number),
            class_="card",
        )
        for number, trial in enumerate(trials)
    ]
    words = tag(
        "p",
        "Each bar is the life of one process. The rows below the bars are what the browsers met: requests "
        "cut off by a death, which the browser is told as a network error, and promises broken. "
        "A dotted line marks each kill. After the churn everybody looks once more, in calm.",
    )
    return _section("timelines", "Second by second", words, LEGEND, *figures)


def _latency(trials: Sequence[Trial]) -> Markup:
    words = tag(
        "p",
        "Milliseconds from sending a request to its acknowledgement, thinking time of the handler and "
        "waiting for cold starts included. The figures are p50 · p90 · p99 · p99.9, on a logarithmic axis.",
    )
    figure = tag("figure", SHARES_LEGEND, charts.latency(trials), class_="card")
    return _section("latency-section", "How long answers took", words, figure)


def _first_violations(trials: Sequence[Trial]) -> Markup:
    headings = {promise.key: promise.heading for promise in PROMISES}
    told: list[Markup] = []
    for trial in trials:
        if not trial.violations:
            continue
        first = sorted(trial.violations, key=lambda violation: violation.t)[:FIRST]
        items = [
            tag(
                "li",
                tag("span", f"{violation.t:.2f} s", class_="when"),
                tag("span", headings.get(violation.kind, violation.kind), class_="what"),
                tag("span", violation.text, class_="text"),
            )
            for violation in first
        ]
        count = len(trial.violations)
        heading = (
            f"{trial.row['name']}: the first {len(first)} of {count:,}"
            if count > len(first)
            else trial.row["name"]
        )
        opened = "" if not told or trial.row["holdfast"] else None
        told.append(tag("details", tag("summary", heading), tag("ol", *items), open=opened, class_="card"))
    if not told:
        told.append(tag("p", "There were none.", class_="card"))
    return _section("violations", "The first violations, in words", *told)


def _method(settings: Settings) -> Markup:
    return _section(
        "method",
        "How the experiment works",
        *(tag("p", paragraph) for paragraph in METHOD),
        tag("h3", "What it does not show"),
        *(tag("p", paragraph) for paragraph in LIMITS),
        tag("h3", "Run it again"),
        tag(
            "p",
            f"With seed {settings.seed} the faults and the browsers’ journeys are the same again; how the "
            "machine schedules the processes is not, so counts differ a little from run to run.",
        ),
        tag("pre", tag("code", *_flag_by_flag(settings.command())), tabindex=0),
    )


def _flag_by_flag(command: str) -> Iterator[str]:
    """The command in pieces that a narrow page can break between, and not within."""
    for place, piece in enumerate(command.split(" --")):
        yield from (" ", tag("span", f"--{piece}")) if place else (tag("span", piece),)


METHOD = (
    "Every instance is an operating-system process that runs the same small shop under uvicorn; only the "
    "way it keeps sessions differs. The platform starts instances when load rises and ends them when it "
    "falls, freezes some (SIGSTOP), ends some politely (SIGTERM) and kills some without warning (SIGKILL) "
    "while they have requests in work. The front door sends each request to any instance, or with affinity "
    "to the one that the browser had before. It never repeats a request that may have been carried out.",
    "Every browser has a cookie jar with real semantics and two tabs that work at the same time; answers "
    "are delayed at random, so that they overtake each other. A browser counts its visits, writes keys of "
    "its own, reads back what it wrote, signs in and out, and afterwards replays the old cookie. All "
    "requests and answers go into a history, which a checker then judges. A request that ended in a network "
    "error may or may not have happened: the checker accepts both, and counts neither against a strategy.",
    "Rows of Holdfast that name only a store have no copies: the store answers everything. The others may "
    "answer from a copy in the instance (local), in a shared cache, or sealed in a cookie (snapshot), if it is at "
    "least as new as what the browser has seen. Their copies may be one second old, so that shoppers as quick as these "
    "get to see some, and an end reaches every instance within half a second, or two where browsers carry copies: "
    "until then old cookies may still open it. Tokens are judged like all others; what is not promised of them is "
    "counted, and said to be so. Over a store, their endings are noted there, and heeded within a second. Cache-aside "
    "is the usual way to put a cache before a database: whole sessions, an entry in memory for three seconds, or "
    "in a shared cache that every change is written to.",
)
LIMITS = (
    "This is a laboratory instrument, on one machine. It shows whether promises hold when processes die at "
    "bad moments. It does not measure how fast a cloud is: latencies include the handler’s own thinking time "
    "and the crowding of everything onto a few cores, and the network is loopback. It does not test the loss "
    "of a store, a region or a disk, and a run without a violation is evidence, not a proof.",
)
