"""A store that loses what it has acknowledged, as a failover or a restored backup does."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from ..record import Change, Record
from ..stores import Owned, Store
from .wrapper import Wrapper


class Losing(Wrapper):
    """Forgets, when told to, all that was done through it since the last `checkpoint()`.

    `checkpoint()` is the backup, or the position that a replica has reached; until it is called, that is the
    moment of the construction. `roll_back()` is the restore, or the failover: each record is what it was then,
    and what did not exist then is not there. Both take effect at once, and can be called any number of times.

    What is lost is only out of reach: its keys stay in the store inside, under other names.

        store = Losing(MemoryStore())
        sessions = Sessions(store, keys=keys, detect_loss=True, on_event=print)
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._before: dict[str, Record | None] = {}  # what changed since the checkpoint was before
        self._names: dict[str, str] = {}  # where the store inside has what was rolled back
        self._to_restore: dict[str, Record] = {}
        self._rolled_back = 0
        if isinstance(store, Owned):
            self.of: Callable[[str], Coroutine[Any, Any, dict[str, Record]]] = self._of

    def checkpoint(self) -> None:
        """What is acknowledged up to now survives a `roll_back()`."""
        self._before.clear()

    def roll_back(self) -> int:
        """Lose all that was acknowledged since the last `checkpoint()`; how many records that touched."""
        self._rolled_back += 1
        for key, record in self._before.items():
            # The contract has no way to take a record back to an earlier version: the key moves to a fresh name.
            self._names[key] = f"{key}~{self._rolled_back}"
            self._to_restore.pop(key, None)
            if record is not None:
                self._to_restore[key] = record
        lost = len(self._before)
        self._before.clear()
        return lost

    async def create(self, key: str, record: Record) -> bool:
        name = await self._place(key)
        created = await self.store.create(name, record)
        if created:
            self._before.setdefault(key, None)
        return created

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        return await self.store.load(await self._place(key), weak=weak)

    async def commit(self, key: str, change: Change) -> Record:
        name = await self._place(key)
        await self._remember(key, name)
        return await self.store.commit(name, change)

    async def end(self, key: str, tombstone: Record) -> None:
        name = await self._place(key)
        await self._remember(key, name)
        await self.store.end(name, tombstone)

    async def _of(self, owner: str) -> dict[str, Record]:
        for key in list(self._to_restore):
            await self._place(key)
        keys = {name: key for key, name in self._names.items()}
        found = await self.store.of(owner)  # type: ignore[attr-defined]  # only there where the store is Owned
        return {keys.get(name, name): record for name, record in found.items() if name not in self._names}

    async def _place(self, key: str) -> str:
        """The key's name in the store inside, where by now the record is that is to be there."""
        name = self._names.get(key, key)
        if (record := self._to_restore.get(key)) is not None:
            if record.ended:
                await self.store.end(name, record)
            else:
                await self.store.create(name, record)
            if self._to_restore.get(key) is record:
                del self._to_restore[key]
        return name

    async def _remember(self, key: str, name: str) -> None:
        if key not in self._before:
            before = await self.store.load(name)
            self._before.setdefault(key, before)
