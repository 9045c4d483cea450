"""The servers that are killed: how each is started, what uses it, and whether it promises to keep what it took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from outages import Beside, Step, dies, in_turn

from holdfast.lab.strategies import Strategy
from servers.memcached import MemcachedServer
from servers.postgres import PostgresServer, provisioned
from servers.redis import RedisServer
from servers.redis_cluster import RedisCluster
from servers.redis_sentinel import RedisSentinel


class Plan(NamedTuple):
    """For how many seconds shoppers shop, how often the server is killed, and how long it was well before."""

    seconds: float
    kills: int
    calm: float


SHORT = Plan(3.5, 1, 0.8)  # and two or three seconds more, until all journeys are over
LONG = Plan(28.0, 4, 4.0)

# After what silence a server is replaced by its replica: one that was killed, and one that is just slow.
SILENT_SECONDS, NEVER_SECONDS = 0.8, 600.0

Act = Callable[[], object]
Started = AbstractContextManager[tuple[Strategy, Beside]]


class Case(NamedTuple):
    """A server under a strategy. `keeps`: nothing may be lost. `serves`: requests do not even fail meanwhile.

    Where nothing is promised, what is lost has to be noticed. `loses`: something certainly is. Those that are not
    `quick` are tried in the proof only.
    """

    start: Callable[[Path, Plan], Started]
    keeps: bool
    serves: bool = False
    loses: bool = False
    quick: bool = True


@contextmanager
def _redis_log(place: Path, plan: Plan) -> Iterator[tuple[Strategy, Beside]]:
    with RedisServer(place, durable=True) as server:
        yield _on("redis", server.url), dies(server, plan.kills, plan.calm)


@contextmanager
def _redis_snapshots(place: Path, plan: Plan) -> Iterator[tuple[Strategy, Beside]]:
    """The last snapshot is a second older than the kill."""
    with RedisServer(place) as server:
        steps = (
            Step(plan.calm, "snapshot", lambda: server.ask(b"SAVE\r\n")),
            Step(1.0, "kill", server.kill),
            Step(0.5, "back", server.start, felt=True),
        )
        yield _on("redis", server.url), in_turn(*steps * plan.kills)


@contextmanager
def _redis_cluster(place: Path, plan: Plan) -> Iterator[tuple[Strategy, Beside]]:
    """One primary of three is killed, its replica takes over; then it is started again, as a replica."""
    with RedisCluster(place) as cluster:
        killed: list[RedisServer] = []

        def kill() -> None:
            killed.append(cluster.primaries()[0])
            killed[-1].kill()
            cluster.replace_after(SILENT_SECONDS)

        def restart() -> None:
            killed[-1].start()
            cluster.settle()
            cluster.replace_after(NEVER_SECONDS)

        yield _on("redis cluster", cluster.url), _failovers(plan, kill, cluster.settle, restart)


@contextmanager
def _redis_sentinel(place: Path, plan: Plan) -> Iterator[tuple[Strategy, Beside]]:
    """The primary is killed, the sentinels let the replica take over; then it is started again, as a replica.

    Half as often as others: sentinels take their time before they do it again.
    """
    plan = plan._replace(kills=-(-plan.kills // 2))
    with RedisSentinel(place) as servers:
        killed: list[RedisServer] = []

        def kill() -> None:
            killed.append(servers.primary())
            killed[-1].kill()
            servers.replace_after(SILENT_SECONDS)

        def failed_over() -> None:
            servers.settle(not_at=killed[-1])

        def restart() -> None:
            servers.restart(killed[-1])
            servers.settle()
            servers.replace_after(NEVER_SECONDS)

        yield _on("redis sentinel", servers.url), _failovers(plan, kill, failed_over, restart)


def _failovers(plan: Plan, kill: Act, wait: Act, restart: Act) -> Beside:
    steps = (Step(plan.calm, "kill", kill), Step(0.0, "back", wait, felt=True), Step(0.0, "restart", restart))
    return in_turn(*steps * plan.kills)


@contextmanager
def _postgres(place: Path, plan: Plan) -> Iterator[tuple[Strategy, Beside]]:
    with PostgresServer(durable=True) as server:
        yield _on("postgresql", provisioned(server).url), dies(server, plan.kills, plan.calm)


@contextmanager
def _memcached_store(place: Path, plan: Plan) -> Iterator[tuple[Strategy, Beside]]:
    with MemcachedServer() as server:
        yield _on("memcached", f"{server.url}?forgets=accepted"), dies(server, plan.kills, plan.calm)


@contextmanager
def _memcached_before_sqlite(place: Path, plan: Plan) -> Iterator[tuple[Strategy, Beside]]:
    with MemcachedServer() as server:
        strategy = _on("memcached before sqlite", f"sqlite:///{place}/sessions.db", cache=server.url)
        yield strategy, dies(server, plan.kills, plan.calm, felt=False)


@contextmanager
def _memcached_before_postgres(place: Path, plan: Plan) -> Iterator[tuple[Strategy, Beside]]:
    with MemcachedServer() as cache, PostgresServer(durable=True) as server:
        strategy = _on("memcached before postgresql", provisioned(server).url, cache=cache.url)
        yield strategy, dies(cache, plan.kills, plan.calm, felt=False)


def _on(name: str, store: str, cache: str | None = None) -> Strategy:
    return Strategy(name, "holdfast", store=store, cache=cache, detect_loss=True)


CASES = {
    "PostgreSQL": Case(_postgres, keeps=True),
    "Redis, log on disk": Case(_redis_log, keeps=True),
    "Redis, snapshots": Case(_redis_snapshots, keeps=False, loses=True),
    "Redis Cluster, one primary": Case(_redis_cluster, keeps=False),
    "Redis with sentinels, the primary": Case(_redis_sentinel, keeps=False),
    "Memcached before SQLite": Case(_memcached_before_sqlite, keeps=True, serves=True),
    "Memcached before PostgreSQL": Case(_memcached_before_postgres, keeps=True, serves=True, quick=False),
    "Memcached as a store": Case(_memcached_store, keeps=False, loses=True),
}
