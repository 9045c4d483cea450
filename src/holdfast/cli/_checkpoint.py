"""How far `holdfast migrate` has come: a small file in the working directory, so that a killed run can go on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..errors import ConfigError

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
        """Note the place at once or not at all, whenever the process dies. Raises `ConfigError`."""
        os.replace(self._draft(json.dumps({"after": after, "passed": passed, "at": time.time()})), self.path)

    def see_that_it_can_be_written(self) -> None:
        """Raises `ConfigError` if nothing can be noted, which is better known before anything is moved."""
        self._draft("").unlink()

    def remove(self) -> None:
        """Forget the place."""
        self.path.unlink(missing_ok=True)

    def _draft(self, text: str) -> Path:
        draft = self.path.with_suffix(f".{os.getpid()}")
        try:
            draft.write_text(text)
        except OSError as error:
            raise ConfigError(
                f"how far it has come cannot be noted in {self.path.parent} ({error.strerror}): run it in a directory "
                "in which files can be made"
            ) from error
        return draft


def _public(url: str) -> str:
    parts = urlsplit(url)
    user, _, address = parts.netloc.rpartition("@")
    options = sorted(
        option for option in parse_qsl(parts.query, keep_blank_values=True) if option[0] not in _SECRETS
    )
    return f"{parts.scheme}://{user.partition(':')[0]}@{address}{parts.path}?{urlencode(options)}"
