"""URLs, clients, time limits and event loops of the DynamoDB store."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from dynamodb_answers import refusal, scripted
from makers.dynamodb import endpoint_of
from records import new_change, new_key, new_record

import holdfast
from holdfast._colour import run
from holdfast.errors import ConfigError, StoreThrottled
from holdfast.stores import Store, from_url
from holdfast.stores.dynamodb import DynamoDBStore
from servers.dynamodb import TABLE, DynaliteServer, client_of
from servers.process import BUSY_SECONDS, free_port

LIMIT = 0.4


@pytest.fixture
def silent_url() -> Iterator[str]:
    """A DynamoDB that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        yield f"dynamodb://{TABLE}?region=eu-west-1&endpoint=http://127.0.0.1:{port}&timeout={LIMIT}"


def calls(store: Any) -> list[Any]:
    """One of each call that a request may make."""
    return [
        lambda: store.load("k" * 16),
        lambda: store.create("k" * 16, new_record()),
        lambda: store.commit("k" * 16, new_change(set={"n": b"1"})),
        lambda: store.commit("k" * 16, new_change(set={str(n): b"1" for n in range(200)})),
        lambda: store.end("k" * 16, new_record()),
        lambda: store.of("ann"),
    ]


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_call_ends_in_time(silent_url: str, colour: str) -> None:
    """Where nothing answers, every call is given up within its time limit, a read that is tried again too."""
    store = from_url(silent_url)
    for call in calls(store):
        began = time.monotonic()
        with pytest.raises((TimeoutError, *DynamoDBStore.unavailable)):
            _in(colour, call)
        assert time.monotonic() - began < LIMIT + BUSY_SECONDS
    run(store.aclose())  # type: ignore[attr-defined]


def test_a_ready_client_with_limits_of_its_own_ends_in_time(silent_url: str) -> None:
    """However a blocking client divides its time: a read is not sent once more where there is no time for that."""
    limits = DynamoDBStore.config().merge(Config(connect_timeout=LIMIT / 8, read_timeout=LIMIT * 7 / 8))
    client = client_of(endpoint_of(silent_url), config=limits)
    store = DynamoDBStore(client, TABLE, timeout=LIMIT)
    sent: list[float] = []
    client.meta.events.register("before-send", lambda **_: sent.append(time.monotonic()))
    with pytest.raises(DynamoDBStore.unavailable):
        run(store.load("k" * 16))
    assert len(sent) == 1
    client.close()


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_call_ends_sooner_where_the_platform_says_so(silent_url: str, colour: str) -> None:
    """The time that the platform leaves counts, if it is less than the time limit."""
    store = from_url(silent_url.replace(f"timeout={LIMIT}", "timeout=60"))
    began = time.monotonic()
    with holdfast.time_left(0.8), pytest.raises((TimeoutError, *DynamoDBStore.unavailable)):
        _in(colour, lambda: store.load("k" * 16))
    assert time.monotonic() - began < 0.8 + BUSY_SECONDS
    with holdfast.time_left(0.1), pytest.raises(TimeoutError):
        _in(colour, lambda: store.load("k" * 16))
    run(store.aclose())  # type: ignore[attr-defined]


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_throttling_is_waited_for_within_the_limit(colour: str) -> None:
    """Pauses between tries count too: a call that is throttled all the time ends in time."""
    with scripted() as script:
        script.answers = [refusal("ThrottlingException")] * 10
        store = from_url(f"{script.url}&timeout=0.3")
        began = time.monotonic()
        with pytest.raises((StoreThrottled, TimeoutError)):
            _in(colour, lambda: store.load("k" * 16))
        assert time.monotonic() - began < 0.3 + BUSY_SECONDS
        run(store.aclose())  # type: ignore[attr-defined]


def test_a_frozen_server_is_given_up_and_found_again(dynalite_server: DynaliteServer) -> None:
    """After a server has stood still, the next call reaches it, in both colours."""
    store = from_url(f"{dynalite_server.url}&timeout=1.5")
    key, record = new_key(), new_record()
    for colour in ("sync", "async"):
        dynalite_server.freeze()
        with pytest.raises((TimeoutError, *DynamoDBStore.unavailable)):
            _in(colour, lambda: store.load(key))
        dynalite_server.thaw()
        _in(colour, lambda: store.end(key, record))
        assert _in(colour, lambda: store.load(key)) == record
    run(store.aclose())  # type: ignore[attr-defined]


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    """A refused connection is an error that means unavailable."""
    store = from_url(f"dynamodb://{TABLE}?region=eu-west-1&endpoint=http://127.0.0.1:{free_port()}")
    for colour in ("sync", "async"):
        with pytest.raises(DynamoDBStore.unavailable):
            _in(colour, lambda: store.load("k" * 16))


