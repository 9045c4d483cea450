"""`holdfast migrate FROM TO`: moves every live session from one store to another, and verifies that it is there."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from .. import _colour
from ..errors import ConfigError, HoldfastError, StoreError

if TYPE_CHECKING:
    from ..stores import Store
    from ._checkpoint import Place
    from ._migration import Migration, Verdict
    from ._progress import Teller

_CONDITION = (
    "The application has to be stopped, or every instance has to run with Sessions(Migrating(FROM, TO)): an instance "
    "that knows FROM alone would write to sessions that have been moved."
)

_WORDS = {
    "moved": "moved",
    "already moved": "already moved",
    "to move": "to be moved",
    "sound": "as they should be",
    "ended": "ended or expired",
    "held back": "held back",
    "too large": "too large for TO",
    "failed": "failed",
    "wrong": "wrong",
}

# Any of these, and not all is done.
_LEFT: tuple[Verdict, ...] = ("failed", "wrong", "held back", "too large")


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
    # All of it is slow to load, and no other command needs it.
    from ._checkpoint import Checkpoint
    from ._migration import Migration
    from ._progress import Teller, reason

    if arguments.page < 1:
        raise ConfigError("--page has to be at least 1")
    if arguments.verify and arguments.dry_run:
        raise ConfigError("--verify changes nothing: leave --dry-run out")
    old_url, new_url = _url(arguments.old), _url(arguments.new)
    if old_url == new_url:
        raise ConfigError("FROM and TO are the same store")
    teller = Teller(old_url, new_url)
    try:
        old, new = _stores(arguments, old_url, new_url)
    except StoreError as error:
        teller.note(f"holdfast: {reason(error)}")
        return 1
    migration = Migration(old, new, page=arguments.page, tell=teller.tell, waiting=teller.waiting)
    teller.note(_CONDITION)

    place = None
    work: Callable[[Callable[[int], object]], Coroutine[Any, Any, None]]
    if arguments.verify:
        work, go_on = migration.verify, "not everything was looked at"
    elif arguments.dry_run:
        work, go_on = migration.rehearse, "not everything was counted"
    else:
        checkpoint = Checkpoint(old_url, new_url)
        checkpoint.see_that_it_can_be_written()
        place = checkpoint.read()
        if place is not None:
            teller.note(_continuing(place, checkpoint.path.name))
        go_on = "run the same command again to go on from here"

        def work(seen: Callable[[int], object]) -> Coroutine[Any, Any, None]:
            return migration.move(checkpoint, seen, place)

    try:
        to_write = not (arguments.verify or arguments.dry_run)
        _in_a_colour(_whole(migration, work, (old, new), place, to_write=to_write), old, new)
    except KeyboardInterrupt:
        if migration.passed:
            _summary(migration)
        teller.note(f"interrupted: {go_on}")
        return 1
    except ConfigError:
        raise
    except HoldfastError as error:
        if migration.passed:
            _summary(migration)
        teller.note(f"holdfast: {reason(error)}")
        if migration.passed:
            teller.note(go_on)
        return 1
    return _outcome(migration, teller)


def _stores(arguments: argparse.Namespace, old_url: str, new_url: str) -> tuple[Store, Store]:
    """Both stores, of which only one that is to be moved to may be made. Raises `ConfigError`, `StoreError`."""
    from . import _migration_stores as stores

    if arguments.verify:
        return stores.source(old_url), stores.target_as_it_is(new_url)
    if arguments.dry_run:
        return stores.source(old_url), stores.target_to_be(new_url)
    return stores.source(old_url), stores.target(new_url)


async def _whole(
    migration: Migration,
    work: Callable[[Callable[[int], object]], Coroutine[Any, Any, None]],
    stores: tuple[Store, Store],
    place: Place | None,
    *,
    to_write: bool,
) -> None:
    from ._progress import progress

    try:
        total = await migration.count()
        await migration.knock(to_write=to_write)
        # A run that goes on looks at everything once more in the end.
        with progress(total * 2, place.passed) if place else progress(total, 0) as seen:
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


def _continuing(place: Place, file: str) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(place.at))
    return (
        f"going on from where a run was cut off at {when} UTC, after {place.passed} sessions; in the end all are "
        f"looked at once more (remove {file} to begin anew)"
    )


def _outcome(migration: Migration, teller: Teller) -> int:
    """Say how it went; the exit status."""
    _summary(migration)
    counts = migration.counts
    if not migration.passed:
        teller.note("FROM holds no record at all: see whether it is the store that the application uses")
        return 1
    if counts.get("held back"):
        teller.note(
            "held back: these were moved out of TO before, which remembers it until they would have expired; run the "
            "command again then"
        )
    return 1 if any(counts.get(verdict) for verdict in _LEFT) else 0


def _summary(migration: Migration) -> None:
    parts = [f"{number} {_WORDS[verdict]}" for verdict, number in migration.counts.items() if number]
    print(", ".join(parts) or "no sessions", flush=True)
