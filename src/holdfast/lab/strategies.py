"""The ways of keeping a session that the lab compares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit


class Strategy(NamedTuple):
    """One way of keeping sessions: how instances are built and how the front door routes.

    `kind` is "memory" (a dictionary in each instance), "signed" (Starlette's signed cookie) or "holdfast".
    `affinity` asks the front door for sticky routing. `store` is a store's URL and `fault` the name of a
    fault from `holdfast.lab.faults` to seed into it; both are for "holdfast" only.
    """

    name: str
    kind: str
    affinity: bool = False
    store: str | None = None
    fault: str | None = None

    @property
    def holdfast(self) -> bool:
        """Whether this is Holdfast, which must keep its promises, or one of today's usual ways."""
        return self.kind == "holdfast"


def strategies(stores: Sequence[str], workdir: Path) -> list[Strategy]:
    """What a demo compares: three usual ways, Holdfast on a SQLite file in `workdir`, and on each store URL.

    Names are unique and show no more of a URL than its scheme, for a URL may carry a password.
    """
    listed = [
        Strategy("memory", "memory"),
        Strategy("memory + affinity", "memory", affinity=True),
        Strategy("signed cookie", "signed"),
    ]
    seen: Counter[str] = Counter()
    file = quote(str(workdir.resolve() / "sessions.db"))
    for url in (f"sqlite:///{file}", *stores):
        scheme = urlsplit(url).scheme or "store"
        seen[scheme] += 1
        label = scheme if seen[scheme] == 1 else f"{scheme} {seen[scheme]}"
        listed.append(Strategy(f"holdfast ({label})", "holdfast", store=url))
    return listed
