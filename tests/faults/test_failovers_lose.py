"""A failover in which Redis loses what it has acknowledged, made to happen: Holdfast says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asgi_client import Browser
from holdfast import Event, Keyring, Sessions
from holdfast.asgi import SessionMiddleware
from servers.redis import RedisServer
from servers.redis_cluster import RedisCluster
from servers.redis_nodes import answer_of, client_of, settled
from servers.redis_sentinel import RedisSentinel

Promote = Callable[[], None]


def cluster(place: Path) -> tuple[RedisCluster, RedisServer, Promote]:
    """A cluster of one shard; its replica takes over when it is told to, without asking anybody."""
    servers = RedisCluster(place, shards=1)
    primary, replica = servers.nodes

    def promote() -> None:
        answer_of(replica, "CLUSTER", "FAILOVER", "TAKEOVER")
        servers.settle()

    return servers, primary, promote


def sentinel(place: Path) -> tuple[RedisSentinel, RedisServer, Promote]:
    """The replica is made the primary, and the sentinels are told where it is."""
    servers = RedisSentinel(place)
    primary, replica = servers.nodes

    def promote() -> None:
        answer_of(replica, "REPLICAOF", "NO", "ONE")
        for watcher in servers.sentinels:
            answer_of(watcher, "SENTINEL", "REMOVE", servers.service)
            answer_of(watcher, "SENTINEL", "MONITOR", servers.service, "127.0.0.1", replica.port, 2)

    return servers, primary, promote


async def application(scope: Any, receive: Any, send: Any) -> None:
    """/write counts on; everything answers with the count."""
    session = scope["session"]
    if scope["path"] == "/write":
        session["n"] = session.get("n", 0) + 1
    body = b"%d" % session.get("n", 0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("start", [cluster, sentinel])
async def test_a_change_that_the_replica_had_not_got_is_noticed(start: Any, tmp_path: Path) -> None:
    """The primary acknowledges changes that it cannot pass on, and dies; the replica does not know them.

    A session that has lost a change goes on with what there is, and one that has lost all begins anew. Each is told
    once, and another, of which the replica has all, not at all.
    """
    servers, primary, promote = start(tmp_path)
    with servers:
        events: list[Event] = []
        sessions = Sessions(
            servers.url, keys=Keyring.generate(), local=None, detect_loss=True, on_event=events.append
        )

        def losses() -> int:
            return sum(event.kind == "regression" for event in events)

        changed, made, kept = (Browser(SessionMiddleware(application, sessions)) for _ in range(3))
        for visitor in (changed, kept):
            assert (await visitor.get("/write")).body == b"1"
        with client_of(primary) as client:
            client.set("mark", "what comes after the changes so far")
            settled(lambda: client.wait(1, 500) == 1, "the replica lags")  # it has all up to this by then
        answer_of(primary, "ACL", "SETUSER", "default", "-sync", "-psync")
        assert answer_of(primary, "CLIENT", "KILL", "TYPE", "replica") == 1
        assert (await changed.get("/write")).body == b"2"
        assert (await made.get("/write")).body == b"1"
        primary.kill()
        promote()
        assert losses() == 0
        for visitor, count in ((kept, b"1"), (changed, b"1"), (made, b"0")):
            assert await answered(visitor) == count
        assert losses() == 2
        assert await answered(changed) == b"1"
        assert losses() == 2
        await sessions.aclose()


async def answered(visitor: Browser) -> bytes:
    """What a request says, once connections to the old primary are found to have ended."""
    for _ in range(5):
        response = await visitor.get("/read")
        if response.status == 200:
            break
    assert response.status == 200
    return response.body
