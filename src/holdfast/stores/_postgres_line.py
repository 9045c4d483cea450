"""One connection to PostgreSQL, and one statement on it, with a time limit for the whole.

psycopg's cursors are passed by: each statement goes to libpq, in psycopg's own wrapping of it (`psycopg.pq`), as the
unnamed statement of the extended protocol, with binary parameters and answers. That is a single round trip and a
transaction of its own, it leaves nothing behind in the server's session, and waiting can end at any time in either
colour. (psycopg's asyncio connection, when it is cancelled, first asks the server to cancel too, and waits for it.)
`_postgres_prepared` has the other way, where statements may be left behind.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable, Generator, Sequence
from math import ceil
from time import monotonic
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg import conninfo, pq

T = TypeVar("T")

READ, WRITE = 1, 4  # as in poll(2)

_READ_ONLY = b"25006"

# What a connection waits for: the number of its socket, which may change while it connects, and READ or WRITE.
# What comes back is what it may do.
Steps = Generator[tuple[int, int], int, T]


class Statement(NamedTuple):
    """SQL with the types of its parameters, as numbers of pg_type; and its name, if it is worth preparing."""

    text: bytes
    types: tuple[int, ...]
    name: bytes = b""


def connecting(arguments: dict[str, Any]) -> Steps[pq.abc.PGconn]:
    """Connect with libpq's arguments. Raises psycopg.OperationalError."""
    connection = pq.PGconn.connect_start(conninfo.make_conninfo(**arguments).encode())
    while True:
        if connection.status == pq.ConnStatus.BAD:
            break
        state = connection.connect_poll()
        if state == pq.PollingStatus.OK:
            connection.nonblocking = 1
            return connection
        if state == pq.PollingStatus.READING:
            yield connection.socket, READ
        elif state == pq.PollingStatus.WRITING:
            yield connection.socket, WRITE
        else:
            break
    text = connection.error_message.decode(errors="replace").strip()
    connection.finish()
    # libpq does not hand on the error's code when it cannot connect.
    is_crowded = "too many" in text or "connection slots" in text
    raise (psycopg.errors.TooManyConnections if is_crowded else psycopg.OperationalError)(text)


def asking(
    connection: pq.abc.PGconn, statement: Statement, values: Sequence[bytes | None]
) -> Steps[pq.abc.PGresult]:
    """Send a statement and return its answer, which may be an error. Raises psycopg.OperationalError."""
    formats = (1,) * len(values)
    connection.send_query_params(statement.text, values, statement.types, formats, 1)
    return answering(connection)


def answering(connection: pq.abc.PGconn) -> Steps[pq.abc.PGresult]:
    """Finish sending, and return the answer as `asking` does."""
    while connection.flush():
        ready = yield connection.socket, READ | WRITE
        if ready & READ:
            connection.consume_input()
    answer = None
    while True:
        while connection.is_busy():
            yield connection.socket, READ
            connection.consume_input()
        further = connection.get_result()
        if further is None:
            break
        answer = further
    if answer is None:
        raise psycopg.OperationalError("the connection to PostgreSQL is lost")
    if answer.error_field(pq.DiagnosticField.SQLSTATE) == _READ_ONLY:
        # It leads to what is no primary any more, or never was: the next statement finds the way anew.
        connection.finish()
    return answer


def check(answer: pq.abc.PGresult) -> pq.abc.PGresult:
    """The answer, if it is none of an error. Raises psycopg's error of its code."""
    if answer.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
        return answer
    code = answer.error_field(pq.DiagnosticField.SQLSTATE)
    text = answer.error_message.decode(errors="replace").strip()
    if code is None:
        raise psycopg.OperationalError(text or "the connection to PostgreSQL is lost")
    try:
        kind = psycopg.errors.lookup(code.decode())
    except KeyError:
        kind = (
            psycopg.OperationalError
            if code.startswith((b"08", b"53", b"57", b"58"))
            else psycopg.DatabaseError
        )
    raise kind(text)


def is_ready(connection: pq.abc.PGconn | None) -> bool:
    """Whether it is connected, with nothing to be read, which could only be its end.

    Nobody has told of that: a frozen instance hears nothing, and the request that woke it comes first.
    """
    return (
        connection is not None
        and connection.status == pq.ConnStatus.OK
        and connection.transaction_status == pq.TransactionStatus.IDLE
        and not _ready(connection.socket, READ, 0)
    )


def drive(steps: Steps[T], ends_at: float) -> T:
    """Take the steps, waiting here and now. Raises TimeoutError when it is `ends_at` by time.monotonic."""
    try:
        place, wanted = next(steps)
        while True:
            left = ends_at - monotonic()
            if left <= 0 or not (ready := _ready(place, wanted, left)):
                raise _late()
            place, wanted = steps.send(ready)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration does not carry T
    finally:
        steps.close()


async def drive_awaited(steps: Steps[T], ends_at: float) -> T:
    """The same on the running event loop."""
    loop = asyncio.get_running_loop()
    try:
        place, wanted = next(steps)
        while True:
            turn: asyncio.Future[int] = loop.create_future()
            timer = loop.call_later(ends_at - monotonic(), _wake, turn, 0)
            if wanted & READ:
                loop.add_reader(place, _wake, turn, READ)
            if wanted & WRITE:
                loop.add_writer(place, _wake, turn, WRITE)
            try:
                ready = await turn
            finally:
                timer.cancel()
                if wanted & READ:
                    loop.remove_reader(place)
                if wanted & WRITE:
                    loop.remove_writer(place)
            if not ready:
                raise _late()
            place, wanted = steps.send(ready)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration does not carry T
    finally:
        steps.close()


async def found(arguments: dict[str, Any], ends_at: float) -> dict[str, Any]:
    """The arguments with the addresses of the host, which libpq would look up without letting the loop go on."""
    host, port = arguments["host"], arguments["port"]
    if host.startswith(("/", "@")) or ":" in host or host.replace(".", "").isdigit():
        return arguments  # a socket's directory, or an address
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(ends_at - monotonic()):
            places = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise psycopg.OperationalError(f"no address is found for {host}: {error}") from error
    addresses = list(dict.fromkeys(str(place[4][0]) for place in places))
    hosts = ",".join([host] * len(addresses))
    return arguments | {"host": hosts, "hostaddr": ",".join(addresses), "port": port}


def _late() -> TimeoutError:
    return TimeoutError("no answer from PostgreSQL in time")


def _wake(turn: asyncio.Future[int], ready: int) -> None:
    if not turn.done():
        turn.set_result(ready)


def _poll(place: int, wanted: int, seconds: float) -> int:
    poll = select.poll()
    poll.register(place, wanted)
    events = poll.poll(ceil(seconds * 1000))
    # A failure is told as something to be read: reading will say which.
    return (events[0][1] & WRITE or READ) | (READ if events[0][1] & ~WRITE else 0) if events else 0


def _select(place: int, wanted: int, seconds: float) -> int:
    reading, writing = [place] if wanted & READ else [], [place] if wanted & WRITE else []
    readable, writable, _ = select.select(reading, writing, [], seconds)
    return (READ if readable else 0) | (WRITE if writable else 0)


_ready: Callable[[int, int, float], int] = _poll if hasattr(select, "poll") else _select
