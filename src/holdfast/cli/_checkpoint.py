"""How far `holdfast migrate` has come: a small file in the working directory, so that a killed run can go on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

# Options of a URL that are no secret, and tell one store from another.
_TELLING = frozenset({"prefix", "region", "endpoint", "schema", "table", "database", "emulator"})


class Checkpoint:
    """The file for moving between these two URLs. What is secret in them is not in its name, nor in it."""

    def __init__(self, old: str, new: str, directory: Path | None = None) -> None:
        name = hashlib.sha256(f"{_public(old)} {_public(new)}".encode()).hexdigest()[:16]
        self.path = (directory or Path.cwd()) / f".holdfast-migrate-{name}.json"

    def read(self) -> tuple[str | None, dict[Any, int]]:
        """Where to go on, and what was counted until there; from the beginning if there is nothing usable."""
        try:
            noted = json.loads(self.path.read_text())
            after, counts = noted["after"], noted["counts"]
            if isinstance(after, str) and all(type(number) is int for number in counts.values()):
                return after, counts
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return None, {}

    def write(self, after: str, counts: dict[Any, int]) -> None:
        """Note the place at once or not at all, whenever the process dies."""
        draft = self.path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({"after": after, "counts": counts}))
        os.replace(draft, self.path)

    def remove(self) -> None:
        """Forget the place."""
        self.path.unlink(missing_ok=True)


def _public(url: str) -> str:
    parts = urlsplit(url)
    options = sorted((name, value) for name, value in parse_qsl(parts.query) if name in _TELLING)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}?{urlencode(options)}"
