"""What a person sees while the trials run: a bar a strategy in a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from .report import broken, conceded

if TYPE_CHECKING:
    from .strategies import Strategy
    from .trial import Trial


class Watch(Protocol):
    """Is told of each trial's beginning, progress (from 0 to 1) and end. A context manager."""

    def __enter__(self) -> Watch: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def begin(self, strategy: Strategy) -> Callable[[float], None]: ...
    def end(self, trial: Trial) -> None: ...


def watch(strategies: Sequence[Strategy], seconds: float, console: Console) -> Watch:
    """Bars if the console is a terminal, lines if not."""
    return Bars(strategies, console) if console.is_terminal else Lines(seconds, console)


class Bars:
    """All strategies below each other: the finished, the running one with its time left, the waiting."""

    def __init__(
        self, strategies: Sequence[Strategy], console: Console, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24, complete_style="cyan", finished_style="cyan"),
            TextColumn("{task.fields[status]}", markup=False),
            console=console,
            refresh_per_second=4,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {
            strategy.name: self._progress.add_task(strategy.name, total=1.0, status="waits")
            for strategy in strategies
        }

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, strategy: Strategy) -> Callable[[float], None]:
        """Start this strategy's bar, and return what moves it."""
        task, started = self._tasks[strategy.name], self._clock()
        self._progress.update(task, status="starts")

        def move(fraction: float) -> None:
            spent = self._clock() - started
            left = spent / fraction - spent if fraction > 0 else 0.0
            status = f"{left:.0f} s left" if 0 < fraction < 1 else "last look" if fraction else "starts"
            self._progress.update(task, completed=fraction, status=status)

        return move

    def end(self, trial: Trial) -> None:
        """Fill the bar, and say beside it how the trial went."""
        status = f"{trial.row['instances_killed']} killed, {_promises(trial)}"
        self._progress.update(self._tasks[trial.row["name"]], completed=1.0, status=status)


class Lines:
    """One line when a trial begins, one when it ends: for logs."""

    def __init__(self, seconds: float, console: Console) -> None:
        self._seconds = seconds
        self._console = console

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def begin(self, strategy: Strategy) -> Callable[[float], None]:
        """Say that it begins; progress is not told."""
        self._say(f"{strategy.name}: runs for {self._seconds:g} s")
        return lambda fraction: None

    def end(self, trial: Trial) -> None:
        """Say how it went."""
        row = trial.row
        done = f"{row['requests']:,} requests, {row['instances_killed']} processes killed"
        self._say(f"{row['name']}: {done}, {_promises(trial)}")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _promises(trial: Trial) -> str:
    if count := broken(trial.row):
        return f"{count:,} promises broken"
    count = conceded(trial.row)
    return f"{count:,} × what it does not promise" if count else "every promise kept"
