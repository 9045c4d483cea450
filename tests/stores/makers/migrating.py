"""Two stores while sessions move between them: in both stages, and for sessions that begin in the old store."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from holdfast.record import Record
from holdfast.stores import Store, from_url
from holdfast.stores.migrating import Migrating, Stage
from servers.process import PATIENCE_SECONDS

from . import Factory, Maker

STAGES: tuple[Stage, ...] = ("prepare", "move")


class BegunBefore(Migrating):
    """Every session was made by an instance that knew only the old store."""

    async def create(self, key: str, record: Record) -> bool:
        return await self.old.create(key, record)


def _maker(kind: type[Migrating], stage: Stage, old: str, new: str) -> Maker:
    def store(request: pytest.FixtureRequest, engine: str, name: str) -> Store:
        if engine == "sqlite":
            directory: Path = request.getfixturevalue("tmp_path")
            return from_url(f"sqlite:///{directory}/{name}.db?timeout={PATIENCE_SECONDS}")
        if engine == "redis":
            return from_url(f"{request.getfixturevalue('redis_url')}?timeout={PATIENCE_SECONDS}")
        return from_url("memory://")

    def maker(request: pytest.FixtureRequest) -> Factory:
        return lambda: kind(store(request, old, "old"), store(request, new, "new"), stage=stage)

    return maker


BLOCKING: dict[str, Maker] = {
    f"migrating-{old}-{new}-{stage}{'-begun-before' if kind is BegunBefore else ''}": _maker(
        kind, stage, old, new
    )
    for (old, new), stage, kind in itertools.product(
        (("memory", "memory"), ("sqlite", "memory"), ("sqlite", "redis")), STAGES, (Migrating, BegunBefore)
    )
}
AWAITED: dict[str, Maker] = {}
