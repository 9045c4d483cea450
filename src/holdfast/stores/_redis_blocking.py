"""The connections of sync callers to Redis, with as little around an exchange as it needs.

They are redis-py's: it connects, does TLS and signs in. What it does around each command on a blocking connection
takes longer than the command: a lock, a poll object, two counters and an event for its pool's sake, wrappers for
retries. Here a connection is taken from a list, looked at, written to and read from.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import hiredis
import redis

_NOT_ENOUGH = object()
_READ_BYTES = 32 * 1024

# To tell a socket its time limit is a system call. One that is off by so little is left.
_SLACK_SECONDS = 0.01


class BlockingPool:
    """As many lines as threads use at once, the latest used first. Safe over a fork.

    `make` makes a connection that is to be connected by a moment of the monotonic clock, as `in_time` has them. An
    exchange has its seconds in all: to connect, and for the answers.
    """

    def __init__(self, make: Callable[[float], redis.Connection]) -> None:
        self._make = make
        self._idle: list[Line] = []
        self._pid = os.getpid()

    def ask(self, packed: bytes, answers: int, seconds: float) -> list[Any]:
        """Send packed commands together and return their answers, or raise the first error among them."""
        ends_at = monotonic() + seconds
        if self._pid != os.getpid():
            # The parent's: redis-py closes them in this process only, and does not end them.
            self._idle, self._pid = [], os.getpid()
        idle = self._idle
        try:
            line = _ready(idle) or Line(self._make(ends_at))
            try:
                received = line.ask(packed, answers, ends_at)
            except BaseException:
                # Whatever still comes on it would be taken for the answer to another command.
                line.close()
                raise
        except TimeoutError as error:
            raise redis.TimeoutError(f"no answer from Redis within {seconds:.4g} seconds") from error
        except OSError as error:
            raise redis.ConnectionError(f"the connection to Redis is lost: {error}") from error
        idle.append(line)
        return received

    def close(self) -> None:
        """Close the connections that are not in use."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()


class Line:
    """A connection for one exchange at a time. Raises redis-py's errors if it cannot be made."""

    def __init__(self, connection: Any) -> None:
        connection.connect()
        self._connection = connection  # some of what is used of it has no public name
        self._sock = connection._sock = connection._sock.plain
        self._limit: float = self._sock.gettimeout()
        self._reader: Any = hiredis.Reader(
            protocolError=redis.InvalidResponse,
            replyError=connection._parser.parse_error,
            notEnoughData=_NOT_ENOUGH,
        )
        self._buffer = bytearray(_READ_BYTES)
        self._news: Any = None
        if hasattr(select, "poll"):
            self._news = select.poll()
            self._news.register(self._sock.fileno(), select.POLLIN)

    def is_ready(self) -> bool:
        """Whether there is nothing to be read, which could only be the connection's end."""
        news = select.select([self._sock], [], [], 0)[0] if self._news is None else self._news.poll(0)
        return not (news or self._reader.has_data())

    def ask(self, packed: bytes, answers: int, ends_at: float) -> list[Any]:
        """Send packed commands and return their answers, or raise the first error among them.

        `ends_at` is by the monotonic clock: TimeoutError if there is no answer by then. After any error the
        connection has to be closed.
        """
        sock, reader, buffer, received = self._sock, self._reader, self._buffer, []
        self._wait_until(ends_at)
        sock.sendall(packed)
        for _ in range(answers):
            while (answer := reader.gets(False)) is _NOT_ENOUGH:
                self._wait_until(ends_at)
                size = sock.recv_into(buffer)
                if not size:
                    raise ConnectionResetError("Redis has closed it")
                reader.feed(buffer, 0, size)
            if isinstance(answer, Exception):
                raise answer
            received.append(answer)
        return received

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()

    def _wait_until(self, ends_at: float) -> None:
        """Let the next step on the socket take no longer."""
        left = ends_at - monotonic()
        if left <= 0:
            raise TimeoutError
        if abs(self._limit - left) > _SLACK_SECONDS:
            self._sock.settimeout(left)
            self._limit = left


def in_time(kind: type[redis.Connection]) -> Callable[..., redis.Connection]:
    """A class of connections like `kind`, to be made with a further argument `ends_at`, by the monotonic clock.

    Connecting ends by then, with all that belongs to it: each address of the host, TLS, and signing in, however many
    answers that takes and however many pieces they come in. Only looking the host's name up takes its own time.
    """
    return type(kind.__name__, (_InTime, kind), {})


class _InTime:
    """What `in_time` puts before a class of redis-py's connections: they tell no time limit but what is left."""

    def __init__(self, *, ends_at: float, **arguments: Any) -> None:
        self._ends_at = ends_at
        super().__init__(**arguments)

    def _left(self) -> float:
        return _left(self._ends_at)

    def _leave(self, seconds: float | None) -> None:
        """Nobody else says how long it takes."""

    socket_timeout = property(_left, _leave)
    socket_connect_timeout = property(_left, _leave)

    def _connect(self) -> _SocketInTime:
        sock = super()._connect()  # type: ignore[misc]  # of the class that this one is put before
        return _SocketInTime(sock, self._ends_at)


class _SocketInTime:
    """A socket while redis-py signs in over it: each step takes no longer than what is left. `plain` is without."""

    def __init__(self, plain: Any, ends_at: float) -> None:
        self.plain = plain
        self._ends_at = ends_at

    def recv(self, *arguments: Any) -> Any:
        self.plain.settimeout(_left(self._ends_at))
        return self.plain.recv(*arguments)

    def recv_into(self, *arguments: Any) -> Any:
        self.plain.settimeout(_left(self._ends_at))
        return self.plain.recv_into(*arguments)

    def sendall(self, *arguments: Any) -> Any:
        self.plain.settimeout(_left(self._ends_at))
        return self.plain.sendall(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


def _left(ends_at: float) -> float:
    left = ends_at - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _ready(idle: list[Line]) -> Line | None:
    """Take the latest used line that is good still; those that are not are closed."""
    while True:
        try:
            line = idle.pop()  # another thread may have taken the last one
        except IndexError:
            return None
        if line.is_ready():
            return line
        line.close()
