"""The store's connections to Redis: through outages, freezes, event loops, threads and forks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from records import new_change, new_key, new_record
from redis.backoff import NoBackoff
from redis.retry import Retry

from holdfast._colour import PerLoop, run
from holdfast.stores.redis import RedisStore
from servers.certificate import self_signed
from servers.process import BUSY_SECONDS, PATIENCE_SECONDS
from servers.redis import RedisServer

Driver = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Any:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


def test_a_restart_of_redis_is_not_noticed(redis_server: RedisServer, drive: Driver) -> None:
    """Dead connections and lost scripts are replaced: no call fails once Redis is back, reading or writing."""
    store, key = RedisStore.from_url(redis_server.url), new_key()

    async def at_once(count: int) -> None:
        await asyncio.gather(*(store.load(key) for _ in range(count)))

    drive(store.create(key, new_record()))
    if drive is not run:
        drive(at_once(5))  # so that several connections are to be replaced
    for version in range(2, 5):
        redis_server.restart()
        assert drive(store.commit(key, new_change(set={"n": b"1"}))).version == version
        redis_server.kill()
        redis_server.start()
        assert drive(store.load(key)).version == version


def test_an_outage_is_an_error_and_then_over(redis_server: RedisServer, drive: Driver) -> None:
    """While Redis is down each call raises what means StoreUnavailable; afterwards everything works again."""
    store, key = RedisStore.from_url(redis_server.url), new_key()
    drive(store.create(key, new_record()))
    redis_server.stop()
    calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [
        lambda: store.load(key),
        lambda: store.create(new_key(), new_record()),
        lambda: store.commit(key, new_change()),
        lambda: store.end(key, new_record(ended=True)),
        lambda: store.of("ann"),
    ]
    for call in calls:
        with pytest.raises(RedisStore.unavailable):
            drive(call())
    redis_server.start()
    for call in calls:
        drive(call())


def test_the_time_limit_is_counted_for_each_call_anew(redis_server: RedisServer) -> None:
    """A call that comes late in the time limit of another still has its own, and not more."""
    store = RedisStore.from_url(f"{redis_server.url}?timeout=1")

    async def scenario() -> float:
        await store.load("x")
        await asyncio.sleep(0.8)
        await store.load("x")
        redis_server.freeze()
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError, match=r"within 1 seconds"):
            await store.load("x")
        redis_server.thaw()
        taken = time.monotonic() - began
        await asyncio.sleep(1.2)  # past the time at which nobody waits any more
        assert await store.load("x") is None
        return taken

    assert 0.95 < asyncio.run(scenario()) < 1 + BUSY_SECONDS


def test_whoever_waits_for_a_connection_is_given_up_in_time(redis_server: RedisServer) -> None:
    """The time limit holds for the turn that does not come, too."""
    store = RedisStore.from_url(f"{redis_server.url}?timeout=1&connections=1")

    async def scenario() -> float:
        await store.load("x")
        redis_server.freeze()
        began = time.monotonic()
        results = await asyncio.gather(*(store.load("x") for _ in range(20)), return_exceptions=True)
        assert [type(result) for result in results] == [redis.TimeoutError] * 20
        return time.monotonic() - began

    taken = asyncio.run(scenario())
    redis_server.thaw()
    assert taken < 1 + BUSY_SECONDS


def test_a_connection_that_is_lost_while_waiting_is_an_outage(redis_server: RedisServer) -> None:
    """Redis dies with the question in its hands: that is told at once, without waiting for the time limit."""
    store = RedisStore.from_url(f"{redis_server.url}?timeout=60")

    async def scenario() -> float:
        await store.load("x")
        redis_server.freeze()
        waiting = asyncio.create_task(store.load("x"))
        await asyncio.sleep(0.05)
        redis_server.kill()
        began = time.monotonic()
        with pytest.raises(redis.ConnectionError):
            await waiting
        return time.monotonic() - began

    assert asyncio.run(scenario()) < BUSY_SECONDS


@pytest.mark.parametrize("connected", [True, False])
def test_a_redis_that_does_not_answer_is_given_up_in_time(
    redis_server: RedisServer, drive: Driver, connected: bool
) -> None:
    """A frozen Redis costs at most the timeout, over a new connection and over an old one."""
    store, key = RedisStore.from_url(f"{redis_server.url}?timeout=1"), new_key()
    if connected:
        drive(store.create(key, new_record()))
    redis_server.freeze()
    for call in (store.load(key), store.commit(key, new_change())):
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            drive(call)
        assert 0.4 < time.monotonic() - began < 1 + BUSY_SECONDS
    redis_server.thaw()
    drive(store.end(key, new_record(ended=True)))
    assert drive(store.load(key)).ended


def test_the_default_time_limit_is_two_seconds(redis_server: RedisServer) -> None:
    """Without an option a frozen Redis holds a request for two seconds at most."""
    store = RedisStore.from_url(redis_server.url)
    redis_server.freeze()
    began = time.monotonic()
    with pytest.raises(redis.TimeoutError):
        asyncio.run(store.load("x"))
    assert 1.5 < time.monotonic() - began < 2 + BUSY_SECONDS


def test_a_thawed_instance_does_not_use_a_dead_connection(redis_server: RedisServer) -> None:
    """A change is the first thing after a freeze in which Redis was restarted: it is kept, not failed."""
    store, key = RedisStore.from_url(redis_server.url), new_key()

    async def scenario() -> int:
        await store.create(key, new_record())
        redis_server.restart()  # blocks the loop, as a frozen instance's is: it hears nothing of it
        return (await store.commit(key, new_change())).version

    assert asyncio.run(scenario()) == 2


def test_a_change_whose_answer_was_lost_is_not_sent_again(redis_server: RedisServer) -> None:
    """Whatever retries a ready client is set up with: the store does not repeat a change by itself."""
    client = redis.Redis.from_url(redis_server.url, socket_timeout=1, retry=Retry(NoBackoff(), 5))
    store, key = RedisStore(client), new_key()
    run(store.create(key, new_record()))
    run(store.commit(key, new_change(set={"n": b"1"})))
    before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    redis_server.freeze()
    with pytest.raises(redis.TimeoutError):
        run(store.commit(key, new_change(set={"n": b"2"})))
    redis_server.thaw()
    assert run(store.load(key)).values == {"n": b"2"}  # it had arrived
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1


def test_a_redis_that_takes_no_changes_for_now_is_an_outage(redis_server: RedisServer, drive: Driver) -> None:
    """It has too few replicas, or a disk that fails: that passes, so whoever can wait does. Reading goes on."""
    store, key = RedisStore.from_url(redis_server.url), new_key()
    drive(store.create(key, new_record()))

    def refused(why: str) -> None:
        with pytest.raises(RedisStore.unavailable, match=why):
            drive(store.commit(key, new_change()))
        assert drive(store.load(key)).version == 1

    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("min-replicas-to-write", 1)
        refused("NOREPLICAS")
        client.config_set("min-replicas-to-write", 0)
        client.config_set("save", "3600 1")
        in_the_way = Path(client.config_get("dir")["dir"]) / "dump.rdb"
        in_the_way.mkdir()
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        refused("MISCONF")
        client.config_set("stop-writes-on-bgsave-error", "no")
    assert drive(store.commit(key, new_change())).version == 2


def test_a_cancelled_call_leaves_no_answer_behind(redis_server: RedisServer) -> None:
    """The answer that nobody waited for is not taken for that of the next call."""
    store, one, other = RedisStore.from_url(redis_server.url), new_key(), new_key()

    async def scenario() -> None:
        await store.create(one, new_record(values={"who": b"one"}))
        await store.create(other, new_record(values={"who": b"other"}))
        redis_server.freeze()
        waiting = asyncio.create_task(store.load(one))
        await asyncio.sleep(0.05)
        waiting.cancel()
        redis_server.thaw()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await store.load(other)).values == {"who": b"other"}

    asyncio.run(scenario())


def test_an_error_among_several_answers_leaves_none_behind(redis_url: str, drive: Driver) -> None:
    """What Redis still answers after an error is not taken for the answer to the next call."""
    prefix = f"{new_key()}:"  # what is put there is not for the scans of other tests
    store = RedisStore.from_url(f"{redis_url}?prefix={prefix}")
    owner, keys = new_key(), [new_key() for _ in range(3)]
    for key in keys:
        drive(store.create(key, new_record(values={"key": key.encode()}, owner=owner)))
    redis.Redis.from_url(redis_url).set(f"{prefix}s:{keys[0]}", "what is no hash")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        drive(store.of(owner))
    for key in reversed(keys[1:]):
        assert drive(store.load(key)).values == {"key": key.encode()}


def test_more_callers_than_connections_wait_for_their_turn(redis_server: RedisServer) -> None:
    """A burst of requests does not open more connections than allowed, and none of them fails."""
    store, key = RedisStore.from_url(f"{redis_server.url}?connections=3"), new_key()

    async def scenario() -> int:
        await store.create(key, new_record())
        changes = (store.commit(key, new_change(set={f"{number}": b"x"})) for number in range(50))
        await asyncio.gather(*changes)
        assert (await store.load(key)).version == 51
        return connected(redis_server)

    assert asyncio.run(scenario()) == 3


def test_a_store_is_used_on_one_loop_after_the_other(redis_server: RedisServer) -> None:
    """Platforms run each invocation on a fresh loop: none fails, complains or leaves a connection behind."""
    loop_after_loop(redis_server, redis_server.url)


def test_the_end_of_a_loop_waits_for_no_server(tmp_path: Path) -> None:
    """TLS would wait half a minute, for each connection, until a server that does not answer has said goodbye."""
    ca, key = self_signed(tmp_path)
    with RedisServer(tmp_path, tls=(ca, key)) as server:
        url = f"{server.tls_url}?ca={ca}"
        loop_after_loop(server, url)
        store = RedisStore.from_url(url)

        async def invocation() -> None:
            await asyncio.gather(*(store.load("x") for _ in range(2)))
            server.freeze()

        began = time.monotonic()
        asyncio.run(invocation())
        assert time.monotonic() - began < BUSY_SECONDS
        server.thaw()
        wait_until(lambda: connected(server) == 0)


def loop_after_loop(server: RedisServer, url: str) -> None:
    """Let another process use a store so."""
    program = (
        "import asyncio, gc, sys\n"
        "from holdfast.stores.redis import RedisStore\n"
        "store = RedisStore.from_url(sys.argv[1])\n"
        "async def invocation():\n"
        "    asyncio.get_running_loop().slow_callback_duration = 60  # a busy machine is no complaint\n"
        "    await asyncio.gather(*(store.load('x') for _ in range(5)))\n"
        "for _ in range(5):\n"
        "    asyncio.run(invocation())\n"
        "    gc.collect()\n"
        "print('ready', flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-X", "dev", "-W", "always", "-c", program, url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        wait_until(lambda: connected(server) == 0)
        _, complaints = process.communicate("\n")
    assert process.returncode == 0
    assert complaints == ""


def test_loops_that_are_closed_without_telling_leave_no_connection(redis_server: RedisServer) -> None:
    """A loop closed by hand is noticed at the next use: its sockets go, and nothing complains of a closed loop."""
    program = (
        "import asyncio, gc, sys\n"
        "gc.disable()\n"
        "from holdfast.stores.redis import RedisStore\n"
        "store = RedisStore.from_url(sys.argv[1])\n"
        "for _ in range(5):\n"
        "    loop = asyncio.new_event_loop()\n"
        "    loop.run_until_complete(store.load('x'))\n"
        "    loop.close()\n"
        "print('ready', flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, redis_server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        wait_until(lambda: connected(redis_server) == 1)
        _, complaints = process.communicate("\n")
    assert process.returncode == 0
    assert complaints == ""


def test_aclose_closes_and_a_later_call_connects_again(redis_server: RedisServer, drive: Driver) -> None:
    """After aclose() Redis sees no connection; the store can be used again."""
    store = RedisStore.from_url(redis_server.url)
    drive(store.load("x"))
    assert connected(redis_server) == 1
    drive(store.aclose())
    wait_until(lambda: connected(redis_server) == 0)
    assert drive(store.load("x")) is None


def test_a_connection_that_is_in_use_is_closed_once_it_is_not(redis_server: RedisServer) -> None:
    """aclose() waits for no call, and nothing is left of one that was under way."""
    store = RedisStore.from_url(f"{redis_server.url}?timeout=60")

    async def scenario() -> Any:
        waiting = asyncio.create_task(store._way.ask((b"BLPOP", b"turns", b"0")))
        with redis.Redis.from_url(redis_server.url) as client:
            await asyncio.to_thread(wait_until, lambda: client.info("clients")["blocked_clients"] == 1, 20)
            await store.aclose()
            client.rpush("turns", "yours")
        (answer,) = await waiting
        await asyncio.to_thread(wait_until, lambda: connected(redis_server) == 0, 20)
        return answer

    assert asyncio.run(scenario()) == [b"turns", b"yours"]


def test_a_ready_client_is_its_owners_to_close(redis_server: RedisServer) -> None:
    """aclose() leaves a client's connections, and closes those that the store has made like them."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.ping()
        for close in (lambda store: run(store.aclose()), RedisStore.close):
            store = RedisStore(client)
            run(store.load("x"))
            assert connected(redis_server) == 2
            close(store)
            wait_until(lambda: connected(redis_server) == 1)


