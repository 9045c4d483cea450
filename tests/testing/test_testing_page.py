"""The examples on the page about testing run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands there, assertions and all."""
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLES[number], f"example {number}", "exec"), {})


def test_there_is_an_example_for_each() -> None:
    """The page shows every name that it is about."""
    for name in ("FakeClock", "Lagging", "Flaky", "Losing", "conformance"):
        assert any(f"{name}" in example for example in EXAMPLES)
