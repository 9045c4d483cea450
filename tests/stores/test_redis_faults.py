"""Redis Cluster and sentinels when something is the matter, and behind TLS and passwords."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from records import new_change, new_key, new_record
from redis.sentinel import Sentinel
from test_redis_cluster import Driver, commands_of, drive

from asgi_client import Browser
from holdfast import Keyring, Sessions
from holdfast._colour import run
from holdfast.asgi import SessionMiddleware
from holdfast.stores._redis_wire import Wire
from holdfast.stores.redis import RedisStore
from servers.certificate import self_signed
from servers.process import BUSY_SECONDS, PATIENCE_SECONDS, free_port
from servers.redis import RedisServer
from servers.redis_cluster import RedisCluster
from servers.redis_nodes import RedisNodes, asked, directory_in, settled
from servers.redis_sentinel import Watcher

__all__ = ["drive"]

# What a server answers while it drops a slot that it has lost, to the first ARGV[1] questions.
_BUSY = b"""
local asked = redis.call('INCR', KEYS[1])
if asked <= tonumber(ARGV[1]) then
  return redis.error_reply('TRYAGAIN Slot is being trimmed')
end
return asked
"""


def test_what_cannot_be_done_yet_is_tried_again(redis_cluster: RedisCluster, drive: Driver) -> None:
    """TRYAGAIN says that nothing was done: the command is sent again, until the time limit."""
    store = RedisStore.from_url(f"{redis_cluster.url}?timeout=1")
    cluster = store._way.cluster
    assert cluster is not None
    assert drive(cluster.ask((b"EVAL", _BUSY, b"1", new_key().encode(), b"2"))) == [3]
    began = time.monotonic()
    with pytest.raises(redis.TimeoutError):
        drive(cluster.ask((b"EVAL", _BUSY, b"1", new_key().encode(), b"1000")))
    assert 0.8 < time.monotonic() - began < 1 + BUSY_SECONDS


def test_a_cluster_with_a_hole_is_an_outage_and_then_over(own_redis_cluster: RedisCluster) -> None:
    """A shard is gone, and the others answer CLUSTERDOWN: refused within the time limit, in either colour.

    A call that waits when the shard comes back is answered; no restart of the application is needed.
    """
    cluster, key = own_redis_cluster, new_key()
    store = RedisStore.from_url(f"{cluster.url}?timeout=1")
    run(store.create(key, new_record()))
    name = f"holdfast:s:{key}"
    has_it = cluster.primary_of(name)
    lost = next(node for node in cluster.primaries() if node is not has_it)
    slot = next(f"{number}" for number in range(1000) if cluster.primary_of(f"{number}") is lost)
    cluster.replica_of(slot).kill()
    lost.kill()
    cluster.replace_after(0.5)
    settled(lambda: "cluster_state:fail" in asked(has_it, "CLUSTER", "INFO"), "nobody misses the shard")
    for call in (run, asyncio.run):
        began = time.monotonic()
        with pytest.raises(RedisStore.unavailable):
            call(store.commit(key, new_change(set={"n": b"1"})))
        assert time.monotonic() - began < 1 + BUSY_SECONDS
    lost.start()
    patient = RedisStore.from_url(f"{cluster.url}?timeout={PATIENCE_SECONDS}")
    assert run(patient.commit(key, new_change(set={"n": b"2"}))).version == 2
    assert asyncio.run(store.load(key)).values == {"n": b"2"}


@pytest.mark.parametrize("kind", ["own_redis_cluster", "own_redis_sentinel"])
def test_what_a_replica_took_is_not_left_for_the_primary(request: pytest.FixtureRequest, kind: str) -> None:
    """A weak read has one time limit, whoever is asked."""
    servers: RedisNodes = request.getfixturevalue(kind)
    store = RedisStore.from_url(f"{servers.url}?timeout=1")
    for weak in (False, True):  # so that there are connections, which say how long they were waited for
        run(store.load("x", weak=weak))
    for server in servers.nodes:
        server.freeze()
    with pytest.raises(redis.TimeoutError, match=r"within 0\.[0-7]"):
        run(store.load("x", weak=True))


@pytest.mark.parametrize("kind", ["redis_cluster", "redis_sentinel"])
@pytest.mark.parametrize("loss", [redis.ConnectionError, redis.TimeoutError])
def test_a_change_whose_answer_was_lost_is_not_sent_again(
    request: pytest.FixtureRequest,
    drive: Driver,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    loss: type[Exception],
) -> None:
    """Redis has done it, and then the connection is lost: the call fails, and nothing is sent a second time."""
    servers: RedisNodes = request.getfixturevalue(kind)
    store, key = RedisStore.from_url(servers.url), new_key()
    drive(store.create(key, new_record()))
    drive(store.commit(key, new_change(set={"n": b"1"})))  # the script is known from now on
    ask, sent = Wire.ask, []

    async def lost(wire: Wire, *commands: tuple[bytes, ...]) -> list[Any]:
        answers = await ask(wire, *commands)
        if commands[0][0] != b"EVALSHA":
            return answers
        sent.append(commands)
        raise loss("the answer is lost")

    monkeypatch.setattr(Wire, "ask", lost)
    with pytest.raises(RedisStore.unavailable):
        drive(store.commit(key, new_change(set={"n": b"late"})))
    monkeypatch.undo()
    assert len(sent) == 1
    assert drive(store.load(key)).values == {"n": b"late"}


def test_what_a_request_costs_on_a_cluster(redis_cluster: RedisCluster) -> None:
    """Reading is one command and changing one more; to sign in, and to end what has an owner, take another each.

    What has ended is also entered into the list of ended sessions, of which this process may read meanwhile.
    """
    store = RedisStore.from_url(redis_cluster.url)
    sessions = Sessions(store, keys=Keyring.generate(), insecure_http=True)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        match scope["path"]:
            case "/in":
                session.login("ann")
            case "/write":
                session["n"] = 1
            case "/read":
                session.get("n")
            case "/out":
                session.logout()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with asyncio.Runner() as runner:
        browser = Browser(SessionMiddleware(app, sessions))

        def cost(path: str) -> dict[str, int]:
            return commands_of(redis_cluster, lambda: runner.run(browser.get(path)))

        for _ in range(40):  # until all servers know the scripts, and all are connected
            for path in ("/in", "/write", "/read", "/out"):
                runner.run(browser.get(path))
        assert cost("/in") == {"evalsha": 2}
        assert cost("/read") == {"hgetall": 1}
        assert cost("/write") == {"hgetall": 1, "evalsha": 1}
        assert cost("/untouched") == {"hgetall": 1}
        out = cost("/out")
        assert (out["evalsha"], out["zrem"]) == (2, 1)


def test_tls_in_a_cluster(tmp_path: Path) -> None:
    """Every server that the cluster names is spoken to by TLS, and has to have a certificate that is trusted."""
    certificate, key = self_signed(tmp_path)
    with RedisCluster(tmp_path / "cluster", shards=2, tls=(certificate, key)) as cluster:
        store = RedisStore.from_url(f"{cluster.tls_url}?ca={certificate}")

        async def scenario() -> None:
            for _ in range(4):
                name = new_key()
                await store.create(name, new_record())
                assert (await store.commit(name, new_change())).version == 2
                await store.load(name, weak=True)
                assert await store.load(name) is not None
            await store.aclose()
            with pytest.raises(RedisStore.unavailable):
                await RedisStore.from_url(cluster.tls_url).load(name)

        run(scenario())
        asyncio.run(scenario())


def test_tls_and_passwords_with_sentinels(tmp_path: Path, drive: Driver) -> None:
    """Sentinels and Redis ask for different users, both over TLS; the wrong ones are refused."""
    certificate, key = self_signed(tmp_path)
    files = f"tls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {certificate}\n"
    user = ("--user", "app", "on", ">s3cret", "~*", "&*", "+@all", "--tls-replication", "yes")
    port = free_port()
    lines = (
        f"tls-port {port}\ntls-auth-clients no\ntls-replication yes\n{files}user watch on >pass ~* &* +@all\n"
    )
    lines += "user default off\n"
    redis_place, sentinel_place = (directory_in(tmp_path, name) for name in ("redis", "sentinel"))
    with (
        RedisServer(redis_place, tls=(certificate, key), options=user) as primary,
        Watcher(sentinel_place, primary, "sessions", lines),
    ):
        place = f"localhost:{port}/sessions?ca={certificate}&sentinel_user=watch&sentinel_password"
        store = RedisStore.from_url(f"rediss+sentinel://app:s3cret@{place}=pass")
        drive(store.create(name := new_key(), new_record()))
        assert drive(store.commit(name, new_change())).version == 2
        drive(store.aclose())
        if drive is run:
            tls: Any = {"ssl": True, "ssl_ca_certs": str(certificate)}
            watch = Sentinel(
                [("localhost", port)], sentinel_kwargs=tls | {"username": "watch", "password": "pass"}
            )
            ready = watch.master_for("sessions", username="app", password="s3cret", **tls)
            assert run(RedisStore(ready).load(name)) is not None
        for url in (f"app:s3cret@{place}=wrong", f"app:wrong@{place}=pass"):
            wrong = RedisStore.from_url(f"rediss+sentinel://{url}")
            with pytest.raises(redis.RedisError):
                drive(wrong.load(name))
            drive(wrong.aclose())
