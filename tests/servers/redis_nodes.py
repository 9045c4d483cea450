"""What a Redis Cluster and a Redis with sentinels have in common: several redis-servers started as one."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from .process import PATIENCE_SECONDS
from .redis import RedisServer


class RedisNodes:
    """Some redis-servers, all started and ended together; each may be killed, frozen and started by itself.

    `url` is what an application is given.
    """

    url: str
    nodes: list[RedisServer]

    def start(self) -> None:
        """Start all, and return when they work together."""
        with ThreadPoolExecutor(len(self.nodes)) as threads:
            list(threads.map(RedisServer.start, self.nodes))
        self._join()

    def replace_after(self, seconds: float) -> None:
        """Let those that run take one for dead that has been silent for so long, and put its replica in its place."""
        raise RuntimeError("says how the servers are told")

    def kill(self) -> None:
        """End all at once."""
        for node in self.nodes:
            node.kill()

    def node_at(self, port: int) -> RedisServer:
        """The server that listens on this port."""
        return next(node for node in self.nodes if node.port == port)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _join(self) -> None:
        raise RuntimeError("says how the servers find each other")


def client_of(node: RedisServer) -> redis.Redis:
    """A client of this server alone, which answers in text."""
    return redis.Redis(port=node.port, decode_responses=True, socket_timeout=PATIENCE_SECONDS / 4, protocol=2)


def answer_of(node: RedisServer, *command: str | int) -> Any:
    """What the server says to a command, as it comes. Raises redis-py's errors."""
    with client_of(node) as client:
        connection = client.connection_pool.get_connection()
        connection.send_command(*command)
        return connection.read_response()


def asked(node: RedisServer, *command: str | int) -> str:
    """The same as text; nothing if it fails."""
    try:
        return str(answer_of(node, *command))
    except (redis.RedisError, OSError):
        return ""


def replicated(primary: RedisServer, replica: RedisServer) -> None:
    """Return when the replica has all that the primary has by now: Redis acknowledges before that."""
    place = _offset(primary, "master_repl_offset")
    settled(lambda: _offset(replica, "slave_repl_offset") >= place, "the replica does not follow its primary")


def _offset(node: RedisServer, name: str) -> int:
    lines = asked(node, "INFO", "replication").splitlines()
    return int(next((line.partition(":")[2] for line in lines if line.startswith(f"{name}:")), -1))


def settled(happened: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for what the servers bring about among themselves."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def directory_in(directory: Path, name: str | int) -> Path:
    """A directory for the files of one server."""
    place = directory / str(name)
    place.mkdir(parents=True)
    return place
