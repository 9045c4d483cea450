"""Keys in an environment variable: as they were when the process began."""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from ..errors import ConfigError
from . import NoKeys


class Environment:
    """The variable `name`, keys separated by commas or white space, newest first."""

    every = float("inf")  # a process's environment does not change
    remote = False

    def __init__(self, name: str) -> None:
        self._name = name

    @classmethod
    def from_url(cls, url: str) -> Environment:
        """The variable of `env://NAME`. Raises `ConfigError`."""
        name = urlsplit(url).netloc
        if not name:
            raise ConfigError("write env://NAME for the variable of that name")
        return cls(name)

    def read(self) -> list[str] | None:
        text = os.environ.get(self._name, "").strip()
        if not text:
            raise NoKeys(f"{self._name} is not set")
        if "://" in text:
            raise ConfigError(f"{self._name} names another place, which is to be given itself")
        return text.replace(",", " ").split()

    def write(self, keys: Sequence[str]) -> None:
        raise ConfigError(f"a process cannot set {self._name} for others: set it where it is deployed from")
