"""What the store held, and when: the truth that requests are judged against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from holdfast import codec
from holdfast.record import Record

from .backends import Written
from .world import EPOCH

SKEW = 1.0  # seconds that clocks differ at most
NEVER = 10**9


class History:
    """All that the store did, by key.

    A session goes by the word that it was born with; a rotation takes it to another key. Each value is written by
    one request only, so that its rank, the place of its first appearance, says what is older. A count is its own
    rank.
    """

    def __init__(self, written: Iterable[Written]) -> None:
        self.states: dict[str, list[tuple[float, Record | None]]] = defaultdict(list)
        self.session_of: dict[str, str] = {}
        self._ranks: dict[tuple[str, str, Any], int] = {}
        self._last: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        for number, (at, key, record) in enumerate(written):
            key = key.partition("~")[0]  # where it was rolled back
            if len(key) != 64:
                continue  # the revoked feed
            self.states[key].append((at, record))
            if record is None or not record.values or record.expires_at < 0:
                continue
            contents = contents_of(record)
            session = contents["born"]
            self.session_of[key] = session
            self._last[session][key] = contents
            for name, value in contents.items():
                self._ranks.setdefault((session, name, value), number)

    def rank(self, session: str, name: str, value: Any) -> int:
        """How new a value is; -1 for none, NEVER for what was never stored."""
        if value is None:
            return -1
        if name == "n":
            return int(value)
        return self._ranks.get((session, name, value), NEVER)

    def newest(self, session: str, name: str) -> int:
        """The rank of what the session ends with. A rotation that did not win has left a key of its own."""
        return max(
            (self.rank(session, name, last.get(name)) for last in self._last[session].values()), default=-1
        )

    def may_look_over(self, key: str | None, since: float, until: float) -> bool:
        """Whether a request between these times may rightly take the session for over: missing, ended, moved or
        expired."""
        states = [record for at, record in self.states.get(key or "", ()) if at <= until]
        is_over = any(record is None or record.ended or record.expires_at < 0 for record in states)
        return is_over or not states or self.may_look_expired(key or "", since, until)

    def may_look_expired(self, key: str, since: float, until: float) -> bool:
        """Whether it had expired by then, by the clock that takes it to be latest; or the request was held up for
        so long that what it had read expired on the way."""
        states = self.states.get(key, [])
        replaced = [*(at for at, _ in states[1:]), until]
        for (at, record), end in zip(states, replaced, strict=False):
            if at > until or record is None or record.ended or record.expires_at < 0:
                continue
            if record.expires_at - SKEW <= EPOCH + (until if end >= since else end):
                return True
        return False

    def state(self, key: str, at: float) -> Record | None:
        state: Record | None = None
        for time, record in self.states.get(key, ()):
            if time <= at:
                state = record
        return state

    def is_live(self, key: str, at: float) -> bool:
        state = self.state(key, at)
        return state is not None and state.is_live(EPOCH + at + SKEW)

    def is_long_over(self, key: str, at: float) -> bool:
        """Whether it was ended so long ago that nothing is late any more."""
        state = self.state(key, at)
        return state is not None and state.ended and state.created_at < EPOCH + at - 29.0


def contents_of(record: Record) -> dict[str, Any]:
    """What a handler would see of a record."""
    values: dict[str, Any] = {name: codec.decode(data) for name, data in record.values.items()}
    if record.owner is not None:
        values["@owner"] = record.owner
    return values
