"""Redis with sentinels: a primary, a replica, and three that watch over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .process import PATIENCE_SECONDS
from .redis import RedisReplica, RedisServer
from .redis_nodes import RedisNodes, asked, directory_in, settled


class Watcher(RedisServer):
    """A sentinel that watches `primary` under the name of a service, with more `lines` of configuration."""

    def __init__(self, directory: Path, primary: RedisServer, service: str, lines: str = "") -> None:
        super().__init__(directory)
        self._file = directory / "sentinel.conf"
        self._file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {directory}\nlogfile {self._log}\n"
            f"{lines}sentinel monitor {service} 127.0.0.1 {getattr(primary, 'tls_port', primary.port)} 2\n"
            f"sentinel down-after-milliseconds {service} {int(2000 * PATIENCE_SECONDS)}\n"
            f"sentinel failover-timeout {service} 5000\n"
        )

    def _command(self) -> list[str]:
        return ["redis-server", str(self._file), "--sentinel"]


class RedisSentinel(RedisNodes):
    """A primary, `replicas` replicas, and three sentinels, with their files in `directory`.

    A primary that is silent is replaced by a replica only where a test has asked for that with `replace_after`.
    `nodes` are the two Redis.
    """

    service = "sessions"

    def __init__(self, directory: Path, *, replicas: int = 1, options: tuple[str, ...] = ()) -> None:
        first = RedisServer(directory_in(directory, "primary"), options=options)
        self.nodes = [first]
        for number in range(replicas):
            self.nodes.append(RedisReplica(directory_in(directory, f"replica-{number}"), first))
            self.nodes[-1]._options += options
        self.sentinels = [
            Watcher(directory_in(directory, f"sentinel-{number}"), first, self.service) for number in range(3)
        ]
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/{self.service}/0"

    def start(self) -> None:
        """Start all, and return when the sentinels know each other and all replicas have caught up."""
        for server in (*self.nodes, *self.sentinels):
            server.start()
        self.settle()

    def replace_after(self, seconds: float) -> None:
        """Let the sentinels take a Redis for dead that has been silent for so long, and replace it soon after."""
        for sentinel in self.sentinels:
            name, value = "down-after-milliseconds", int(seconds * 1000)
            assert asked(sentinel, "SENTINEL", "SET", self.service, name, value) == "OK"

    def kill(self) -> None:
        """End all at once."""
        for server in (*self.sentinels, *self.nodes):
            server.kill()

    def primary(self) -> RedisServer:
        """The one that takes changes, by what most of the sentinels say."""
        told = sorted(self._primaries_told())
        return self.node_at(told[len(told) // 2])

    def replicas(self) -> list[RedisServer]:
        """The others that run."""
        primary = self.primary()
        return [node for node in self.nodes if node is not primary and node._process is not None]

    def restart(self, node: RedisServer) -> None:
        """Start a Redis again that was killed: as a replica, if there is another primary by now."""
        primary = self.primary()
        if primary is not node:
            node._options = (*_without_replicaof(node._options), "--replicaof", f"127.0.0.1 {primary.port}")
        RedisServer.start(node)

    def settle(self, not_at: RedisServer | None = None) -> None:
        """Wait until all sentinels name the same primary, another than `not_at`, that takes changes, and all
        replicas that run follow it."""
        settled(lambda: self._is_settled(not_at), "the sentinels do not settle")

    def _primaries_told(self) -> list[int]:
        told = []
        for sentinel in self.sentinels:
            if sentinel._process is None:
                continue
            answer = asked(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
            told.append(int(answer.split("'")[3]) if answer else 0)
        return told

    def _is_settled(self, not_at: RedisServer | None) -> bool:
        told = set(self._primaries_told())
        if len(told) != 1 or 0 in told or (not_at is not None and not_at.port in told):
            return False
        primary = self.primary()
        running = [node for node in self.nodes if node._process is not None]
        if primary not in running or "role:master" not in asked(primary, "INFO", "replication"):
            return False
        for node in running:
            state = asked(node, "INFO", "replication")
            if node is not primary and not (
                "master_link_status:up" in state
                and f"'master_port': {primary.port}" in state.replace("master_port:", "'master_port': ")
            ):
                return False
        watching = [sentinel for sentinel in self.sentinels if sentinel._process is not None]
        return all(
            f"slaves={len(self.nodes) - 1},sentinels=3" in asked(one, "INFO", "sentinel") for one in watching
        )


def _without_replicaof(options: tuple[str, ...]) -> tuple[str, ...]:
    if "--replicaof" not in options:
        return options
    place = options.index("--replicaof")
    return options[:place] + options[place + 2 :]


@pytest.fixture(scope="session")
def redis_sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinel]:
    """A Redis with sentinels that all tests share, which is not stopped meanwhile."""
    with RedisSentinel(tmp_path_factory.mktemp("sentinel")) as sentinel:
        yield sentinel


@pytest.fixture
def own_redis_sentinel(tmp_path: Path) -> Iterator[RedisSentinel]:
    """A Redis with sentinels for one test alone, which may kill, freeze and restart any of them."""
    with RedisSentinel(tmp_path / "sentinel") as sentinel:
        yield sentinel
