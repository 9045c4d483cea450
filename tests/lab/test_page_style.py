"""The page's colours: letters and marks are told from their ground as WCAG 2 asks (AA), by day and by night."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

TEXT, MARK = 4.5, 3.0
PAIRS = [
    *((ink, ground, TEXT) for ink in ("ink", "soft", "bad", "good") for ground in ("paper", "card")),
    *((mark, "card", MARK) for mark in ("bar", "ours", "bad", "ink", "soft")),
    ("ours", "paper", MARK),
]


def palettes() -> list[dict[str, str]]:
    style = files("holdfast.lab").joinpath("page.css").read_text("utf-8")
    return [
        dict(re.findall(r"--(\w+): (#\w{6})", root))
        for root in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]


def luminance(colour: str) -> float:
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(part * value for part, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(("ink", "ground", "least"), PAIRS)
def test_contrast(ink: str, ground: str, least: float) -> None:
    """The contrast of each pair that the page uses is high enough in the light and in the dark palette."""
    light_and_dark = palettes()
    assert len(light_and_dark) == 2
    for palette in light_and_dark:
        low, high = sorted((luminance(palette[ink]), luminance(palette[ground])))
        assert (high + 0.05) / (low + 0.05) >= least
