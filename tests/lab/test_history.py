"""What happened is kept, in memory and in a file, and can be read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.lab.history import History, load


def test_events_are_kept_in_order() -> None:
    """An event without a time of its own happened now, counted from the start of the run."""
    times = iter([100.0, 101.5, 103.0])
    history = History(clock=lambda: next(times))
    history.emit({"kind": "instance", "instance": "i1", "what": "start"})
    history.emit({"kind": "request", "t0": 0.5, "t1": 0.7})
    history.emit({"kind": "instance", "t": 2.0, "what": "ready"})
    assert [event.get("t") for event in history.events] == [1.5, None, 2.0]
    assert history.now() == 3.0


def test_a_file_holds_the_same_events(tmp_path: Path) -> None:
    """What was emitted is what is loaded."""
    path = tmp_path / "history.jsonl"
    with History(path) as history:
        history.emit({"kind": "request", "t0": 0.5, "t1": 0.7, "values": {"a": "ü"}})
        history.emit({"kind": "instance", "what": "kill"})
    history.emit({"kind": "instance", "what": "late"})
    assert load(path) == history.events[:2]


def test_the_callers_event_is_left_alone() -> None:
    """The time is added to a copy."""
    event = {"kind": "instance"}
    History().emit(event)
    assert event == {"kind": "instance"}


def test_a_file_that_was_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """A run that was killed leaves half a line."""
    path = tmp_path / "history.jsonl"
    path.write_text('{"kind":"instance","t":1}\n{"kind":"inst')
    assert load(path) == [{"kind": "instance", "t": 1}]


@pytest.mark.parametrize("line", ["{nonsense}", "[]", '{"t": 1}'])
def test_a_file_that_is_no_history_is_refused(tmp_path: Path, line: str) -> None:
    """The error names the line."""
    path = tmp_path / "history.jsonl"
    path.write_text('{"kind":"instance","t":1}\n' + line + "\n")
    with pytest.raises(ValueError, match="line 2"):
        load(path)
