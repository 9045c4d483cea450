"""What a `redis://` or `rediss://` URL says, checked before anything is connected."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import redis
import redis.asyncio

from ..errors import ConfigError
from ._options import options, positive
from ._redis_line import LinePool

# A replica is asked because it is cheaper. One that does not answer soon is not: then the primary is.
_REPLICA_SECONDS = 0.25

_TLS_FILES = {"ca": "ssl_ca_certs", "cert": "ssl_certfile", "key": "ssl_keyfile"}


class Settings(NamedTuple):
    """How to connect. `arguments` are those of redis-py's connections, without the timeouts."""

    arguments: dict[str, Any]
    tls: bool
    timeout: float = 2.0
    connections: int = 64
    prefix: str = "holdfast:"
    replica: Sequence[tuple[str, int]] = ()

    @classmethod
    def from_url(cls, url: str) -> Settings:
        """Read the URL. Raises `ConfigError`, in whose text no password appears."""
        host, port = _address(url)
        parts = urlsplit(url)
        tls = parts.scheme.lower() == "rediss"
        known: dict[str, Callable[[str], Any]] = {"timeout": float, "connections": int, "prefix": str}
        known |= dict.fromkeys(_TLS_FILES if tls else (), _file)
        known["replica"] = _replica
        chosen = options(url, known, repeatable=("replica",))
        arguments: dict[str, Any] = {
            "host": host,
            "port": port,
            "db": _database(parts.path),
            "username": unquote(parts.username or "") or None,
            "password": unquote(parts.password or "") or None,
            # The older protocol connects in a round trip less, and what is asked here is the same in both.
            "protocol": 2,
            "socket_keepalive": True,
        }
        arguments |= {_TLS_FILES[name]: chosen.pop(name) for name in _TLS_FILES if name in chosen}
        settings = cls(arguments, tls, **chosen)
        positive(settings.timeout, "timeout")
        positive(settings.connections, "connections")
        return settings

    def replicas(self) -> list[Settings]:
        """How to connect to the replicas, which is like to the primary; none is waited for as long."""
        timeout = min(self.timeout, _REPLICA_SECONDS)
        return [
            self._replace(
                arguments=self.arguments | {"host": host, "port": port}, timeout=timeout, replica=()
            )
            for host, port in self.replica
        ]

    def blocking_pool(self) -> redis.ConnectionPool:
        """A pool for sync callers. It grows to the number of threads that use it at once.

        A blocking exchange has no time limit as a whole: half of the timeout is for connecting and half for
        the answer, so that a Redis that does not answer is given up in time.
        """
        half = self.timeout / 2
        return redis.ConnectionPool(
            connection_class=redis.SSLConnection if self.tls else redis.Connection,
            max_connections=2**31,
            socket_connect_timeout=half,
            socket_timeout=half,
            **self.arguments,
        )

    def loop_pool(self) -> LinePool:
        """A pool for the running event loop, which limits the time of an exchange as a whole."""
        kind = redis.asyncio.SSLConnection if self.tls else redis.asyncio.Connection
        return LinePool(
            lambda: kind(socket_connect_timeout=None, socket_timeout=None, **self.arguments),
            self.connections,
            self.timeout,
        )


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        if not parts.fragment:
            return parts.hostname or "localhost", parts.port or 6379
    except ValueError:
        pass
    raise ConfigError(
        "the redis:// URL has no valid host and port: write redis://user:password@host:6379/0, with the signs "
        "/ ? # @ : [ ] in a password as %2F %3F %23 %40 %3A %5B %5D"
    )


def _replica(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname and not (parts.path or parts.username or parts.fragment):
            return parts.hostname, parts.port or 6379
    except ValueError:
        pass
    raise ConfigError(f"replica={text} in the redis:// URL is no host and port: write replica=host:6379")


def _database(path: str) -> int:
    number = path.strip("/")
    if number and not (number.isascii() and number.isdigit()):
        raise ConfigError("the path in the redis:// URL has to be the number of a database, such as /0")
    return int(number or 0)


def _file(path: str) -> str:
    if not os.path.isfile(path):
        raise ConfigError(f"the redis:// URL names a file that is not there: {path}")
    return path
