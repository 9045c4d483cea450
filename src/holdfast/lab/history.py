"""What happened in a run, in the order in which it became known: every request, and every instance's fate.

The checker and the report read nothing else. An event is a plain dict, so that a history is a file of JSON lines:

- `{"kind": "instance", "t", "instance", "what", "in_flight"}`, with `what` one of start, ready, freeze, thaw,
  terminate, kill, exit (which also has "warnings": how often it has logged one, by kind);
- `{"kind": "server", "t", "server", "what"}`, where a trial also disturbs the servers that a strategy uses;
- `{"kind": "request", "t0", "t1", "ms", "browser", "tab", "session", "op", "key", "value", "outcome", "status",
  "instance", "user", "values"}`. `t0` is when the request was sent, `t1` when its answer was *delivered* to the
  browser, which may be later than when it arrived; `ms` is the time until it arrived. `session` counts a browser's
  sessions. `outcome` is "ok" (2xx: acknowledged), "refused" (any other status; 5xx may have happened all the same)
  or "network" (no answer: it may have happened, or may yet happen). A login's `value` is the user. `"home"` is there
  too where the instance told which home its session was read from.

Times are seconds since the start of the run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

Event = dict[str, Any]


class History:
    """Collects events in memory and, if a path is given, in a file of JSON lines.

    `clock` gives seconds that never go backwards; the run starts when the history is made.
    """

    def __init__(
        self, path: Path | str | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.events: list[Event] = []
        self._clock = clock
        self._start = clock()
        self._file: IO[str] | None = None
        if path is not None:
            self._file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115 - until close()

    def now(self) -> float:
        """Seconds since the start of the run."""
        return self._clock() - self._start

    def emit(self, event: Event) -> None:
        """Append an event. One that carries no time of its own happened now."""
        if "t" not in event and "t0" not in event:
            event = {**event, "t": round(self.now(), 6)}
        self.events.append(event)
        if self._file is not None:
            self._file.write(json.dumps(event, separators=(",", ":")) + "\n")

    def close(self) -> None:
        """Finish the file. Events emitted later are kept in memory only."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(path: Path | str) -> list[Event]:
    """The events of a history's file.

    Raises `ValueError`, naming the line, if one is not an event. A last line that was cut short, as a run that
    was killed leaves it, is left out.
    """
    events: list[Event] = []
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            event = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        if not isinstance(event, dict) or "kind" not in event:
            raise ValueError(f"{path}, line {number}: not an event")
        events.append(event)
    return events
