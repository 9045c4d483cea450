"""What a `postgresql://` or `postgres://` URL says, checked before anything is connected."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ..errors import ConfigError
from ._options import options, positive

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TLS_FILES = ("sslrootcert", "sslcert", "sslkey")


class Settings(NamedTuple):
    """How to connect. `arguments` are libpq's."""

    arguments: dict[str, Any]
    timeout: float = 2.0
    connections: int = 8
    table: str = "holdfast_sessions"
    replica: Sequence[tuple[str, int]] = ()
    prepared: bool = False

    @classmethod
    def from_url(cls, url: str) -> Settings:
        """Read the URL. Raises `ConfigError`, in whose text no password appears."""
        host, port, database = _address(url)
        known: dict[str, Callable[[str], Any]] = {"timeout": float, "connections": int, "table": str}
        known |= {
            "replica": _replica,
            "prepared": _yes_or_no,
            "host": _directory,
            "sslmode": _ssl_mode,
            **dict.fromkeys(_TLS_FILES, _file),
        }
        chosen = options(url, known, repeatable=("replica",))
        parts = urlsplit(url)
        given = {
            "host": chosen.pop("host", None) or host,
            "port": port,
            "dbname": database,
            "user": unquote(parts.username or "") or None,
            "password": unquote(parts.password or "") or None,
            "fallback_application_name": "holdfast",
        }
        given |= {name: chosen.pop(name) for name in ("sslmode", *_TLS_FILES) if name in chosen}
        settings = cls({name: value for name, value in given.items() if value is not None}, **chosen)
        positive(settings.timeout, "timeout")
        positive(settings.connections, "connections")
        return settings

    def replicas(self) -> list[Settings]:
        """How to connect to the replicas, which is like to the primary."""
        return [
            self._replace(arguments=self.arguments | {"host": host, "port": port}, replica=())
            for host, port in self.replica
        ]


def _address(url: str) -> tuple[str, int, str | None]:
    try:
        parts = urlsplit(url)
        database = unquote(parts.path.removeprefix("/"))
        is_one = "," not in parts.netloc.rpartition("@")[2]
        if is_one and not parts.fragment and "/" not in database:
            return parts.hostname or "localhost", parts.port or 5432, database or None
    except ValueError:
        pass
    raise ConfigError(
        "the postgresql:// URL has no valid host, port and database: write postgresql://user:password@host:5432/"
        "database, a single host, with the signs / ? # @ : [ ] in a password as %2F %3F %23 %40 %3A %5B %5D"
    )


def _replica(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname and not (parts.path or parts.username or parts.fragment or "," in text):
            return parts.hostname, parts.port or 5432
    except ValueError:
        pass
    raise ConfigError(f"replica={text} in the postgresql:// URL is no host and port: write replica=host:5432")


def _yes_or_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise ConfigError(f"prepared={text} in the postgresql:// URL: write true or false")
    return text == "true"


def _directory(text: str) -> str:
    if not text.startswith(("/", "@")):
        raise ConfigError(
            f"host={text} in the postgresql:// URL is no directory of a socket: write host=/path"
        )
    return text


def _ssl_mode(text: str) -> str:
    if text not in _SSL_MODES:
        raise ConfigError(f"sslmode={text} in the postgresql:// URL: write one of {', '.join(_SSL_MODES)}")
    return text


def _file(path: str) -> str:
    # The certificates of the system are a word of libpq's, not a file.
    if path != "system" and not os.path.isfile(path):
        raise ConfigError(f"the postgresql:// URL names a file that is not there: {path}")
    return path
