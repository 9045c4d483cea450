"""What a `redis://` URL says, or one of its relatives, checked before anything is connected."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import redis
import redis.asyncio

from .. import deadline
from ..errors import ConfigError
from ._options import options, positive
from ._redis_blocking import BlockingPool, in_time
from ._redis_line import LinePool

# A replica is asked because it is cheaper. One that does not answer soon is not: then the primary is.
REPLICA_SECONDS = 0.25

_TLS_FILES = {"ca": "ssl_ca_certs", "cert": "ssl_certfile", "key": "ssl_keyfile"}


# When a call has to be over that takes several exchanges, by `time.monotonic`.
ends_at: ContextVar[float | None] = ContextVar("holdfast_redis_ends_at", default=None)


def seconds_left(timeout: float) -> float:
    """How long an exchange may take now. Raises TimeoutError if nothing is left."""
    seconds, end = deadline.limit(timeout), ends_at.get()
    if end is None:
        return seconds
    if (left := end - time.monotonic()) <= 0:
        raise redis.TimeoutError("no answer from Redis in time")
    return min(seconds, left)


class Settings(NamedTuple):
    """How to connect. `arguments` are those of redis-py's connections, without the timeouts.

    `kind` is "" for one Redis, "cluster", or "sentinel"; then `hosts` are where to ask for the way, `service` what
    the sentinels call the primary, and `sentinel_password` is theirs. `connection` is the class of those for sync
    callers, where it is not redis-py's for TLS or without.
    """

    arguments: dict[str, Any]
    tls: bool
    timeout: float = 2.0
    connections: int = 64
    prefix: str = "holdfast:"
    replica: Sequence[tuple[str, int]] = ()
    kind: str = ""
    hosts: Sequence[tuple[str, int]] = ()
    service: str = ""
    sentinel_user: str | None = None
    sentinel_password: str | None = None
    connection: type[redis.Connection] | None = None

    @classmethod
    def from_url(cls, url: str) -> Settings:
        """Read the URL. Raises `ConfigError`, in whose text no password appears."""
        scheme, _, kind = url.partition(":")[0].lower().partition("+")
        hosts, single = _hosts(url, 26379 if kind == "sentinel" else 6379)
        if len(hosts) > 1 and not kind:
            raise ConfigError(
                "the redis:// URL names several hosts: that takes redis+cluster:// or redis+sentinel://"
            )
        (host, port), parts = hosts[0], urlsplit(single)
        service, path = "", parts.path
        if kind == "sentinel":
            service, _, path = path.strip("/").partition("/")
            if not service:
                raise ConfigError("the URL does not name the service: redis+sentinel://host:26379/service/0")
        tls = scheme == "rediss"
        known: dict[str, Callable[[str], Any]] = {"timeout": float, "connections": int, "prefix": str}
        known |= dict.fromkeys(_TLS_FILES if tls else (), _file)
        if not kind:
            known["replica"] = _replica
        if kind == "sentinel":
            known |= {"sentinel_user": str, "sentinel_password": str}
        chosen = options(single, known, repeatable=("replica",))
        arguments: dict[str, Any] = {
            "host": host,
            "port": port,
            "db": _database(path),
            "username": unquote(parts.username or "") or None,
            "password": unquote(parts.password or "") or None,
            # The older protocol connects in a round trip less, and what is asked here is the same in both.
            "protocol": 2,
            "socket_keepalive": True,
        }
        arguments |= {_TLS_FILES[name]: chosen.pop(name) for name in _TLS_FILES if name in chosen}
        if kind == "cluster" and arguments["db"]:
            raise ConfigError("a Redis Cluster has only the database 0")
        settings = cls(arguments, tls, kind=kind, hosts=hosts, service=unquote(service), **chosen)
        positive(settings.timeout, "timeout")
        positive(settings.connections, "connections")
        return settings

    def replicas(self) -> list[Settings]:
        """How to connect to the replicas, which is like to the primary; none is waited for as long."""
        timeout = min(self.timeout, REPLICA_SECONDS)
        return [
            self._replace(
                arguments=self.arguments | {"host": host, "port": port}, timeout=timeout, replica=()
            )
            for host, port in self.replica
        ]

    def at(self, address: tuple[str, int], **changed: Any) -> Settings:
        """How to connect to the single Redis at this address."""
        arguments = self.arguments | {"host": address[0], "port": address[1]}
        return self._replace(arguments=arguments | changed, kind="", replica=())

    def blocking_pool(self) -> BlockingPool:
        """A pool for sync callers. It grows to the number of threads that use it at once."""
        kind = in_time(self.connection or (redis.SSLConnection if self.tls else redis.Connection))
        arguments = dict(self.arguments)
        prepare = arguments.pop("prepare", ())

        def on_connect(connection: Any) -> None:
            connection.on_connect()
            for command, accepts in prepare:
                connection.send_command(*command)
                accepts(connection.read_response(disable_decoding=True))

        if prepare:
            arguments["redis_connect_func"] = on_connect
        return BlockingPool(lambda ends_at: kind(ends_at=ends_at, **arguments))

    def loop_pool(self) -> LinePool:
        """A pool for the running event loop, which limits the time of an exchange as a whole."""
        kind = redis.asyncio.SSLConnection if self.tls else redis.asyncio.Connection
        arguments = dict(self.arguments)
        prepare = arguments.pop("prepare", ())

        async def on_connect(connection: Any) -> None:
            await connection.on_connect()
            for command, accepts in prepare:
                await connection.send_command(*command)
                accepts(await connection.read_response(disable_decoding=True))

        if prepare:
            arguments["redis_connect_func"] = on_connect
        return LinePool(
            lambda: kind(socket_connect_timeout=None, socket_timeout=None, **arguments), self.connections
        )


def _hosts(url: str, port: int) -> tuple[list[tuple[str, int]], str]:
    """The hosts of a URL, and the URL with only the first of them."""
    scheme, slashes, rest = url.partition("://")
    place, tail = rest, ""
    for sign in "/?#":
        place, _, _ = place.partition(sign)
    tail = rest[len(place) :]
    user, at, names = place.rpartition("@")
    singles = [f"{scheme}{slashes}{user}{at}{name}{tail}" for name in names.split(",")]
    return [_address(single, port) for single in singles], singles[0]


def _address(url: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        if not parts.fragment:
            return parts.hostname or "localhost", parts.port or port
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
