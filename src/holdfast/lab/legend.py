"""The marks that the plots use, drawn once, and the legends that explain them."""

from __future__ import annotations

from .markup import Markup, tag


def _icon(*drawn: Markup, width: int = 28) -> Markup:
    box = f"0 0 {width} 14"
    return tag("svg", *drawn, class_="icon", width=width, height=14, viewBox=box, aria_hidden="true")


def _legend(*entries: tuple[Markup, str]) -> Markup:
    return tag("ul", *(tag("li", icon, words) for icon, words in entries), class_="legend")


def _use(mark: str) -> Markup:
    return _icon(tag("use", href=f"#mark-{mark}", class_=mark, x=7, y=7), width=14)


MARKS = tag(
    "svg",
    tag(
        "defs",
        tag(
            "g",
            tag("path", d="M-4.5-4.5 4.5 4.5M-4.5 4.5 4.5-4.5", class_="halo"),
            tag("path", d="M-4.5-4.5 4.5 4.5M-4.5 4.5 4.5-4.5"),
            id="mark-killed",
        ),
        tag("path", d="M0-4.5 4.5 0 0 4.5-4.5 0Z", id="mark-terminated"),
        tag("circle", r=5.5, id="mark-p50"),
        tag("circle", r=4, id="mark-p90"),
        tag("circle", r=3.5, id="mark-p99"),
        tag("rect", x=-1, y=-5.5, width=2, height=11, id="mark-p999"),
    ),
    class_="marks",
    width=0,
    height=0,
    aria_hidden="true",
)
LEGEND = _legend(
    (_icon(tag("rect", class_="cold", x=1, y=2.5, width=26, height=9, rx=2)), "starting, cold"),
    (_icon(tag("rect", class_="up", x=1, y=1.5, width=26, height=11, rx=2)), "serving"),
    (_icon(tag("rect", class_="frozen", x=1, y=5.5, width=26, height=3)), "frozen"),
    (_use("terminated"), "told to end"),
    (_use("killed"), "killed at work"),
    (_icon(tag("rect", class_="cut", x=4, y=1.5, width=2, height=11), width=10), "request cut off"),
    (_icon(tag("rect", class_="broken", x=4, y=1.5, width=2, height=11), width=10), "promise broken"),
)
SHARES_LEGEND = _legend(
    *(
        (_use(f"p{share}"), words)
        for share, words in (("50", "p50"), ("90", "p90"), ("99", "p99"), ("999", "p99.9"))
    )
)