def test_a_ready_client_says_how_to_connect(redis_server: RedisServer) -> None:
    """Its user, password, database and name, and its kind of connection; what else it is used for goes on."""
    redis_server.ask(b"ACL SETUSER app on >s3cret ~* &* +@all\r\n")
    with redis.Redis(
        port=redis_server.port, db=3, username="app", password="s3cret", client_name="shop", protocol=3
    ) as client:
        store, key = RedisStore(client), new_key()
        run(store.create(key, new_record()))
        assert client.exists(f"holdfast:s:{key}")
        names = [(seen["name"], seen["user"], seen["db"]) for seen in client.client_list()]
        assert names == [("shop", "app", "3")] * 2
        assert client.connection_pool.connection_kwargs["protocol"] == 3
        store.close()


def test_loops_of_many_threads_come_and_go_at_once() -> None:
    """While one thread drops the clients of closed loops, others may add theirs."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    clients: PerLoop[object] = PerLoop(object, lambda client: None)

    async def use() -> object:
        return clients.get()

    def work() -> None:
        for _ in range(100):
            asyncio.run(use())

    try:
        with ThreadPoolExecutor(8) as threads:
            for job in [threads.submit(work) for _ in range(8)]:
                job.result()
    finally:
        sys.setswitchinterval(before)


def test_tls(tmp_path: Path, drive: Driver) -> None:
    """rediss:// speaks TLS and trusts the authority that it is told to, and no other."""
    ca, key = self_signed(tmp_path)
    with RedisServer(tmp_path, tls=(ca, key)) as server:
        store, name = RedisStore.from_url(f"{server.tls_url}?ca={ca}"), new_key()
        drive(store.create(name, new_record()))
        assert drive(store.commit(name, new_change())).version == 2
        large = {"n": os.urandom(300_000)}  # many pieces, on the way and in TLS
        assert drive(store.commit(name, new_change(set=large))).values == large
        assert drive(store.load(name)).values == large
        drive(store.aclose())
        with pytest.raises(RedisStore.unavailable):
            drive(RedisStore.from_url(server.tls_url).load(name))


def test_a_ready_clients_kind_of_connection_is_used(tmp_path: Path) -> None:
    """TLS with the authority that it trusts, and the socket of a machine."""
    ca, key = self_signed(tmp_path)
    path = str(tmp_path / "redis.sock")
    with RedisServer(tmp_path, tls=(ca, key), options=("--unixsocket", path)) as server:
        name = new_key()
        with redis.Redis("localhost", server.tls_port, ssl=True, ssl_ca_certs=str(ca)) as client:
            store = RedisStore(client)
            run(store.create(name, new_record()))
            store.close()
        trusting = redis.Redis("localhost", server.tls_port, ssl=True)  # what the system trusts, and no more
        with trusting as client, pytest.raises(RedisStore.unavailable):
            run(RedisStore(client).load(name))
        with redis.Redis(unix_socket_path=path) as client:
            store = RedisStore(client)
            assert run(store.load(name)) is not None
            store.close()


def connected(server: RedisServer) -> int:
    """How many clients Redis sees, but for the one that asks."""
    with redis.Redis.from_url(server.url) as client:
        return len(client.client_list()) - 1


def wait_until(happened: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for what another process does in its own time."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
