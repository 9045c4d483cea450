"""The connections of one event loop to Redis, with as little around an exchange as it needs.

They are redis-py's: it connects, does TLS, signs in, and parses the answers. Only its `send_packed_command` and
`read_response` are passed by, and a timer for each exchange: together these took 14 of the 100 µs that loading
takes. Refused: to take the answers from the transport itself, without asyncio's streams. That would save a tenth
of a bare `GET` on a request that writes, for half as much code again in the place of what redis-py does well.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio

from ._loop_pool import LoopPool


class LinePool(LoopPool):
    """At most `size` lines, the latest used first.

    An exchange has its seconds in all: to wait for a line, to connect it, and for the answers.
    """

    def __init__(self, make: Callable[[], redis.asyncio.Connection], size: int) -> None:
        super().__init__(lambda: Line(make()), size, (OSError, redis.RedisError))
        self._loop = asyncio.get_running_loop()
        self._is_closed = False

    async def release(self, connection: Any) -> None:
        """Take a line back; nobody else closes it once the pool is closed."""
        if self._is_closed:
            await connection.disconnect(nowait=True)
        await super().release(connection)

    async def aclose(self) -> None:
        """Close the lines: those in use when they are given back."""
        self._is_closed = True
        await super().aclose()

    async def let_go(self) -> None:
        """The same without waiting until they are closed."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)
        await self.aclose()

    async def ask(self, packed: bytes, answers: int, seconds: float) -> list[Any]:
        """Send packed commands together and return their answers, or raise the first error among them."""
        deadline = self._loop.time() + seconds
        try:
            if self._idle and not self._turns.locked() and self._idle[-1].is_ready():
                await self._turns.acquire()  # does not wait: to limit its time would cost more than to send
                line: Line = self._idle.pop()
            else:
                async with asyncio.timeout_at(deadline):
                    line = await self.get_connection()
            try:
                return await line.ask(packed, answers, deadline)
            except BaseException:
                # Whatever still comes on it would be taken for the answer to another command.
                await line.disconnect(nowait=True)
                raise
            finally:
                await self.release(line)
        except TimeoutError as error:
            raise redis.TimeoutError(f"no answer from Redis within {seconds:.4g} seconds") from error


class Line:
    """A connection for one exchange at a time, with what a `LoopPool` uses of redis-py's."""

    def __init__(self, connection: redis.asyncio.Connection) -> None:
        self._connection: Any = connection  # some of what is used of it has no public name
        self._loop = asyncio.get_running_loop()
        self._news: Any = None
        self._deadline: float | None = None  # of the exchange that goes on
        self._timer: asyncio.TimerHandle | None = None
        self._is_late = False

    @property
    def is_connected(self) -> bool:
        return bool(self._connection.is_connected)

    @property
    def _reader(self) -> Any:
        return self._connection._reader

    @property
    def _writer(self) -> Any:
        return self._connection._writer

    def is_ready(self) -> bool:
        """Whether it is known to be connected, with nothing to be read, which could only be its end.

        As `LoopPool` looks for news, but prepared once: this comes before each exchange.
        """
        writer = self._writer
        if writer is None or writer.is_closing() or self._news is None:
            return False
        return not self._news.poll(0)

    async def connect(self) -> None:
        """Connect, and be ready for commands. Raises redis-py's errors."""
        await self._connection.connect()
        self._news = None
        if hasattr(select, "poll"):
            self._news = select.poll()
            self._news.register(self._writer.get_extra_info("socket").fileno(), select.POLLIN)

    async def disconnect(self, nowait: bool = False) -> None:
        """Close the connection; without `nowait`, wait until that is done."""
        await self._connection.disconnect(nowait=nowait)

    async def ask(self, packed: bytes, answers: int, deadline: float) -> list[Any]:
        """Send packed commands and return their answers, or raise the first error among them.

        `deadline` is by the loop's clock: TimeoutError if there is no answer by then. After any error the
        connection has to be closed.
        """
        self._deadline, self._is_late = deadline, False
        # A timer outlives many exchanges: to start and cancel one for each costs as much as to send a command.
        if self._timer is None or self._timer.when() > deadline:
            self._watch(deadline)
        parser, received = self._connection._parser, []
        try:
            self._writer.write(packed)
            for _ in range(answers):
                answer = await parser.read_response(disable_decoding=True)
                if isinstance(answer, redis.ResponseError):
                    raise answer
                received.append(answer)
        except (OSError, redis.ConnectionError) as error:
            if self._is_late:
                raise TimeoutError from error
            raise redis.ConnectionError(f"the connection to Redis is lost: {error}") from error
        finally:
            self._deadline = None
        return received

    def _watch(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._deadline is None:
            return  # the next to ask starts another
        if self._loop.time() < self._deadline:
            self._watch(self._deadline)
        elif (writer := self._writer) is not None:
            self._is_late = True
            writer.transport.abort()  # which ends the waiting
