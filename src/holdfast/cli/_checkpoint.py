"""How far `holdfast migrate` has come: a small file in the working directory, so that a killed run can go on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

# Options of a URL that are secrets in one store or another. Everything else may tell one store from another.
_SECRETS = frozenset({"key", "password", "sentinel_password"})


class Place(NamedTuple):
    """Where a run was cut off: the place to go on from, how many records it had passed, when (since the epoch)."""

    after: str
    passed: int
    at: float


class Checkpoint:
    """The file for moving between these two URLs. What is secret in them is not in its name, nor in it."""

    def __init__(self, old: str, new: str, directory: Path | None = None) -> None:
        name = hashlib.sha256(f"{_public(old)} {_public(new)}".encode()).hexdigest()[:16]
        self.path = (directory or Path.cwd()) / f".holdfast-migrate-{name}.json"

    def read(self) -> Place | None:
        """Where to go on; None, for from the beginning, if there is nothing usable."""
        try:
            noted = json.loads(self.path.read_text())
            place = Place(noted["after"], noted["passed"], float(noted["at"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return place if isinstance(place.after, str) and type(place.passed) is int else None

    def write(self, after: str, passed: int) -> None:
        """Note the place at once or not at all, whenever the process dies."""
        draft = self.path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({"after": after, "passed": passed, "at": time.time()}))
        os.replace(draft, self.path)

    def remove(self) -> None:
        """Forget the place."""
        self.path.unlink(missing_ok=True)


def _public(url: str) -> str:
    parts = urlsplit(url)
    user, _, address = parts.netloc.rpartition("@")
    options = sorted(
        option for option in parse_qsl(parts.query, keep_blank_values=True) if option[0] not in _SECRETS
    )
    return f"{parts.scheme}://{user.partition(':')[0]}@{address}{parts.path}?{urlencode(options)}"
