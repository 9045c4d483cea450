"""`holdfast provision`: what a store needs of its engine is made, checked, or printed as code."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import ConfigError, StoreError

if TYPE_CHECKING:
    from ..stores import Part, Store

_NARROWEST, _WIDEST_NAME = 60, 40

# A value in a URL's query that is so long may be a secret. (Host names and settings in messages are worth more.)
_LONG_ENOUGH_FOR_A_SECRET = 16


class _Line(NamedTuple):
    """A part as it is shown."""

    state: str  # as a `Part` has it, or "accepted"
    name: str
    detail: str


def register(subparsers: Any) -> None:
    """Add `provision` to the command."""
    parser = subparsers.add_parser(
        "provision",
        help="make and check what a store needs: tables, indexes, settings",
        description="Make what a store needs of its engine where it is missing, and check what is there: tables, "
        "containers, indexes, settings. What is there is never changed. Exit status: 0, all is there now; 1, "
        "something is missing, or wrong and not accepted; 2, the configuration is wrong or the store could not be "
        "asked.",
    )
    parser.add_argument(
        "url", nargs="?", metavar="URL", help="the store's URL, as an application names it (HOLDFAST_STORE)"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--check", action="store_true", help="only say what is there: make nothing")
    instead.add_argument(
        "--print",
        dest="form",
        metavar="FORM",
        help="print it as code, with the least rights that an application needs at run time, and do nothing else: "
        "cloudformation, terraform, bicep, gcloud, sql, acl; each store has its own",
    )
    parser.add_argument(
        "--accept",
        metavar="PART",
        action="append",
        default=[],
        help="the name of a part that may stay wrong, for the exit status; may be repeated",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Provision; the exit status. Raises `ConfigError` for a configuration that could not work."""
    from ..stores import Provisions

    url = arguments.url or os.environ.get("HOLDFAST_STORE")
    if not url:
        raise ConfigError("name the store: holdfast provision URL, or set HOLDFAST_STORE")
    if arguments.form and url.lower().startswith("cosmos:"):
        # Nothing is asked, so any key will do; without one, an application's URL is refused.
        os.environ.setdefault("COSMOS_KEY", "none")
    store = _unmade(url)
    if not isinstance(store, Provisions):
        print(
            f"{_shown(url)}: nothing has to be provisioned", file=sys.stderr if arguments.form else sys.stdout
        )
        return 0
    if arguments.form:
        return _print(store.as_code(arguments.form))
    try:
        parts = _provision(store, create=not arguments.check)
    except StoreError as error:
        print(f"holdfast: {_shown(url)}: {_reason(error, url)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("holdfast: stopped; --check says what is there", file=sys.stderr)
        return 130
    print(_shown(url))
    width = max(shutil.get_terminal_size().columns, _NARROWEST) if sys.stdout.isatty() else None
    lines = [_line(part, arguments.accept) for part in parts]
    for text in _table(lines, width):
        print(text)
    for text in _summary(lines):
        print(text)
    return 1 if any(line.state in ("missing", "wrong") for line in lines) else 0


def _print(code: str) -> int:
    try:
        print(code.rstrip("\n"), flush=True)
    except BrokenPipeError:
        # Whoever reads has seen enough (`| head`). Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def _unmade(url: str) -> Store:
    """The store, of which nothing is made yet. Raises `ConfigError`."""
    from ..stores import from_url

    if url.lower().startswith("sqlite:"):
        # This one makes its file as soon as it is constructed, which is no way to find out whether it is there.
        from ..provision.sqlite import UnmadeSQLiteStore

        return UnmadeSQLiteStore.from_url(url)
    return from_url(url)


def _provision(store: Store, *, create: bool) -> list[Part]:
    """The parts. Raises `StoreError`."""
    from .. import _colour
    from ..stores.guard import Guard

    guard = Guard(store)
    if "sync" in guard.colours:
        try:
            return _colour.run(guard.provision(create=create))
        finally:
            close = getattr(store, "close", None)
            if close is not None:
                close()
    import asyncio

    async def provision() -> list[Part]:
        try:
            return await guard.provision(create=create)
        finally:
            await guard.aclose()

    return asyncio.run(provision())


def _line(part: Part, accepted: Collection[str]) -> _Line:
    is_accepted = part.state == "wrong" and part.name in accepted
    return _Line("accepted" if is_accepted else part.state, part.name, part.detail)


def _table(parts: Sequence[_Line], width: int | None) -> list[str]:
    """One part a line: its state, its name, and what it should be. `width` is that of a terminal."""
    widest = min(max((len(part.name) for part in parts if part.detail), default=0), _WIDEST_NAME)
    lines = []
    for part in parts:
        line = f"  {part.state:<8} {part.name:<{widest}}  {part.detail}".rstrip()
        if width is None or len(line) <= width:
            lines.append(line)
            continue
        lines.append(f"  {part.state:<8} {part.name}")
        indent = " " * 13
        lines += textwrap.wrap(part.detail, width - 1, initial_indent=indent, subsequent_indent=indent)
    return lines


def _summary(parts: Sequence[_Line]) -> list[str]:
    """What to make of it."""
    states = Counter(part.state for part in parts)
    if not states["missing"] and not states["wrong"]:
        rest = f" Accepted as it is: {states['accepted']}." if states["accepted"] else ""
        return [(f"Made what was missing ({states['made']})." if states["made"] else "All is there.") + rest]
    told = ("made", "missing", "wrong", "accepted")
    lines = [", ".join(f"{states[state]} {state}" for state in told if states[state]) + "."]
    if states["missing"]:
        lines.append("What is missing is made without --check.")
    if states["wrong"]:
        lines.append("What is wrong is left as it is: it is for you to change.")
        lines.append("What may stay as it is can be named: --accept PART.")
    return lines


def _reason(error: StoreError, url: str) -> str:
    """What went wrong, in one line without secrets: the store's words and those of its client."""
    cause = error.__cause__
    words = f"{error}: {cause}" if cause is not None and str(cause) else str(error)
    line = " ".join(words.split())
    for secret in _secrets(url):
        line = line.replace(secret, "***")
    return textwrap.shorten(line, 600, placeholder=" ...")


def _secrets(url: str) -> list[str]:
    parts = urlsplit(url)
    password = parts.password or ""
    long = [value for _, value in parse_qsl(parts.query) if len(value) >= _LONG_ENOUGH_FOR_A_SECRET]
    return [secret for secret in (password, unquote(password), *long) if secret]


def _shown(url: str) -> str:
    """The URL as it may be shown: without user, password and options."""
    # Greedy, for a password that was left unquoted.
    return re.sub(r"^([^:/?#]+://).*@", r"\1***@", url).partition("?")[0]
