"""What docs/tokens.md and examples/traveller.py show works."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from asgi_client import Browser
from holdfast import Sessions, SessionTooLarge
from holdfast.asgi import SessionMiddleware
from holdfast.keyring import Keyring
from holdfast.tokens import Token

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "tokens.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOLDFAST_STORE", "HOLDFAST_KEYS", "ENDINGS"):
        monkeypatch.delenv(name, raising=False)


async def test_the_first_example() -> None:
    """Copied as it stands, it keeps a cart without a file or a server."""
    code: dict[str, Any] = {}
    exec(BLOCKS[0], code)
    browser = Browser(code["app"])
    await browser.get("/add")
    assert json.loads((await browser.get("/add")).body) == ["tea", "tea"]
    assert os.listdir() == []


@pytest.mark.parametrize("block", BLOCKS[1:], ids=range(1, len(BLOCKS)))
def test_the_other_tokens(block: str) -> None:
    """Each is one that an application can start with."""
    code: dict[str, Any] = {}
    exec("from holdfast.tokens import Token\n" + block, code)
    Sessions(token=code["token"], keys=Keyring.generate())


def test_a_handler_answers_for_a_session_that_is_too_large() -> None:
    """It hears of it from `commit`, takes back what was too much, and has its say; the rest of the session is kept."""

    async def note(request: Request) -> Response:
        session = request.session
        session["visits"] = session.get("visits", 0) + 1
        session["text"] = (await request.body()).decode()
        try:
            await session.commit()
        except SessionTooLarge as error:
            del session["text"]
            return PlainTextResponse(str(error), 413)
        return JSONResponse(dict(session))

    sessions = Sessions(token=Token(), keys=Keyring.generate())
    app = SessionMiddleware(Starlette(routes=[Route("/", note, methods=["POST"])]), sessions)
    with TestClient(app, base_url="https://shop.example") as client:
        refused = client.post("/", content="x" * 10_000)
        assert refused.status_code == 413
        assert "'text' (10" in refused.text
        assert client.post("/", content="x").json() == {"visits": 2, "text": "x"}


@pytest.mark.parametrize("target", re.findall(r"\]\(#([^)]+)\)", PAGE))
def test_links_within_the_page(target: str) -> None:
    """Each leads to a heading."""
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert target in anchors


def test_the_traveller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two browsers of one user: sign in, remember, sign the other out, sign out for good."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.delitem(sys.modules, "examples.traveller", raising=False)
    from examples.traveller import app

    with (
        TestClient(app, base_url="https://shop.example") as one,
        TestClient(app, base_url="https://shop.example") as other,
    ):
        assert "set-cookie" not in one.get("/").headers
        for visitor in (one, other):
            visitor.post("/sign-in")
            assert visitor.post("/words/tea").json() == ["tea"]
        assert one.post(f"/words/{'x' * 9_000}").json() == ["tea", "x" * 9_000]
        assert one.get("/").json()["words"] == ["tea", "x" * 9_000]
        assert one.post("/sign-out-others").json() == {"owner": "user-42"}
        assert one.get("/").json()["owner"] == "user-42"
        assert other.get("/").json() == {"owner": None}
        stolen = dict(one.cookies)
        assert one.post("/sign-out").status_code == 200
        assert not one.cookies
        one.cookies.update(stolen)
        assert one.get("/").json() == {"owner": None}
