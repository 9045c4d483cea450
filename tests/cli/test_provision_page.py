"""What docs/provision.md says can be typed works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from holdfast.cli import main
from holdfast.errors import ConfigError
from holdfast.stores import KNOWN, Provisions, from_url

PAGE = (Path(__file__).parents[2] / "docs" / "provision.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
URLS = {
    "DynamoDB": "dynamodb://sessions?region=eu-west-1",
    "Cosmos DB": "cosmos://shop/app/sessions?key=bm9uZQ==",
    "Firestore": "firestore://shop/sessions",
    "PostgreSQL": "postgresql://db.example/app",
    "SQLite": "sqlite:///sessions.db",
    "Redis": "redis://cache.example",
    "Redis Cluster": "redis+cluster://cache.example",
    "Redis Sentinel": "redis+sentinel://cache.example/primary",
    "Memcached": "memcached://cache.example?forgets=accepted",
    "memory": "memory://",
}


def test_the_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after the other, in one directory; those that make nothing of a server's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COSMOS_KEY", "none")
    shown = []
    for command in COMMANDS:
        words = shlex.split(command.partition(" > ")[0])
        assert words[:2] == ["holdfast", "provision"]
        assert main(words[1:]) == 0, command
        shown.append(capsys.readouterr().out)
    said = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)[0]
    assert shown[0].replace(str(tmp_path), "/srv/shop") == said
    assert len(COMMANDS) >= 8


def test_the_table_of_forms_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every store that Holdfast knows is in it, with the forms that there are."""
    monkeypatch.chdir(tmp_path)
    table = dict(
        re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PAGE.partition("| store | forms |")[2], re.MULTILINE)
    )
    rows = {name.strip(): forms for names, forms in table.items() for name in names.split(",")}
    assert {url.partition(":")[0] for url in URLS.values()} >= {
        scheme for scheme in KNOWN if not scheme.startswith("rediss") and scheme != "postgres"
    }
    for name, url in URLS.items():
        store = from_url(url)
        if not isinstance(store, Provisions):
            assert "nothing" in rows[name]
            continue
        forms = re.findall(r"`(\w+)`", rows[name])
        for form in forms:
            assert store.as_code(form)
        with pytest.raises(ConfigError) as refusal:
            store.as_code("runes")
        assert all(form in str(refusal.value) for form in forms)
