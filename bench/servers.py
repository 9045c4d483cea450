"""The servers that the benchmarks of stores run on: those of the tests, each for as long as it is measured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

TESTS = Path(__file__).parent.parent / "tests"
sys.path.append(str(TESTS))

Running = Callable[[Path], AbstractContextManager[str]]
"""Starts a server with its files in a directory, and yields its URL as a store."""


@contextmanager
def sqlite(place: Path) -> Iterator[str]:
    """No server: a file, with every commit synchronised to the disk."""
    yield f"sqlite:///{place}/sessions.db"


@contextmanager
def redis(place: Path) -> Iterator[str]:
    """A Redis that keeps nothing on disk."""
    from servers.redis import RedisServer

    with RedisServer(place) as server:
        yield server.url


@contextmanager
def redis_cluster(place: Path) -> Iterator[str]:
    """A Redis Cluster of three primaries, each with a replica, that keep nothing on disk."""
    from servers.redis_cluster import RedisCluster

    with RedisCluster(place) as cluster:
        yield cluster.url


@contextmanager
def memcached(place: Path) -> Iterator[str]:
    """A memcached."""
    from servers.memcached import MemcachedServer

    with MemcachedServer() as server:
        yield f"{server.url}?forgets=accepted"


@contextmanager
def moto(place: Path) -> Iterator[str]:
    """DynamoDB's emulator in Python."""
    from servers.dynamodb import MotoServer

    with MotoServer() as server:
        yield server.url


@contextmanager
def dynalite(place: Path) -> Iterator[str]:
    """DynamoDB's emulator in JavaScript."""
    from servers.dynamodb import DynaliteServer

    with DynaliteServer() as server:
        yield server.url


@contextmanager
def cosmos(place: Path) -> Iterator[str]:
    """Cosmos DB's emulator."""
    from servers.cosmos import CosmosServer

    with CosmosServer() as server:
        yield server.url


@contextmanager
def firestore(place: Path) -> Iterator[str]:
    """The tests' own Firestore."""
    from servers.firestore import FirestoreServer

    with FirestoreServer() as server:
        yield server.url()


@contextmanager
def postgres(place: Path) -> Iterator[str]:
    """A PostgreSQL that writes every change to disk before it answers."""
    from servers.postgres import PostgresServer, provisioned

    with PostgresServer(durable=True) as server:
        yield provisioned(server).url
