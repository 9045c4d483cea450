"""The examples on the pages about stores run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "stores"
EXAMPLES = [
    pytest.param(example, id=f"{page.stem}-{number}")
    for page in sorted(PAGES.glob("*.md"))
    for number, example in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page says works as it stands there; its files are made in a directory of the test's."""
    monkeypatch.chdir(tmp_path)
    exec(compile(example.replace("sqlite:////tmp", f"sqlite:///{tmp_path}"), "example", "exec"), {})


def test_there_are_examples() -> None:
    """The pages are found."""
    assert len(EXAMPLES) >= 4
