"""What a `firestore://` URL says, checked before anything is connected."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ..errors import ConfigError
from ._options import options, positive

_COLLECTION = r"(?!__.*__$)(?!\.{1,2}$)[^/]{1,1000}"


class Settings(NamedTuple):
    """Where the database is. `emulator` is the host and port of one, which asks for no credentials."""

    project: str
    collection: str
    database: str = "(default)"
    timeout: float = 2.0
    emulator: str | None = None

    @classmethod
    def from_url(cls, url: str) -> Settings:
        """Read the URL. Raises `ConfigError`."""
        parts = urlsplit(url)
        project, collection = unquote(parts.netloc), unquote(parts.path.removeprefix("/"))
        if not re.fullmatch(r"[a-z0-9.:-]+", project) or not collection or parts.fragment:
            raise ConfigError(
                "the firestore:// URL needs a project and a collection: write firestore://my-project/sessions"
            )
        known: dict[str, Callable[[str], Any]] = {"database": str, "timeout": float, "emulator": _address}
        settings = cls(project, check_collection(collection), **options(url, known))
        positive(settings.timeout, "timeout")
        if not re.fullmatch(r"\(default\)|[a-z0-9-]+", settings.database):
            raise ConfigError(f"database={settings.database}: write the id of a Firestore database")
        if settings.emulator is None:
            return settings._replace(emulator=os.environ.get("FIRESTORE_EMULATOR_HOST"))
        return settings

    @property
    def path(self) -> str:
        """The full name of the database."""
        return f"projects/{self.project}/databases/{self.database}"


def check_collection(name: str) -> str:
    """The collection's name. Raises `ConfigError` for one that Firestore does not take."""
    if not re.fullmatch(_COLLECTION, name):
        raise ConfigError(f"{name!r} is no name of a collection: it is not empty, . or .., and has no /")
    return name


def _address(text: str) -> str:
    if not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[\w.-]+):\d+", text):
        raise ConfigError(
            "emulator= in the firestore:// URL is no host and port: write emulator=127.0.0.1:8080"
        )
    return text
