"""The two stores of `holdfast migrate`: opened without making what is only read, or refused."""

from __future__ import annotations

from .. import _colour
from ..errors import ConfigError
from ..provision.sqlite import UnmadeSQLiteStore
from ..record import Record
from ..stores import Store, from_url
from ..stores.guard import Guard
from ..stores.memory import MemoryStore
from .provision import _shown


class _NotYetMade(UnmadeSQLiteStore):
    """The store in a file that is not there, and so has no sessions."""

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        return None


def source(url: str) -> Store:
    """The store to read from, which has to be there: nothing is made. Raises `ConfigError`, `StoreError`."""
    if (lack := _lack(url)) is not None:
        raise ConfigError(f"FROM: {lack}")
    return _opened("FROM", url)


def target(url: str) -> Store:
    """The store to move to; a SQLite file is made if it is missing. Raises `ConfigError`."""
    store = _opened("TO", url)
    if getattr(store, "forgets", False):
        raise ConfigError(
            f"TO: {_shown(url)} forgets sessions when it runs full or restarts, and FROM lets go of what is moved: "
            "take another store, or say in its URL that you accept that (?forgets=accepted)"
        )
    return store


def target_as_it_is(url: str) -> Store:
    """The store to compare with, which has to be there: nothing is made. Raises `ConfigError`, `StoreError`."""
    if (lack := _lack(url)) is not None:
        raise ConfigError(f"TO: {lack}")
    return target(url)


def target_to_be(url: str) -> Store:
    """The store to move to some day: nothing is made. Raises `ConfigError`, `StoreError`."""
    return target(url) if _lack(url) is None else _NotYetMade.from_url(url)


def _opened(role: str, url: str) -> Store:
    store = from_url(url)
    if isinstance(store, MemoryStore):
        raise ConfigError(
            f"{role}: {_shown(url)} is the memory of this very command, which is empty when it begins and lost when it "
            "ends: name a store that the application uses too"
        )
    return store


def _lack(url: str) -> str | None:
    """Why the SQLite file of this URL is not there to be read, if that is so: opening it would make what is missing."""
    if not url.lower().startswith("sqlite:"):
        return None
    parts = _colour.run(Guard(UnmadeSQLiteStore.from_url(url)).provision(create=False))
    states = {part.name: part for part in parts}
    file = states["file"]
    if file.state == "missing":
        return f"there is no file {file.detail}"
    if file.state == "wrong":
        return file.detail
    if states["table sessions"].state == "missing":
        return f"{file.detail} has no sessions of Holdfast's in it"
    return None
