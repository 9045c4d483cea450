"""The report's page as a document: what stands in it, and that nothing in it is interpreted that is only shown."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from sample_trials import a_trial, four_trials

from holdfast.lab.checker import Violation
from holdfast.lab.lanes import Life, last_answer, life_in_words, pack, read_lives
from holdfast.lab.page import page
from holdfast.lab.report import PROMISES, Settings
from holdfast.lab.strategies import Strategy

SETTINGS = Settings(20, 60, 1, 6, 7)
VOID = {"meta", "br", "hr"}
HOSTILE = "</title><script>alert(1)</script>&\"'<img src=x onerror=alert(1)>"


class Outline(HTMLParser):
    """Elements with their attributes, and whether each one that opens also closes."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(document)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_document_is_well_formed_and_its_ids_are_unique() -> None:
    """Every element that opens closes in order; ids and the references to them fit together."""
    outline = Outline(page(four_trials(), SETTINGS))
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in outline.elements:
        for reference in (attributes.get("aria-labelledby") or "").split():
            assert reference in ids
        if "href" in attributes:
            assert (attributes["href"] or "").removeprefix("#") in ids


def test_the_page_needs_nothing_but_itself() -> None:
    """No script, no link, no image, no style attribute, no address of another host."""
    document = page(four_trials(), SETTINGS)
    outline = Outline(document)
    assert {"script", "link", "img", "iframe", "object", "a", "base"}.isdisjoint(
        tag for tag, _ in outline.elements
    )
    assert not any("style" in attributes for _, attributes in outline.elements)
    assert "//" not in re.sub(r"/\*.*?\*/", "", document)


def test_every_plot_has_a_text_alternative() -> None:
    """A plot is an image with a title and a description that carry its figures."""
    document = page(four_trials(), SETTINGS)
    plots = [plot for plot in Outline(document).named("svg") if "plot" in (plot.get("class") or "")]
    assert len(plots) == len(PROMISES) + 4 + 1
    assert all(plot["role"] == "img" and plot["aria-labelledby"] for plot in plots)
    assert "memory: 171; memory + affinity: 57; signed cookie: 0; holdfast (sqlite): 0" in document
    assert "27 instances as bars over time: 19 were killed at work" in document


def test_whatever_a_trial_says_is_shown_and_not_interpreted() -> None:
    """A name, a violation's text and a kind with markup in them come out as letters."""
    trial = a_trial(Strategy(HOSTILE, "memory"), 1, 4.0, {})
    trial.row["updates_lost"] = 1
    trial.violations.append(Violation(1.0, HOSTILE, 3, HOSTILE))
    document = page([trial], Settings(4, 60, 1, 6, 7, [f"redis://db/{HOSTILE}"]), made=HOSTILE)
    outline = Outline(document)
    assert not {"script", "img"} & {tag for tag, _ in outline.elements}
    assert sum(HOSTILE in text for text in outline.texts) >= 4


def test_the_headline_says_what_was_found() -> None:
    """Kept, broken, or not taken part: the largest letters on the page never flatter."""
    trials = four_trials()
    assert "<h1>Holdfast kept every promise.</h1>" in page(trials, SETTINGS)
    assert "All three usual ways broke promises, 4,260 times in all." in page(trials, SETTINGS)
    assert "<h1>Holdfast took no part in this run.</h1>" in page(trials[:1], SETTINGS)
    broken = a_trial(Strategy("holdfast (redis)", "holdfast"), 7, 20.0, {"revived": 2})
    document = page([*trials, broken], SETTINGS)
    assert "<h1>Broken promises in holdfast (redis).</h1>" in document
    assert '<dt>promises broken by Holdfast</dt><dd class="bad">2</dd>' in document


def test_what_tokens_lose_is_told_and_flatters_nobody() -> None:
    """What is not promised of a way is no broken promise of Holdfast's, and stands in the first lines all the same."""
    tokens = a_trial(Strategy("holdfast: token", "token"), 7, 20.0, {"updates_lost": 41, "revived": 1})
    tokens.row["unpromised"] = list(tokens.strategy.unpromised)
    document = page([*four_trials(), tokens], SETTINGS)
    assert "<h1>Holdfast kept every promise.</h1>" in document
    assert "Of sessions in tokens less is promised: 42 times something was lost or came back." in document
    assert '<span class="verdict bad">✗ not promised, 42 ×</span>' in document
    assert "All three usual ways broke promises, 4,260 times in all." in document
    assert "Of two tabs that change a session at once, one loses its change; nobody notices" in document


