"""What an instance remembers of the notes in a store, so that it need not ask for each request, nor twice at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

from .._colour import by_hand
from ..copies.local import Moment

if TYPE_CHECKING:
    import asyncio

# How many names an instance remembers an answer about at most: some 220 bytes each, 44 MB in all (see docs/tokens.md).
# It has so many only if it was asked about so many in twice the time for which an answer counts.
_MOST_NAMES = 200_000
# How many notes it remembers beyond that time: what is over stays over.
_MOST_NOTES = 10_000

# Names are SHA-256 digests: half of one tells them apart as well, in less memory.
_NAME_BYTES = 16


class Ending(NamedTuple):
    """How a session has ended: noted when (epoch), and whether it goes on under another identity."""

    at: float
    goes_on: bool = False


class Note(NamedTuple):
    """What is noted under a name: sessions that began before that moment are over, and how."""

    before: float
    ending: Ending


class Answers:
    """The answers of the last `within` seconds, and the notes that were met.

    Threads share it without a lock: each step is one that the others see whole, an answer is one entry with the note
    that came with it, and whatever is missing is asked for again.
    """

    def __init__(self, within: float) -> None:
        self._within = within
        # Two dictionaries, of which the older goes as a whole: that costs no more for many names than for few.
        self._answers: tuple[dict[bytes, _Answer], dict[bytes, _Answer]] = ({}, {})
        self._begun = Moment(-inf, -inf)  # when the newer of them was
        # Apart, so that a slow answer from before an ending cannot cover up the ending.
        self._notes: OrderedDict[bytes, Note] = OrderedDict()

    def recall(self, name: bytes, now: Moment) -> tuple[Note | None, bool]:
        """The note under this name, as far as it is known, and whether the store's answer about it still counts."""
        name = name[:_NAME_BYTES]
        newer, older = self._answers
        answer = newer.get(name) or older.get(name)
        note = self._notes.get(name)
        if answer is None:
            return note, False
        return note or answer[2], self._is_young(answer[0], answer[1], now)

    def put(self, name: bytes, asked_at: Moment, note: Note | None) -> None:
        """Remember what the store has said, or was told, at that moment."""
        name = name[:_NAME_BYTES]
        if note is not None:
            _remember(self._notes, name, note, _MOST_NOTES)
        newer, _ = self._answers
        if len(newer) >= _MOST_NAMES // 2 or not self._is_young(*self._begun, asked_at):
            self._begun = asked_at
            self._answers = (newer := {}), self._answers[0]
        newer[name] = (*asked_at, note)

    def __len__(self) -> int:
        return sum(map(len, self._answers))

    def _is_young(self, wall: float, steady: float, now: Moment) -> bool:
        return 0 <= now.wall - wall <= self._within and now.steady - steady <= self._within


# When the store was asked, by both clocks, and the note that it had.
_Answer = tuple[float, float, Note | None]


class Questions:
    """Lets one question for each name be on its way in an event loop, and one among the threads of sync callers."""

    def __init__(self) -> None:
        self._asked: dict[tuple[Any, bytes], _Asked | _AskedByHand] = {}

    async def ask(self, name: bytes, ask: Callable[[], Awaitable[object]]) -> bool:
        """Ask, or wait until whoever has asked already is answered; whether it was asked.

        Raises what asking raises, to all who wait. They hear nothing from one who was cancelled.
        """
        question = _AskedByHand() if by_hand() else _Asked()
        place = (question.where, name)
        first = self._asked.setdefault(place, question)
        if first is not question:
            await first.wait()
            if first.error is not None:
                raise first.error
            return False
        try:
            await ask()
        except Exception as error:
            question.error = error
            raise
        finally:
            del self._asked[place]
            question.answered.set()
        return True


class _Asked:
    """A question on its way, for those on the same event loop who wait for its answer."""

    def __init__(self) -> None:
        import asyncio  # where it is loaded already

        self.where: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.answered = asyncio.Event()
        self.error: Exception | None = None

    async def wait(self) -> None:
        await self.answered.wait()


class _AskedByHand:
    """A question on its way, for those who wait for its answer in other threads."""

    where = None

    def __init__(self) -> None:
        self.answered = Event()
        self.error: Exception | None = None

    async def wait(self) -> None:
        self.answered.wait()  # as long as the store has for its answer


def _remember(memory: OrderedDict[bytes, Note], name: bytes, note: Note, most: int) -> None:
    # Each step is one that other threads see whole, and between any two of them another may throw the entry out.
    known = memory.get(name)
    memory[name] = known if known is not None and known.before > note.before else note
    with suppress(KeyError):
        memory.move_to_end(name)
        if len(memory) > most:
            memory.popitem(last=False)
