"""The rotation of refresh tokens, as a state machine without I/O (OAuth 2.0 Security BCP, RFC 9700, 4.14.2).

A family of tokens begins at a sign-in. Its record counts generations: one refresh token of each is handed out, and
using the newest one advances the family. What may be done with a token follows from its generation alone:

    newest                      advance: the next generation is handed out
    the one before, in grace    repeat: the newest is handed out once more. A response was lost, or two tabs of one
                                client refreshed at the same time: both get the same generation, and neither is alone
    the one before, too late,   reuse: somebody else has had the token. The whole family ends, so that whoever stole
    or any older                it is out, and the owner signs in again
    later than the newest       lost: the store has gone back behind what it had acknowledged. The family ends

A repeat hands out no token of its own, so a family is a line and never a tree: whoever holds a copy of it has to use
the same tokens as the owner, and is found out as soon as one of the two is later than the other by more than the grace.
"""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

Verdict = Literal["advance", "repeat", "reuse", "lost"]

# The name of a family's state among the values of its record.
STATE = "\0refresh"

_STATE = struct.Struct(">Qd")


class State(NamedTuple):
    """Where a family is: its newest generation, from 1 on, and when that was first handed out (epoch)."""

    generation: int
    advanced_at: float

    def packed(self) -> bytes:
        """The state at rest."""
        return _STATE.pack(*self)

    @classmethod
    def of(cls, data: bytes) -> State:
        """What `packed` made the bytes of. Raises ValueError."""
        try:
            return cls(*_STATE.unpack(data))
        except struct.error as error:
            raise ValueError("these bytes are no state of a family") from error


def judge(state: State, presented: int, now: float, grace: float) -> Verdict:
    """What becomes of a refresh token of the `presented` generation at `now`; `grace` is in seconds, 0 is none.

    A clock that is behind the one of the instance that advanced the family is no reason to end it, and neither is a
    request that came before that and was held up.
    """
    if presented == state.generation:
        return "advance"
    if presented > state.generation:
        return "lost"
    if presented == state.generation - 1 and grace > 0 and now <= state.advanced_at + grace:
        return "repeat"
    return "reuse"


def advanced(state: State, now: float) -> State:
    """The state after the newest token was used."""
    return State(state.generation + 1, now)


def told(state: State, presented: int, now: float) -> str:
    """A token that has turned up, for the log: what was stolen is seldom as young as what was only late."""
    age = now - state.advanced_at
    return f"generation {presented} of {state.generation}, which is {age:.0f} seconds old"
