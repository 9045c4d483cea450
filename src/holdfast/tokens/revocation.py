"""Ended sessions and signed-out users, for tokens that would be good still (OWASP ASVS 7.4.1).

A token is its own proof, so it lives until its time is over unless somebody says otherwise. What says so is kept in a
store: a note for each session that was ended, and for each user the moment before which no session counts. Every
instance looks both up for a session that it serves, and goes by the answer for a stated time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from hashlib import sha256
from math import inf
from typing import NamedTuple

from ..copies.local import moment
from ..errors import SessionGone
from ..record import Record
from ..stores.guard import Guard
from ..writes import ROTATED
from . import Token
from .answers import Answers, Ending, Note, Questions

_MARGIN_SECONDS = 60.0  # by which a note outlives every token that it is about
_BEFORE = struct.Struct(">d")
_LEAST_SECONDS = 0.001  # a session that begins so much later than a note's moment counts


class Known(NamedTuple):
    """What an instance knows of a session: its ending, and whether it is time to ask."""

    ending: Ending | None
    is_due: bool


def about(token: Token, purpose: str) -> str:
    """Which tokens notes are about: those that are opened by this purpose, for this audience, from this issuer.

    Whoever shares no tokens shares no notes either, in the same store: one application's user "1" is not another's.
    """
    return repr((purpose, token.audience or purpose, token.issuer))


class Revocations:
    """What is known of ended sessions. Times are seconds; the moments are since the epoch.

    - `tokens`: which tokens the notes are about (see `about`).
    - `within`: how old an answer of the store may be.
    - `longest_life`: how long after its begin a token may be good.
    - `skew`: how far the clocks of two instances may be apart: a user is signed out of what began until so much later.

    Every method that asks or tells raises what the store raises: where that is not known, no token is good.
    """

    def __init__(
        self,
        store: Guard,
        *,
        tokens: str,
        within: float,
        longest_life: float,
        skew: float,
        clock: Callable[[], float],
    ) -> None:
        self.store = store
        which = sha256(tokens.encode()).digest()
        self._of_session, self._of_owner = b"ended session\0" + which, b"signed out\0" + which
        self._longest_life = longest_life
        self._skew = skew
        self._clock = clock
        self._answers = Answers(within)
        self._questions = Questions()

    def at_hand(self, handle: str, owner: str | None, created_at: float) -> Known:
        """What is known of the session here and now."""
        is_due, now = False, moment(self._clock)
        for name in self._names(handle, owner):
            note, is_fresh = self._answers.recall(name, now)
            if note is not None and created_at <= note.before:
                return Known(note.ending, False)
            is_due = is_due or not is_fresh
        return Known(None, is_due)

    async def ask(
        self, handle: str, owner: str | None, created_at: float, *, anew: bool = False
    ) -> Ending | None:
        """How the session has ended, if it has: at most one command for the session and one for its user.

        What was heard before counts for `within`, unless it is to be asked `anew`.
        """
        for name in self._names(handle, owner):
            note, is_fresh = self._answers.recall(name, moment(self._clock))
            if note is None or created_at > note.before:
                if anew:
                    note = await self._look(name)
                elif not is_fresh:
                    note = await self._look_once(name)
            if note is not None and created_at <= note.before:
                return note.ending
        return None

    async def begins(self, owner: str, now: float) -> float:
        """When a session of the user's that is to count has to have begun: now, or after what was noted last."""
        note = await self._look(self._name_of_owner(owner))
        return now if note is None else max(now, note.before + _LEAST_SECONDS)

    async def end(self, handle: str) -> None:
        """Note that a session has ended, for as long as a token could be good."""
        now = self._clock()
        tombstone = self._tombstone(_BEFORE.pack(inf), now, self._lasts_until(now))
        await self._put(self._name_of_session(handle), tombstone)

    async def move(self, handle: str) -> None:
        """Note that a session goes on under another identity. Raises `SessionGone` if it has ended, or has moved.

        One command decides: what was heard of an ending may be `within` seconds old, and under its new identity the
        session would escape that for good.
        """
        name, asked_at = self._name_of_session(handle), moment(self._clock)
        note = Record(1, ROTATED, {}, None, asked_at.wall, self._lasts_until(asked_at.wall))
        if not await self.store.create(name.hex(), note):
            await self._look(name)
            raise SessionGone("the session has ended, or goes on under another identity")
        self._answers.put(name, asked_at, _note_of(note))

    async def end_all(self, owner: str) -> None:
        """Note that no session of the user's counts that began until now."""
        name = self._name_of_owner(owner)
        noted = await self.store.load(name.hex())
        now = self._clock()
        before, until = now + self._skew, self._lasts_until(now)
        if noted is not None:
            # What another instance has noted is not taken back, nor cut short: its clock may be ahead, and its
            # tokens may live longer.
            before, until = max(before, _note_of(noted).before), max(until, noted.expires_at)
        await self._put(name, self._tombstone(_BEFORE.pack(before), now, until))

    async def _look_once(self, name: bytes) -> Note | None:
        """Ask, or wait for the answer to somebody's question that is on its way."""
        asked = await self._questions.ask(name, lambda: self._look(name))
        note, is_fresh = self._answers.recall(name, moment(self._clock))
        # Theirs may have been cancelled, or its answer may have become too old on the way.
        return note if asked or is_fresh else await self._look(name)

    async def _look(self, name: bytes) -> Note | None:
        asked_at = moment(self._clock)
        record = await self.store.load(name.hex())
        self._answers.put(name, asked_at, None if record is None else _note_of(record))
        return self._answers.recall(name, asked_at)[0]

    async def _put(self, name: bytes, tombstone: Record) -> None:
        asked_at = moment(self._clock)
        await self.store.end(name.hex(), tombstone)
        self._answers.put(name, asked_at, _note_of(tombstone))

    def _tombstone(self, tag: bytes, now: float, until: float) -> Record:
        """A note is a tombstone from now, whose tag says what it is about."""
        return Record(1, tag, {}, None, now, until, ended=True)

    def _lasts_until(self, now: float) -> float:
        return now + self._longest_life + _MARGIN_SECONDS

    # The names of notes are shaped like the keys of sessions, which is what stores take.

    def _names(self, handle: str, owner: str | None) -> tuple[bytes, ...]:
        """The names of the notes that are about a session."""
        name = self._name_of_session(handle)
        return (name,) if owner is None else (name, self._name_of_owner(owner))

    def _name_of_session(self, handle: str) -> bytes:
        return sha256(self._of_session + handle.encode()).digest()

    def _name_of_owner(self, owner: str) -> bytes:
        return sha256(self._of_owner + owner.encode()).digest()


def _note_of(record: Record) -> Note:
    if record.tag == ROTATED:
        return Note(inf, Ending(record.created_at, goes_on=True))
    return Note(_BEFORE.unpack(record.tag)[0], Ending(record.created_at))