@pytest.mark.parametrize("way", ["asyncio.run", "closed without a word", "closed by the store"])
def test_loops_come_and_go(dynalite_url: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each loop has a client of its own, and nobody hears of those whose loop has ended."""

    async def visit(store: Any) -> None:
        key, record = new_key(), new_record()
        await store.end(key, record)
        assert await store.load(key) == record
        if way == "closed by the store":
            await store.aclose()

    def visits() -> None:
        store = from_url(dynalite_url)
        for _ in range(3):
            if way == "closed without a word":
                loop = asyncio.new_event_loop()
                loop.run_until_complete(visit(store))
                loop.close()
            else:
                asyncio.run(visit(store))

    gc.collect()  # what other tests have left behind is not to be heard of here
    caplog.clear()
    with warnings.catch_warnings(record=True) as noise:
        warnings.simplefilter("always")
        visits()
        gc.collect()
    said = [str(each.message) for each in noise if "transport" not in str(each.message)]
    assert [text for text in said if "Unclosed" in text or "never awaited" in text] == []
    assert "Unclosed" not in caplog.text
    assert "Event loop is closed" not in caplog.text


def test_calls_side_by_side_share_the_client_of_their_loop(dynalite_url: str) -> None:
    """The first calls of a loop wait for one client, and make no more."""
    store: Any = from_url(dynalite_url)

    async def visit() -> set[int]:
        await asyncio.gather(*(store.load(new_key()) for _ in range(8)))
        return {id(store._clients._loops.get()._client)}

    assert len(asyncio.run(visit())) == 1
    run(store.aclose())


WRONG_URLS = [
    ("dynamodb://?region=eu-west-1", "letters, digits"),
    ("dynamodb://ab?region=eu-west-1", "3 to 255"),
    ("dynamodb://sessions/more?region=eu-west-1", "more than a table"),
    ("dynamodb://AKIA:s3cret@sessions?region=eu-west-1", "credentials"),
    ("dynamodb://sessions?region=eu west", "no name of a region"),
    ("dynamodb://sessions?region=eu-west-1&endpoint=localhost:8000", "endpoint=http://"),
    ("dynamodb://sessions?region=eu-west-1&endpoint=http://a:s3cret@b", "endpoint=http://"),
    ("dynamodb://sessions?region=eu-west-1&timeout=0", "above zero"),
    ("dynamodb://sessions?region=eu-west-1&connections=x", "cannot be read"),
    ("dynamodb://sessions?region=eu-west-1&table=x", "unknown option"),
    ("dynamodb://sessions?region=eu-west-1&profile=nobody", "nobody"),
    ("dynamodb://sessions?profile=nobody", "nobody"),
    ("dynamodb://sessions", "no AWS region"),
]


@pytest.mark.parametrize(("url", "says"), WRONG_URLS, ids=[row[0] for row in WRONG_URLS])
def test_a_wrong_url_is_refused_at_once(
    url: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """What could not work is told at construction, and no secret with it."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=says) as error:
        from_url(url)
    assert "s3cret" not in str(error.value)


def test_the_region_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both names that platforms use for it are read."""
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    from_url("dynamodb://sessions")


def test_a_client_that_would_wait_too_long_is_refused(moto_url: str) -> None:
    """A client's own limits hold: one with botocore's, a minute for each of several tries, is none for requests."""
    endpoint = endpoint_of(moto_url)
    for client, says in (
        (client_of(endpoint), "tries again"),
        (client_of(endpoint, config=DynamoDBStore.config(3.0)), "within 2"),
        (boto3.client("s3", region_name="eu-west-1"), "no DynamoDB client"),
        (object(), "no DynamoDB client"),
    ):
        with pytest.raises(ConfigError, match=says):
            DynamoDBStore(client, TABLE)
    resource = boto3.resource("dynamodb", region_name="eu-west-1", endpoint_url=endpoint)
    with pytest.raises(ConfigError, match="no DynamoDB client"):
        DynamoDBStore(resource.Table(TABLE), TABLE)
    DynamoDBStore(client_of(endpoint, config=DynamoDBStore.config(3.0)), TABLE, timeout=3)


def test_without_aiobotocore_it_serves_sync_callers(monkeypatch: pytest.MonkeyPatch, moto_url: str) -> None:
    """Async callers are then sent to a thread, as with any blocking store."""
    monkeypatch.setattr("holdfast.stores._dynamodb_url.find_spec", lambda name: None)
    store: Store = from_url(moto_url)
    assert store.colours == {"sync"}  # type: ignore[attr-defined]
    assert run(store.load(new_key())) is None


def test_nothing_is_asked_for_at_construction() -> None:
    """A store that is made looks for no credentials and opens no connection."""
    code = """
import socket
socket.socket.connect = None
import botocore.credentials
botocore.credentials.CredentialResolver.load_credentials = None
from holdfast.stores import from_url
from_url("dynamodb://sessions?region=eu-west-1")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_threads_share_the_store(moto_url: str) -> None:
    """Sync callers in several threads use one client."""
    from concurrent.futures import ThreadPoolExecutor

    store: Any = from_url(moto_url)
    key, record = new_key(), new_record()
    run(store.create(key, record))
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: run(store.load(key)), range(32))) == [record] * 32
    assert len(store._clients._blocking) == 1
    store.close()


def test_a_fork_has_connections_of_its_own(dynalite_url: str) -> None:
    """Processes that a server forks off after the store was used do not read each other's answers."""
    store: Any = from_url(dynalite_url)
    keys = [new_key() for _ in range(3)]
    for key in keys:
        run(store.create(key, new_record(values={"key": key.encode()})))
    children = []
    for key in keys[1:]:
        if (child := os.fork()) == 0:
            os._exit(_loads_its_own(store, key))
        children.append(child)
    assert _loads_its_own(store, keys[0]) == 0
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    store.close()


def _loads_its_own(store: Any, key: str) -> int:
    try:
        return int(any(run(store.load(key)).values["key"] != key.encode() for _ in range(40)))
    except BaseException:
        return 2


def test_botocore_alone_is_enough(moto_url: str) -> None:
    """A client of botocore is as good as one of boto3, which it is made of."""
    client = botocore.session.get_session().create_client(
        "dynamodb",
        region_name="eu-west-1",
        endpoint_url=endpoint_of(moto_url),
        config=DynamoDBStore.config(),
    )
    assert run(DynamoDBStore(client, TABLE).load(new_key())) is None
    client.close()


def _in(colour: str, call: Any) -> Any:
    return run(call()) if colour == "sync" else asyncio.run(call())
