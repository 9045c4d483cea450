"""The report's page in a real browser: headless Chromium, on a phone's and on a desk's screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sample_trials import four_trials
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from holdfast.lab.lanes import last_answer, read_lives
from holdfast.lab.page import page
from holdfast.lab.report import Settings

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SCREENS = {"phone": (375, 812, True), "tablet": (800, 1100, True), "desk": (1280, 900, False)}
TRIALS = four_trials()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One Chromium for all tests of this file, with a profile of its own, that logs what it loads and says."""
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page on disk, opened as somebody opens a report."""
    path: Path = tmp_path_factory.mktemp("report") / "demo.html"
    path.write_text(page(TRIALS, Settings(20, 60, 1, 6, 7), "Made in a test."), encoding="utf-8")
    return path.as_uri()


class Opened(NamedTuple):
    """The page on one screen: the browser, what its console said, and which addresses it asked for."""

    chrome: Chrome
    scheme: str
    console: list[Any]
    asked: list[str]

    def run(self, script: str, *arguments: str) -> Any:
        return self.chrome.execute_script(script, *arguments)


@pytest.fixture(
    scope="module",
    params=[(screen, scheme) for screen in SCREENS for scheme in ("light", "dark")],
    ids="-".join,
)
def opened(request: pytest.FixtureRequest, browser: Chrome, address: str) -> Opened:
    """The page, opened once on each screen, by day and by night."""
    screen, scheme = request.param
    width, height, mobile = SCREENS[screen]
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)  # what was said before is not this page's
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(address)
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        said["params"]["request"]["url"] for said in messages if said["method"] == "Network.requestWillBeSent"
    ]
    return Opened(browser, scheme, browser.get_log("browser"), asked)


def boxes(opened: Opened, selector: str) -> list[dict[str, Any]]:
    """Where the elements that a selector finds stand on the page."""
    found: list[dict[str, Any]] = opened.run(
        "return [...document.querySelectorAll(arguments[0])].map(element => element.getBoundingClientRect().toJSON())",
        selector,
    )
    return found


def test_every_plot_is_drawn(opened: Opened) -> None:
    """Each instance has a visible bar, each kill and each termination its mark, each spread its four percentiles."""
    lives = [life for trial in TRIALS for life in read_lives(trial.events, last_answer(trial))]
    assert len(boxes(opened, "svg.plot")) == 6 + 4 + 1
    assert len(boxes(opened, ".life")) == len(lives)
    assert len(boxes(opened, ".lanes use.killed")) == sum(life.killed for life in lives)
    assert len(boxes(opened, ".lanes use.terminated")) == sum(life.terminated is not None for life in lives)
    assert len(boxes(opened, ".lanes .guide")) == sum(life.killed for life in lives)
    assert len(boxes(opened, ".spread use")) == 4 * len(TRIALS)
    for selector in ("svg.plot", ".life", ".plot rect", ".plot use", ".plot text"):
        assert all(box["width"] > 0 and box["height"] > 0 for box in boxes(opened, selector))


def test_violations_are_marked_where_they_happened(opened: Opened) -> None:
    """The rows below the instances have marks for three strategies, and none for the one that kept its promises."""
    marks = [boxes(opened, f"figure:nth-of-type({place}) .rug .broken") for place in range(1, 5)]
    assert [bool(found) for found in marks] == [True, True, True, False]
    bars = boxes(opened, ".panels rect.broken")
    assert len(bars) == sum(
        trial.row[key] > 0 for trial in TRIALS for key in trial.row if key.endswith(LOSSES)
    )
    for plot, lane in zip(boxes(opened, ".lanes"), marks, strict=True):
        assert all(plot["left"] <= mark["left"] and mark["right"] <= plot["right"] + 3 for mark in lane)


LOSSES = ("_lost", "stale_reads", "revived", "crossed", "false_acks")


def test_nothing_stands_outside_the_screen(opened: Opened) -> None:
    """The page never scrolls sideways, and no label or figure is cut off at its edges."""
    width = opened.run("return document.documentElement.clientWidth")
    assert opened.run("return document.documentElement.scrollWidth") <= width
    for box in boxes(opened, "h1, h2, h3, p, li, dd, dt, tbody td, tbody th, summary, .plot text, .plot use"):
        assert box["left"] >= 0
        assert box["right"] <= width + 0.5


def test_labels_stand_inside_their_card(opened: Opened) -> None:
    """No text of a plot leaves its card, and the name of a strategy does not run into its figures."""
    overlaps = opened.run(
        """
        const found = [];
        for (const card of document.querySelectorAll('figure.card')) {
          const edge = card.getBoundingClientRect();
          const texts = [...card.querySelectorAll('.plot text')].map(at => [at, at.getBoundingClientRect()]);
          for (const [text, box] of texts)
            if (box.left < edge.left || box.right > edge.right || box.bottom > edge.bottom)
              found.push(text.textContent);
          texts.forEach(([one, a], place) => texts.slice(place + 1).forEach(([other, b]) => {
            if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4)
              found.push(one.textContent + ' / ' + other.textContent);
          }));
        }
        return found;
        """
    )
    assert overlaps == []


def test_the_console_stays_empty(opened: Opened) -> None:
    """Neither an error nor a warning: the page's policy allows all that the page does."""
    assert opened.console == []


def test_nothing_but_the_file_is_loaded(opened: Opened, address: str) -> None:
    """The browser asks for no other address."""
    assert opened.asked == [address]


def test_the_style_is_applied_by_day_and_by_night(opened: Opened) -> None:
    """The policy lets the page's own style in, and the palette follows the reader's wish."""
    ground = opened.run("return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(13, 17, 23)" if opened.scheme == "dark" else "rgb(245, 246, 248)")


def test_the_table_is_a_table_for_those_who_listen(opened: Opened) -> None:
    """On a phone the rows look like cards; the accessibility tree has rows with a header and cells all the same."""
    tree = opened.chrome.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = [node["role"]["value"] for node in tree if not node.get("ignored")]
    assert roles.count("table") == 1
    assert roles.count("rowheader") == len(TRIALS)
    assert roles.count("image") + roles.count("img") >= 11
