"""Statements that are prepared on the server: parsed once for each connection, and as a rule planned once.

A prepared statement stands in the server's session, under a name. That is for connections of the store's own, straight
to the server. But a pooler may be there after all, and hand the statement's use to another session; somebody may have
dropped it; or the table's columns have other types now than when it was prepared. What the server says then, it says
before it has executed anything: so the statement is sent once more, unprepared, and a change is never made twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import pq

from ._postgres_line import Statement, Steps, answering, asking

_NOT_THERE, _THERE_ALREADY = b"26000", b"42P05"
_OTHER_TYPES = b"0A000"


class Line:
    """A connection of the store's own, which knows what it has prepared; if it `prepares` at all."""

    def __init__(self, connection: pq.abc.PGconn, *, prepares: bool) -> None:
        self.connection = connection
        self._names: set[bytes] | None = set() if prepares else None

    def asking(self, statement: Statement, values: Sequence[bytes | None]) -> Steps[pq.abc.PGresult]:
        """Send a statement and return its answer, which may be an error. Raises psycopg.OperationalError."""
        if self._names is None or not statement.name:
            return asking(self.connection, statement, values)
        return self._asking_prepared(statement, values, self._names)

    def _asking_prepared(
        self, statement: Statement, values: Sequence[bytes | None], names: set[bytes]
    ) -> Steps[pq.abc.PGresult]:
        connection, name = self.connection, statement.name
        if name not in names:
            connection.send_prepare(name, statement.text, statement.types)
            answer = yield from answering(connection)
            if answer.status == pq.ExecStatus.COMMAND_OK:
                names.add(name)
            elif _code(answer) != _THERE_ALREADY:
                return answer
        if name in names:
            connection.send_query_prepared(name, values, (1,) * len(values), 1)
            answer = yield from answering(connection)
        code = _code(answer)
        if code not in (_NOT_THERE, _THERE_ALREADY, _OTHER_TYPES):
            return answer
        if code != _OTHER_TYPES:
            self._give_up(answer)
        answer = yield from asking(connection, statement, values)
        if code == _OTHER_TYPES:
            # A connection that prepares everything anew takes the place of this one.
            connection.finish()
        return answer

    def _give_up(self, answer: pq.abc.PGresult) -> None:
        """Prepare nothing more: this connection does not lead to one session of the server's."""
        self._names = None
        import logging  # slow to load, and rarely needed

        logging.getLogger("holdfast").warning(
            "a connection to PostgreSQL goes on without prepared statements, for it does not keep them "
            "(with a pooler in between, do not set prepared=true): %s",
            answer.error_message.decode(errors="replace").strip(),
        )


def _code(answer: pq.abc.PGresult) -> bytes | None:
    """The SQLSTATE of an error, and None of anything else."""
    return answer.error_field(pq.DiagnosticField.SQLSTATE)
