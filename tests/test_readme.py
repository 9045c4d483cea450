"""What the documents show works: the README's application, and each example."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from asgi_client import Browser
from holdfast.cli import main

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOLDFAST_STORE", "HOLDFAST_KEYS"):
        monkeypatch.delenv(name, raising=False)


async def test_the_application_in_the_readme() -> None:
    """Copied as it stands, it keeps a cart over a login and over a restart."""
    code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 25
    first: dict[str, Any] = {}
    exec(code, first)
    browser = Browser(first["app"])
    await browser.get("/add")
    await browser.get("/login")
    restarted: dict[str, Any] = {}
    exec(code, restarted)
    browser.app = restarted["app"]
    assert json.loads((await browser.get("/add")).body) == {"cart": ["tea", "tea"], "visits": 2}
    assert {"holdfast.db", "holdfast.keys"} <= set(os.listdir())


def test_the_shop_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's way through it."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.delitem(sys.modules, "examples.shop", raising=False)
    from examples.shop import app

    with TestClient(app, base_url="https://shop.example") as visitor:
        assert "set-cookie" not in visitor.get("/").headers
        visitor.post("/add")
        visitor.post("/login")
        page = visitor.post("/add").text
        assert page.count("<li>tea</li>") == 2
        assert "Hello user-42" in page
        assert "nothing yet" in visitor.post("/logout").text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_documents_lead_somewhere(page: Path) -> None:
    """A link to a page that is not there is a defect."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_command_explains_itself() -> None:
    """`holdfast --help` names each command, and an unknown one is an error with status 2."""
    result = subprocess.run([sys.executable, "-m", "holdfast.cli", "--help"], capture_output=True, text=True)
    assert result.returncode == 0
    for command in ("demo", "keys", "migrate", "provision"):
        assert command in result.stdout
    with pytest.raises(SystemExit) as caught:
        main(["nonsense"])
    assert caught.value.code == 2