def test_the_first_violations_are_told_in_words_and_counted() -> None:
    """Of many violations the first ten are shown, in the order of time, with how many there were."""
    document = page(four_trials(), SETTINGS)
    assert "memory: the first 10 of 2,802" in document
    told = re.search(r"memory: the first.*?</details>", document, re.DOTALL)
    assert told is not None
    times = [float(time) for time in re.findall(r'class="when">([\d.]+) s', told[0])]
    assert len(times) == 10
    assert times == sorted(times)
    assert "holdfast (sqlite): the first" not in document


def test_the_run_can_be_repeated_and_its_limits_are_told() -> None:
    """The page carries the command with the seed, when it was made, and what the experiment does not show."""
    document = page(four_trials(), SETTINGS, made="Made on a Monday.")
    text = re.sub(r"<[^>]+>", "", document)
    assert "holdfast demo --seed 7 --seconds 20 --users 60 --min-instances 1 --max-instances 6" in text
    assert "laboratory instrument, on one machine" in text
    assert "Made on a Monday." in text


def test_counts_beyond_the_promises_are_shown_below_the_table() -> None:
    """What else the checker counted is not hidden, whatever it is called; a count of 0 takes no room."""
    trials = four_trials()
    trials[3].row.update(refused=12, odd_count=1)
    document = page(trials, SETTINGS)
    assert re.search(r"Writes refused[^:]*: holdfast \(sqlite\) 12\.", document)
    assert re.search(
        r"Sessions that their browser cannot reach[^:]*: memory 3, memory \+ affinity 3", document
    )
    assert "Odd count: holdfast (sqlite) 1." in document


def test_a_trial_in_which_nothing_happened_still_makes_a_page() -> None:
    """No event, no answer, no violation: the page says so instead of failing."""
    trial = a_trial(Strategy("memory", "memory"), 1, 4.0, {})
    trial.events.clear()
    trial.row.update(requests=0, p50_ms=None, p99_ms=None)
    document = page([trial], SETTINGS)
    Outline(document)
    assert "no answer" in document
    assert "There were none." in document


def test_lives_are_read_from_events() -> None:
    """Cold start, freeze, termination and kill belong to one life, and the platform's own end to none."""

    def event(t: float, instance: str, what: str, in_flight: int = 0) -> dict[str, object]:
        return {"kind": "instance", "t": t, "instance": instance, "what": what, "in_flight": in_flight}

    lives = read_lives(
        [
            event(0.0, "i1", "start"),
            event(0.5, "i1", "ready"),
            event(1.0, "i1", "freeze"),
            event(1.4, "i1", "thaw"),
            event(1.5, "i2", "start"),
            event(2.0, "i1", "terminate"),
            event(2.5, "i1", "kill", 3),
            event(2.6, "i1", "exit"),
            event(5.0, "i2", "terminate"),
            event(5.1, "i2", "exit"),
        ],
        until=4.0,
    )
    assert lives == [
        Life("i1", 0.0, 0.5, 2.5, [(1.0, 1.4)], 2.0, killed=True, died=True, in_flight=3),
        Life("i2", 1.5, None, 4.0, [], None, killed=False, died=False, in_flight=0),
    ]
    assert life_in_words(lives[0]) == (
        "i1: started at 0.0 s, ready after 0.5 s, frozen 1 ×, told to end at 2.0 s, "
        "killed at 2.5 s with 3 requests in work"
    )
    assert life_in_words(lives[1]) == "i2: started at 1.5 s, never got ready, lived to the end"


@pytest.mark.parametrize("seed", range(5))
def test_bars_in_one_row_never_overlap(seed: int) -> None:
    """Lives that share a row follow each other, and no row is used beyond the most that were alive at once."""
    trial = a_trial(Strategy("memory", "memory"), seed, 20.0, {})
    lives = read_lives(trial.events, last_answer(trial))
    placed = list(zip(pack(lives), lives, strict=True))
    for row in {row for row, _ in placed}:
        assert all(
            before.end <= after.start for before, after in pairwise(life for at, life in placed if at == row)
        )
    most = max(sum(other.start <= life.start < other.end for other in lives) for life in lives)
    assert max(row for row, _ in placed) + 1 == most
