"""A store for tests that notes each command, and can fail or run something in between."""

from __future__ import annotations

from collections.abc import Callable

from holdfast import Change, Record, Session
from holdfast.stores.memory import MemoryStore


def planted(session: Session) -> str | None:
    """The `Set-Cookie` line by which the session gives the browser an identity, or takes it away."""
    lines = [value.decode() for name, value in session._outgoing() if name == b"set-cookie"]
    found = [line for line in lines if "-floor=" not in line and "-pin=" not in line]
    assert len(found) <= 1, found
    return found[0] if found else None


class RecordingStore(MemoryStore):
    """A memory store that notes its commands in `commands`.

    While `failure` is set, every command raises it. `before_commit`, if set, is called once, before the next
    commit: another writer's turn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[str] = []
        self.failure: Exception | None = None
        self.before_commit: Callable[[], None] | None = None

    def _note(self, command: str) -> None:
        self.commands.append(command)
        if self.failure is not None:
            raise self.failure

    async def create(self, key: str, record: Record) -> bool:
        self._note("create")
        return await super().create(key, record)

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        self._note("load")
        return await super().load(key, weak=weak)

    async def commit(self, key: str, change: Change) -> Record:
        self._note("commit")
        if (turn := self.before_commit) is not None:
            self.before_commit = None
            turn()
        return await super().commit(key, change)

    async def end(self, key: str, tombstone: Record) -> None:
        self._note("end")
        await super().end(key, tombstone)

    def taken(self) -> list[str]:
        """The commands since the last time this was asked."""
        commands, self.commands = self.commands, []
        return commands
