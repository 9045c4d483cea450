"""`holdfast migrate FROM TO`: moves every live session from one store to another, and verifies that it is there."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .. import _colour
from ..errors import ConfigError, HoldfastError
from ..stores import Store, from_url

if TYPE_CHECKING:
    from ._migration import Migration

_CONDITION = (
    "The application has to be stopped, or every instance has to run with Sessions(Migrating(FROM, TO)): an instance "
    "that knows FROM alone would write to sessions that have been moved."
)

# Without a terminal a line is enough now and then.
_LINE_EVERY_SECONDS = 5.0

_WORDS = {
    "moved": "moved",
    "already moved": "already moved",
    "to move": "to be moved",
    "sound": "as they should be",
    "ended": "ended or expired",
    "held back": "held back",
    "failed": "failed",
    "wrong": "wrong",
}


def register(subparsers: Any) -> None:
    """Add `migrate`."""
    parser = subparsers.add_parser(
        "migrate",
        help="move every live session from one store to another",
        description=f"Move every live session from the store FROM to the store TO. {_CONDITION} It may be run again at "
        "any time: what was moved stays moved, and a run that was cut off goes on where it was. Exit status: 0, "
        "everything is done; 1, something is left or wrong; 2, the arguments are wrong.",
    )
    parser.add_argument(
        "old",
        metavar="FROM",
        help="the URL of the store, or the name of the environment variable that holds it",
    )
    parser.add_argument("new", metavar="TO", help="the same for where the sessions go")
    parser.add_argument("--verify", action="store_true", help="only look whether every session has arrived")
    parser.add_argument("--dry-run", action="store_true", help="only count what would be moved")
    parser.add_argument(
        "--page", type=int, default=500, metavar="N", help="sessions read at once (default: 500)"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ._checkpoint import Checkpoint  # all of it is slow to load, and no other command needs it
    from ._migration import Migration

    if arguments.page < 1:
        raise ConfigError("--page has to be at least 1")
    if arguments.verify and arguments.dry_run:
        raise ConfigError("--verify changes nothing: leave --dry-run out")
    old_url, new_url = _url(arguments.old), _url(arguments.new)
    if old_url == new_url:
        raise ConfigError("FROM and TO are the same store")
    old, new = from_url(old_url), from_url(new_url)
    print(_CONDITION, file=sys.stderr)

    def tell(handle: str, what: str) -> None:
        print(f"{handle} {what}", flush=True)

    migration = Migration(old, new, page=arguments.page, tell=tell)
    checkpoint = Checkpoint(old_url, new_url)
    if arguments.verify:
        work = migration.verify
    elif arguments.dry_run:
        work = migration.rehearse
    else:

        def work(seen: Callable[[int], object]) -> Coroutine[Any, Any, None]:
            return migration.move(checkpoint, seen)

    try:
        _in_a_colour(_whole(migration, work, (old, new)), old, new)
    except KeyboardInterrupt:
        _summary(migration)
        print("interrupted: run the same command again to go on from here", file=sys.stderr)
        return 1
    except HoldfastError as error:
        if isinstance(error, ConfigError):
            raise
        _summary(migration)
        print(f"holdfast: {error}: run the same command again to go on from here", file=sys.stderr)
        return 1
    _summary(migration)
    counts = migration.counts
    if counts.get("held back"):
        print(
            "held back: these were moved out of TO before, which remembers it until they would have expired; run the "
            "command again then",
            file=sys.stderr,
        )
    return 1 if any(counts.get(verdict) for verdict in ("failed", "wrong", "held back")) else 0


async def _whole(
    migration: Migration,
    work: Callable[[Callable[[int], object]], Coroutine[Any, Any, None]],
    stores: tuple[Store, Store],
) -> None:
    try:
        with _progress(await migration.count()) as seen:
            await work(seen)
    finally:
        for store in stores:
            if (close := getattr(store, "aclose", None)) is not None:
                await close()


def _in_a_colour(operation: Coroutine[Any, Any, None], old: Store, new: Store) -> None:
    """Run it in a colour that both stores have: with async clients if possible, otherwise in threads."""
    colours = [getattr(store, "colours", frozenset({"sync", "async"})) for store in (old, new)]
    common = frozenset.intersection(*colours)
    if "async" in common:
        import asyncio

        asyncio.run(operation)
    elif "sync" in common:
        _colour.run(operation)
    else:
        operation.close()
        raise ConfigError("the two stores have no colour in common: sync or async")


def _url(text: str) -> str:
    if "://" in text:
        return text
    url = os.environ.get(text)
    if not url:
        raise ConfigError(f"{text!r} is no URL, and no environment variable of that name is set")
    return url


def _summary(migration: Migration) -> None:
    parts = [f"{number} {_WORDS[verdict]}" for verdict, number in migration.counts.items() if number]
    print(", ".join(parts) or "no sessions", flush=True)


class _Lines:
    """Progress as plain lines on standard error."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._said_at = time.monotonic()

    def __enter__(self) -> Callable[[int], None]:
        return self._seen

    def __exit__(self, *_: object) -> None:
        pass

    def _seen(self, number: int) -> None:
        self._done += number
        now = time.monotonic()
        if now - self._said_at >= _LINE_EVERY_SECONDS:
            self._said_at = now
            print(f"{self._done} of about {max(self._total, self._done)}", file=sys.stderr, flush=True)


class _Bar:
    """Progress as a bar, where the lab's extra is installed and somebody looks on."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._progress = Progress(
            BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True)
        )
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> Callable[[int], None]:
        self._progress.start()
        return lambda number: self._progress.advance(self._task, number)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _progress(total: int) -> _Lines | _Bar:
    if sys.stderr.isatty():
        with suppress(ImportError):
            return _Bar(total)
    return _Lines(total)
