"""What one request makes of a session that travels: once, or again upon what another request has been faster with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from .. import writes
from ..record import Record
from ..work import Work
from . import Secrecy
from .placing import Placed


class Draft:
    """The session after a request: `record` with all of its values, and `placed`, its token and what it leaves behind.

    `seen` are the values that the request was shown, `held` the names of those that the server has; `place` makes a
    token of a record, given those names and the mark that it bears.
    """

    def __init__(
        self,
        successor: Record,
        seen: Mapping[str, bytes],
        work: Work,
        *,
        private: Secrecy,
        place: Callable[[Record, Collection[str], int | None], Placed],
        held: Collection[str],
        mark: int | None,
    ) -> None:
        self._shown = seen
        self.seen = frozenset(seen)  # the names that this request, or what it goes on from, is about
        self._work = work
        self._private = private
        self._place = place
        changed = work.unset.union(work.set)
        # Where no value has changed, it is about more than values.
        self.travels = not changed or not all(name in private for name in changed)
        self.record = successor._replace(values=writes.applied(seen, work))
        self.placed = place(self.record, held, mark)

    def upon(self, held: Mapping[str, bytes], mark: int | None) -> None:
        """Make it anew, where the server holds something else by now than what the request was shown.

        All that is held counts, and it alone where values are private; what was altered is altered anew. Of what
        travels nobody knows anything newer than the request does.
        """
        values = {name: data for name, data in self._shown.items() if name not in self._private}
        values.update(held)
        self.seen |= held.keys()
        self._work = self._work.on(values)
        self.record = self.record._replace(values=writes.applied(values, self._work))
        self.placed = self._place(self.record, held, mark)

    def without_mark(self) -> None:
        """Make the token anew, as one that knows of no record on the server."""
        self.placed = self._place(self.record, (), None)
