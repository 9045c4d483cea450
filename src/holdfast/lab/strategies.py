"""The ways of keeping a session that the lab compares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from ..homes import REVOCATION_SECONDS

# How old Holdfast's copies may be. Less than by default, as shoppers are quicker here than anywhere else: a pin
# outlives copies, and who writes every second or two would otherwise never be shown one.
COPY_AGE_SECONDS = 1.0
SNAPSHOT_SECONDS = 1.0
# With a second for clocks that differ, so that no snapshot has to be asked about.
SNAPSHOT_ENDS_WITHIN = SNAPSHOT_SECONDS + 1.0
TOKEN_ENDS_WITHIN = 1.0


class Strategy(NamedTuple):
    """One way of keeping sessions: how instances are built and how the front door routes.

    `kind` is "memory" (a dictionary in each instance), "signed" (Starlette's signed cookie), "aside" (a database
    with a cache beside it), "holdfast", or "token" (Holdfast's sessions that travel, of which less is promised).
    `affinity` asks the front door for sticky routing.

    `store` is a store's URL, for "aside" the path of a SQLite file, and for "token" where endings are noted and changes
    that overwrite each other are noticed; None: nowhere. `cache` is the URL of a cache that all
    instances share. `local` gives "holdfast" copies in each instance too; "aside" without a `cache` always has
    them. With `snapshot`, browsers carry copies of "holdfast". `fault` is the name of a fault from
    `holdfast.lab.faults` to seed into the store of "holdfast". `detect_loss` has "holdfast" notice what its store
    has lost, without copies too.
    """

    name: str
    kind: str
    affinity: bool = False
    store: str | None = None
    fault: str | None = None
    cache: str | None = None
    local: bool = False
    detect_loss: bool = False
    snapshot: bool = False

    @property
    def holdfast(self) -> bool:
        """Whether this is Holdfast, which must keep its promises, or one of today's usual ways."""
        return self.kind in ("holdfast", "token")

    @property
    def unpromised(self) -> tuple[str, ...]:
        """Which of the checker's findings are no broken promise, for it is said of this way that they happen.

        A token is as new as the answer that came last. One from before a sign-in takes the browser back there; where a
        store has noted that this is over, the browser has no session then.
        """
        if self.kind != "token":
            return ()
        return ("updates_lost", "stale_reads", "revived" if self.store is None else "sessions_lost")

    @property
    def copies(self) -> bool:
        """Whether this is Holdfast with any copies beside its store."""
        return self.kind == "holdfast" and (self.local or self.snapshot or self.cache is not None)

    @property
    def ends_within(self) -> float:
        """In how many seconds an end reaches every instance, as Holdfast says; 0: at once."""
        if self.snapshot:
            return SNAPSHOT_ENDS_WITHIN
        if self.kind == "token":
            return TOKEN_ENDS_WITHIN if self.store is not None else 0.0
        return min(REVOCATION_SECONDS, COPY_AGE_SECONDS / 2) if self.copies else 0.0


def strategies(
    stores: Sequence[str], workdir: Path, *, copies: bool = False, cache: str | None = None
) -> list[Strategy]:
    """What a demo compares: three usual ways, Holdfast on a SQLite file in `workdir`, and on each store URL.

    These rows of Holdfast have no copies: the store answers everything. `copies` adds, all on SQLite, those that
    keep copies in each instance, Holdfast's and the usual, and those that let browsers carry something; `cache`, a
    URL, also those with a shared cache.

    Names are unique and show no more of a URL than its scheme, for a URL may carry a password.
    """
    folder = workdir.resolve()
    listed = [
        Strategy("memory", "memory"),
        Strategy("memory + affinity", "memory", affinity=True),
        Strategy("signed cookie", "signed"),
    ]
    seen: Counter[str] = Counter()
    for url in (_sqlite(folder / "sessions.db"), *stores):
        scheme = urlsplit(url).scheme or "store"
        seen[scheme] += 1
        label = scheme if seen[scheme] == 1 else f"{scheme} {seen[scheme]}"
        listed.append(Strategy(f"holdfast ({label})", "holdfast", store=url))
    if copies or cache is not None:
        file, url = str(folder / "aside-memory.db"), _sqlite(folder / "local.db")
        listed += [
            Strategy("cache-aside in memory", "aside", store=file),
            Strategy("holdfast: store + local", "holdfast", store=url, local=True),
            Strategy(
                "holdfast: local with affinity",
                "holdfast",
                affinity=True,
                store=_sqlite(folder / "affinity.db"),
                local=True,
            ),
            Strategy(
                "holdfast: store + snapshot",
                "holdfast",
                store=_sqlite(folder / "snapshot.db"),
                snapshot=True,
            ),
            Strategy("holdfast: token, no store", "token"),
            Strategy(
                "holdfast: token over store", "token", store=_sqlite(folder / "token.db"), detect_loss=True
            ),
        ]
    if cache is not None:
        scheme = urlsplit(cache).scheme or "cache"
        file, url = str(folder / "aside-cache.db"), _sqlite(folder / "cache.db")
        both = _sqlite(folder / "both.db")
        listed += [
            Strategy(f"cache-aside in {scheme}", "aside", store=file, cache=cache),
            Strategy("holdfast: store + cache", "holdfast", store=url, cache=cache),
            Strategy("holdfast: store + cache + local", "holdfast", store=both, cache=cache, local=True),
        ]
    return listed


def _sqlite(path: Path) -> str:
    return f"sqlite:///{quote(str(path))}"
