"""Redis Cluster: three primaries and three replicas."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import redis.crc

from .process import PATIENCE_SECONDS, free_port
from .redis import RedisServer
from .redis_nodes import RedisNodes, answer_of, asked, client_of, directory_in, settled

_SLOTS = 16384


class RedisCluster(RedisNodes):
    """A cluster of `shards` primaries with a replica each, with their files in `directory`.

    A primary that is silent is replaced by its replica only where a test has asked for that with `replace_after`.
    `tls`: certificate and key with which they also serve `tls_url`, and speak with each other.
    """

    def __init__(
        self,
        directory: Path,
        *,
        shards: int = 3,
        tls: tuple[Path, Path] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self._shards = shards
        if tls is not None:
            options += ("--tls-cluster", "yes", "--tls-replication", "yes")
        self.nodes = []
        for number in range(2 * shards):
            joining = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
            joining += (
                "--cluster-node-timeout",
                "500",
            )  # until all have met, who wait for each other as long
            joining += ("--cluster-replica-validity-factor", "0", "--cluster-allow-replica-migration", "no")
            joining += ("--repl-ping-replica-period", "1")  # one that has got nothing yet is not shown
            place = directory_in(directory, number)
            self.nodes.append(RedisServer(place, tls=tls, options=(*joining, *options)))
        self._bus = [node._options[3] for node in self.nodes]
        self._named = [node.port if tls is None else node.tls_port for node in self.nodes]
        self._write_topology(directory)
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:shards])
        if tls is not None:
            self.tls_url = f"rediss+cluster://localhost:{self.nodes[0].tls_port}"

    def primary_of(self, key: str | bytes) -> RedisServer:
        """The server that has this key of Redis."""
        slot = redis.crc.key_slot(key.encode() if isinstance(key, str) else key)
        return self._with_role(slot, 0)

    def replica_of(self, key: str | bytes) -> RedisServer:
        """The replica of the server that has this key of Redis."""
        slot = redis.crc.key_slot(key.encode() if isinstance(key, str) else key)
        return self._with_role(slot, 1)

    def primaries(self) -> list[RedisServer]:
        """Those that take changes now."""
        return [node for node in self._running() if "role:master" in asked(node, "INFO", "replication")]

    def replace_after(self, seconds: float) -> None:
        """Let those that run take one for dead that has been silent for so long; to replace it takes as long again."""
        for node in self._running():
            assert asked(node, "CONFIG", "SET", "cluster-node-timeout", int(seconds * 1000)) == "OK"

    def move(self, key: str | bytes, *, keys: bool = True) -> tuple[RedisServer, RedisServer]:
        """Begin to move this key's slot to another primary, and with `keys` what is in it; from where, and to where.

        Until `finish_move` the old one answers ASK for what is not there any more.
        """
        name = key.encode() if isinstance(key, str) else key
        slot, source = redis.crc.key_slot(name), self.primary_of(name)
        target = next(node for node in self.primaries() if node is not source)
        asked(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", asked(source, "CLUSTER", "MYID"))
        asked(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", asked(target, "CLUSTER", "MYID"))
        if keys:
            with client_of(source) as client:
                while found := client.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
                    client.migrate("127.0.0.1", target.port, found, 0, 1000)
        return source, target

    def finish_move(self, key: str | bytes, target: RedisServer) -> None:
        """Let the target have the slot of this key; everybody else is told with MOVED."""
        slot = redis.crc.key_slot(key.encode() if isinstance(key, str) else key)
        name = asked(target, "CLUSTER", "MYID")
        for node in [target, *(other for other in self.primaries() if other is not target)]:
            asked(node, "CLUSTER", "SETSLOT", slot, "NODE", name)

    def settle(self, primaries: int | None = None) -> None:
        """Wait until each slot has a primary that answers, all agree, and all replicas that run have caught up."""
        settled(lambda: self._is_settled(primaries or self._shards), "the cluster does not settle")

    def _join(self) -> None:
        self.settle()  # before that: a primary that has just started waits as long before it answers
        self.replace_after(2 * PATIENCE_SECONDS)

    def _write_topology(self, directory: Path) -> None:
        """What each server would know after they had met: to let them find out takes ten seconds."""
        names = [hashlib.sha1(b"%d" % node.port, usedforsecurity=False).hexdigest() for node in self.nodes]
        share, lines = -(-_SLOTS // self._shards), []
        for number in range(len(self.nodes)):
            address = f"{names[number]} 127.0.0.1:{self._named[number]}@{self._bus[number]}"
            if number < self._shards:
                last = min((number + 1) * share, _SLOTS) - 1
                lines.append((address, f"master - 0 0 {number + 1} connected {number * share}-{last}"))
            else:
                primary = number - self._shards
                lines.append((address, f"slave {names[primary]} 0 0 {primary + 1} connected"))
        for number in range(len(self.nodes)):
            text = "".join(
                f"{address} {'myself,' if at == number else ''}{rest}\n"
                for at, (address, rest) in enumerate(lines)
            )
            text += f"vars currentEpoch {self._shards} lastVoteEpoch 0\n"
            (directory / str(number) / "nodes.conf").write_text(text)

    def _running(self) -> list[RedisServer]:
        return [node for node in self.nodes if node._process is not None]

    def _is_settled(self, primaries: int) -> bool:
        running = self._running()
        maps = set()
        for node in running:
            if "cluster_state:ok" not in asked(node, "CLUSTER", "INFO"):
                return False
            known = [line.split() for line in asked(node, "CLUSTER", "NODES").splitlines()]
            maps.add(
                tuple(sorted((line[1], *line[8:]) for line in known if "master" in line[2] and line[8:]))
            )
            role = asked(node, "INFO", "replication")
            if "role:slave" in role and "master_link_status:up" not in role:
                return False
        (owners, *others) = maps
        ports = {node.port for node in running}
        return (
            not others
            and len(owners) == primaries
            and all(_port(owner[0]) in ports for owner in owners)
            and all(self._listed(node) == len(running) - primaries for node in running)
        )

    def _listed(self, node: RedisServer) -> int:
        """How many replicas the server offers to those who ask where things are."""
        shards = answer_of(node, "CLUSTER", "SLOTS")
        return len({owner[1] for _, _, *owners in shards for owner in owners[1:]})

    def _with_role(self, slot: int, place: int) -> RedisServer:
        for node in self._running():
            for first, last, *owners in answer_of(node, "CLUSTER", "SLOTS"):
                if first <= slot <= last and len(owners) > place:
                    return self.node_at(owners[place][1])
        raise AssertionError("nobody has the slot")


def _connected(node: RedisServer) -> int:
    lines = [line.split() for line in asked(node, "CLUSTER", "NODES").splitlines()]
    return sum(line[7] == "connected" and "handshake" not in line[2] for line in lines)


def _port(address: str) -> int:
    return int(address.partition("@")[0].rpartition(":")[2])


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A Redis Cluster that all tests share, which is not stopped meanwhile."""
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def own_redis_cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """A Redis Cluster for one test alone, which may kill, freeze and restart its nodes and move slots."""
    with RedisCluster(tmp_path / "cluster") as cluster:
        yield cluster
