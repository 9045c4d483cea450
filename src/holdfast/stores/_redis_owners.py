"""An owner's list in a cluster, where it is on another server than the session.

The entry is there before the session is the owner's, so that a session which was kept is never missed. What a crash
leaves behind, or another owner's sign-in, is passed over by `of` and dies at the session's expiry. Refused: to take out
the former owner's entry after a change of owner. The session may be theirs again by then, and would be missed.
"""

from __future__ import annotations

from typing import Protocol

from ..errors import Conflict
from ..record import Change, Record, judge
from ._compare_and_set import settle


class _Store(Protocol):
    async def load(self, key: str) -> Record | None: ...

    async def commit_alone(self, key: str, change: Change) -> Record: ...

    async def enter(self, owner: str, key: str, expires_at: float, now: float) -> None: ...


async def commit_entered(store: _Store, key: str, change: Change, known: Record | None) -> Record:
    """Commit a change of owner or expiry after its entry is made. `known` is the record as it was a moment ago.

    To know the owner, the change has to be applied to the very version whose owner that is.
    """
    latest = known
    if latest is None or change.base not in (None, latest.version):
        latest = await store.load(key)
        if latest is None or change.base not in (None, latest.version):
            applied = judge(latest, change)  # which raises, unless it is a repeat
            if applied is not None:
                return applied
    current: Record = latest  # type: ignore[assignment]  # judge has raised for none

    async def attempt() -> Record | None:
        nonlocal current
        owner = current.owner if change.owner is None else change.owner
        if owner is not None and not current.ended:
            expires_at = current.expires_at if change.expires_at is None else change.expires_at
            await store.enter(owner, key, max(expires_at, current.expires_at), change.now)
        try:
            return await store.commit_alone(key, change._replace(base=current.version))
        except Conflict as conflict:
            if change.base is not None:
                raise
            current = conflict.current
            return None

    return await settle(attempt)
