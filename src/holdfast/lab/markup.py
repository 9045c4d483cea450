"""HTML and SVG as text that cannot be built wrongly: whatever is not `Markup` already is escaped.

Every name, number and sentence of a report passes through `tag`, so a strategy or a shopper's value with
an angle bracket in it is shown and never interpreted.
"""

from __future__ import annotations

from html import escape

VOID = frozenset({"meta", "br", "hr", "wbr", "link"})


class Markup(str):
    """A piece of a document that is ready to be put into another piece."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """One element. Children that are plain text are escaped, as are all attribute values.

    An attribute of None is left out. `class_` is written `class`, and an underscore becomes a hyphen
    (`aria_label`, `stroke_width`); numbers are written with two decimals at most.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: str) -> Markup:
    """The children one after another, escaped where they are plain text."""
    return Markup(
        "".join(child if isinstance(child, Markup) else escape(child, quote=False) for child in children)
    )


def percent(fraction: float) -> str:
    """A position along an axis that grows with the page: 0.25 is `25%`."""
    return f"{100 * fraction:.2f}".rstrip("0").rstrip(".") + "%"


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
