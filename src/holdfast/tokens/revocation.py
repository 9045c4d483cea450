"""Ended sessions and signed-out users, for tokens that would be good still (OWASP ASVS 7.4.1).

A token is its own proof, so it lives until its time is over unless somebody says otherwise. What says so is kept in a
store: a note for each session that was ended, and for each user the moment before which no session counts. Every
instance looks both up for a session that it serves, and goes by the answer for a stated time.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from math import inf
from typing import NamedTuple, TypeVar

from ..copies.local import Moment, moment
from ..record import Record
from ..stores.guard import Guard
from ..writes import ROTATED

T = TypeVar("T")

_KEPT = 10_000  # answers that an instance remembers
_MARGIN_SECONDS = 60.0  # by which a note outlives every token that it is about
_BEFORE = struct.Struct(">d")
_LEAST_SECONDS = 0.001  # a session that begins so much later than a note's moment counts


class Ending(NamedTuple):
    """How a session has ended: noted when (epoch), and whether it goes on under another identity."""

    at: float
    goes_on: bool = False


class Known(NamedTuple):
    """What an instance knows of a session: its ending, and whether it is time to ask."""

    ending: Ending | None
    is_due: bool


class _Note(NamedTuple):
    before: float  # sessions that began earlier are over
    ending: Ending


class Revocations:
    """What is known of ended sessions. Times are seconds; the moments are since the epoch.

    - `within`: how old an answer of the store may be.
    - `longest_life`: how long after its begin a token may be good.
    - `skew`: how far the clocks of two instances may be apart: a user is signed out of what began until so much later.

    Every method that asks or tells raises what the store raises: where that is not known, no token is good.
    """

    def __init__(
        self, store: Guard, *, within: float, longest_life: float, skew: float, clock: Callable[[], float]
    ) -> None:
        self.store = store
        self._within = within
        self._longest_life = longest_life
        self._skew = skew
        self._clock = clock
        # Two memories, so that a slow answer from before an ending cannot cover up the ending: what is over stays over.
        self._notes: OrderedDict[str, _Note] = OrderedDict()
        self._asked: OrderedDict[str, Moment] = OrderedDict()

    def at_hand(self, handle: str, owner: str | None, created_at: float) -> Known:
        """What is known of the session here and now."""
        is_due = False
        for name in _names(handle, owner):
            note = self._notes.get(name)
            if note is not None and created_at <= note.before:
                return Known(note.ending, False)
            is_due = is_due or not self._is_fresh(self._asked.get(name))
        return Known(None, is_due)

    async def ask(self, handle: str, owner: str | None, created_at: float) -> Ending | None:
        """How the session has ended, if it has: at most one command for the session and one for its user."""
        for name in _names(handle, owner):
            note = self._notes.get(name)
            if (note is None or created_at > note.before) and not self._is_fresh(self._asked.get(name)):
                note = await self._look(name)
            if note is not None and created_at <= note.before:
                return note.ending
        return None

    async def begins(self, owner: str, now: float) -> float:
        """When a session of the user's that is to count has to have begun: now, or after what was noted last."""
        note = await self._look(_name_of_owner(owner))
        return now if note is None else max(now, note.before + _LEAST_SECONDS)

    async def end(self, handle: str, *, moves: bool = False) -> None:
        """Note that a session has ended, or `moves` to another identity, for as long as a token could be good."""
        await self._put(_name_of_session(handle), ROTATED if moves else _BEFORE.pack(inf))

    async def end_all(self, owner: str) -> None:
        """Note that no session of the user's counts that began until now."""
        name = _name_of_owner(owner)
        noted = await self._look(name)
        # Another instance's clock may be ahead: what it has noted is not taken back.
        before = max(self._clock() + self._skew, noted.before if noted is not None else 0.0)
        await self._put(name, _BEFORE.pack(before))

    async def _look(self, name: str) -> _Note | None:
        asked_at = moment(self._clock)
        record = await self.store.load(name)
        note = _note_of(record) if record is not None else None
        if note is not None:
            _remember(self._notes, name, note)
        _remember(self._asked, name, asked_at)
        return note

    async def _put(self, name: str, tag: bytes) -> None:
        """Put a note: a tombstone from now, whose tag says what it is about."""
        asked_at = moment(self._clock)
        expires_at = asked_at.wall + self._longest_life + _MARGIN_SECONDS
        record = Record(1, tag, {}, None, asked_at.wall, expires_at, ended=True)
        await self.store.end(name, record)
        _remember(self._notes, name, _note_of(record))
        _remember(self._asked, name, asked_at)

    def _is_fresh(self, asked_at: Moment | None) -> bool:
        if asked_at is None:
            return False
        now = moment(self._clock)
        return 0 <= now.wall - asked_at.wall <= self._within and now.steady - asked_at.steady <= self._within


def _note_of(record: Record) -> _Note:
    if record.tag == ROTATED:
        return _Note(inf, Ending(record.created_at, goes_on=True))
    return _Note(_BEFORE.unpack(record.tag)[0], Ending(record.created_at))


def _names(handle: str, owner: str | None) -> tuple[str, ...]:
    """The keys of the notes that are about a session."""
    name = _name_of_session(handle)
    return (name,) if owner is None else (name, _name_of_owner(owner))


def _name_of_session(handle: str) -> str:
    # Shaped like the keys of sessions, which is what stores take.
    return sha256(b"ended session " + handle.encode()).hexdigest()


def _name_of_owner(owner: str) -> str:
    return sha256(b"signed out " + owner.encode()).hexdigest()


def _remember(memory: OrderedDict[str, T], name: str, what: T) -> None:
    # Each step is one that other threads see whole.
    memory.pop(name, None)
    memory[name] = what
    if len(memory) > _KEPT:
        memory.popitem(last=False)
