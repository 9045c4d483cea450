"""What `holdfast migrate` says while it runs: whole lines, whoever says them, and how far it has come."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock

from ..errors import HoldfastError, StoreError
from .provision import _secrets

# Without a terminal a line is enough now and then.
_LINE_EVERY_SECONDS = 5.0

_LONGEST_REASON = 600


class Teller:
    """Prints whole lines, from any number of threads, in which no secret of these URLs appears."""

    def __init__(self, *urls: str) -> None:
        self._secrets = [secret for url in urls for secret in _secrets(url)]
        self._turn = Lock()
        self._waited_at: float | None = None

    def tell(self, handle: str, what: str) -> None:
        """Say something of a session, on standard output."""
        with self._turn:
            print(f"{handle} {self._shown(what)}", flush=True)

    def note(self, text: str) -> None:
        """Say something of the run, on standard error."""
        with self._turn:
            print(self._shown(text), file=sys.stderr, flush=True)

    def waiting(self, error: StoreError, seconds: float) -> None:
        """Say now and then what is waited for, and for how many seconds yet."""
        with self._turn:
            now = time.monotonic()
            if self._waited_at is not None and now - self._waited_at < _LINE_EVERY_SECONDS:
                return
            self._waited_at = now
        self.note(f"{reason(error)}: trying again for another {seconds:.0f} s")

    def _shown(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def reason(error: HoldfastError) -> str:
    """What went wrong in one line: the store's words and those of its client. There may be secrets in it."""
    words, cause = str(error), str(error.__cause__ or "")
    if cause not in words:
        words = f"{words}: {cause}"
    return textwrap.shorten(words, _LONGEST_REASON, placeholder=" ...")


class Lines:
    """Progress as plain lines on standard error. `total` is about how many there are, `done` of them already."""

    def __init__(self, total: int, done: int) -> None:
        self._total = total
        self._done = done
        self._said_at = time.monotonic()

    def __enter__(self) -> Callable[[int], None]:
        return self._seen

    def __exit__(self, *_: object) -> None:
        pass

    def _seen(self, number: int) -> None:
        self._done += number
        now = time.monotonic()
        if now - self._said_at >= _LINE_EVERY_SECONDS:
            self._said_at = now
            print(f"{self._done} of about {max(self._total, self._done)}", file=sys.stderr, flush=True)


class Bar:
    """The same as a bar. Raises ImportError where the lab's extra, which draws it, is not installed."""

    def __init__(self, total: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            # Above the bar, if it is on the same terminal; otherwise it goes to where somebody has sent it.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._progress.add_task("", total=total, completed=done)

    def __enter__(self) -> Callable[[int], None]:
        self._progress.start()
        return lambda number: self._progress.advance(self._task, number)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def progress(total: int, done: int) -> Lines | Bar:
    """A bar where somebody looks on and it can be drawn, lines otherwise."""
    if sys.stderr.isatty():
        with suppress(ImportError):
            return Bar(total, done)
    return Lines(total, done)
