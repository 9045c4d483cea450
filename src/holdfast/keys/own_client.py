"""A client that each process has for itself: connections cannot be shared after a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


class OwnClient:
    """Stands for the client that `make` makes, now and once more in each process that is forked off."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._client, self._process = make(), os.getpid()

    def __getattr__(self, name: str) -> Any:
        if self._process != os.getpid():
            self._client, self._process = self._make(), os.getpid()
        return getattr(self._client, name)
