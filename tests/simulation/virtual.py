"""An event loop in virtual time, and processes on it that can be killed and frozen between any two steps.

Nothing sleeps and nothing is read from outside: what happens is a function of the program alone. A callback
belongs to the process in whose context it was scheduled; a killed process is never resumed, as by SIGKILL: no
`finally` and no `except CancelledError` of it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from typing import Any

_process: ContextVar[Process | None] = ContextVar("process", default=None)


class Process:
    """What callbacks can belong to: it runs, is frozen, or is dead for good."""

    def __init__(self) -> None:
        self.is_dead = False
        self.frozen_until = 0.0
        self.time_stood_still = (
            0.0  # how much less its steady clock shows: a suspended machine's does not run
        )

    @staticmethod
    def current() -> Process | None:
        """The process whose code is running."""
        return _process.get()

    def context(self) -> Context:
        """A context for what this process is to run."""
        context = copy_context()
        context.run(_process.set, self)
        return context


class _Call:
    """One scheduled callback."""

    __slots__ = ("args", "callback", "context", "is_off", "time")

    def __init__(
        self, time: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context
    ) -> None:
        self.time, self.callback, self.args, self.context = time, callback, args, context
        self.is_off = False

    def cancel(self) -> None:
        self.is_off = True

    def cancelled(self) -> bool:
        return self.is_off

    def when(self) -> float:
        return self.time


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs callbacks in the order of their times, then of their scheduling. Its time passes between them only."""

    def __init__(self) -> None:
        self._now = 0.0
        self._calls: list[tuple[float, int, _Call]] = []
        self._count = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self.errors: list[dict[str, Any]] = []

    def run(self, main: Coroutine[Any, Any, None], limit: float = 10_000.0) -> None:
        """Run until `main` is done. Raises what it raises, or RuntimeError if nothing can go on."""
        task = self.create_task(main)
        asyncio._set_running_loop(self)
        try:
            while not task.done():
                if not self._calls or self._now > limit:
                    raise RuntimeError("the simulation stands still")
                self._run_next()
        finally:
            self._abandon()
            asyncio._set_running_loop(None)
        task.result()

    def _abandon(self) -> None:
        """Let go of what was never finished, when nobody can be harmed by its `finally` any more."""
        for task in self._tasks:
            if not task.done():
                task.get_coro().close()  # type: ignore[union-attr]  # all of ours are coroutines
        for _, _, call in self._calls:
            for argument in call.args:
                if asyncio.iscoroutine(argument):
                    argument.close()

    def _run_next(self) -> None:
        time, _, call = heappop(self._calls)
        self._now = max(self._now, time)
        if call.is_off:
            return
        process = call.context.get(_process)
        if process is not None:
            if process.is_dead:
                return
            if process.frozen_until > self._now:
                self._push(process.frozen_until, call)
                return
        try:
            call.context.run(call.callback, *call.args)
        except Exception as error:
            self.call_exception_handler({"message": "a callback raised", "exception": error})

    def _push(self, time: float, call: _Call) -> None:
        self._count += 1
        heappush(self._calls, (time, self._count, call))

    # What asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        return self.call_at(self._now, callback, *args, context=context)

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        call = _Call(when, callback, args, copy_context() if context is None else context)
        self._push(when, call)
        return call

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None) -> Any:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # those of killed processes are
        self._tasks.append(task)  # kept to the end: collecting a killed one would run its code
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False
