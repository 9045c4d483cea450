"""A server that accepts and never answers holds no request up: every store gives up in time, in every colour.

A new store is one row in `ROWS`, and one in `READY` for each kind of client that may be handed in.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import aiobotocore.session
import boto3
import psycopg_pool
import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from google.cloud import firestore

import holdfast
from holdfast import Change, Record, StoreUnavailable
from holdfast import _colour as colour
from holdfast.stores import Store, from_url
from holdfast.stores.dynamodb import DynamoDBStore
from holdfast.stores.firestore import FirestoreStore
from holdfast.stores.guard import Guard
from holdfast.stores.postgres import PostgresStore
from holdfast.stores.redis import RedisStore

TIMEOUT_SECONDS = 0.7
# For the store's own work. Less than the time limit, so that a store is found out that waits twice.
SLACK_SECONDS = 0.5
# How often it is measured at most: a busy machine makes a call late now and then, a store makes it late each time.
TRIES = 8
# What the platform says is left, where the stores' own limit is far longer.
LEFT_SECONDS = 0.7
OWN_SECONDS = 60.0
# For the first try, which is not judged: in it clients are still busy with themselves.
FIRST_SECONDS = 0.4


class Silence(NamedTuple):
    """What accepts connections and never answers: a port, and a place for a file."""

    port: int
    directory: Path
    patch: pytest.MonkeyPatch


@pytest.fixture
def silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Silence]:
    """A port whose connections the system accepts, and which nobody serves."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        yield Silence(listener.getsockname()[1], tmp_path, monkeypatch)


def _at(url: str) -> Callable[[Silence, float], Store]:
    """The store of a URL, in which PORT is where nobody answers."""

    def make(silence: Silence, timeout: float) -> Store:
        mark = "&" if "?" in url else "?"
        return from_url(f"{url.replace('PORT', str(silence.port))}{mark}timeout={timeout}")

    return make


def _sqlite(silence: Silence, timeout: float) -> Store:
    """A file that another process, so to speak, keeps for itself: even readers wait."""
    path = silence.directory / f"{os.urandom(8).hex()}.db"
    store = from_url(f"sqlite:///{path}?timeout={timeout}")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    store.other = other  # type: ignore[attr-defined]  # for as long as the store is there
    return store


def _dynamodb(endpoint: str) -> Callable[[Silence, float], Store]:
    def make(silence: Silence, timeout: float) -> Store:
        silence.patch.setenv("AWS_ACCESS_KEY_ID", "none")
        silence.patch.setenv("AWS_SECRET_ACCESS_KEY", "none")
        return _at(f"dynamodb://sessions?region=eu-west-1&endpoint={endpoint}")(silence, timeout)

    return make


def _firestore(silence: Silence, timeout: float) -> Store:
    silence.patch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{silence.port}")
    return _at("firestore://project/sessions")(silence, timeout)


ROWS: dict[str, Callable[[Silence, float], Store]] = {
    "sqlite": _sqlite,
    "redis": _at("redis://127.0.0.1:PORT/0"),
    "rediss": _at("rediss://localhost:PORT/0"),
    "redis+cluster": _at("redis+cluster://127.0.0.1:PORT"),
    "redis+sentinel": _at("redis+sentinel://127.0.0.1:PORT/primary"),
    "memcached": _at("memcached://127.0.0.1:PORT"),
    "postgresql": _at("postgresql://someone:secret@127.0.0.1:PORT/sessions"),
    "postgresql, TLS": _at("postgresql://someone:secret@127.0.0.1:PORT/sessions?sslmode=require"),
    "dynamodb": _dynamodb("http://127.0.0.1:PORT"),
    "dynamodb, TLS": _dynamodb("https://127.0.0.1:PORT"),
    "cosmos": _at("cosmos://127.0.0.1:PORT/database/sessions?key=bm9uZQ==&insecure_http=true"),
    "cosmos, TLS": _at("cosmos://127.0.0.1:PORT/database/sessions?key=bm9uZQ=="),
    "firestore": _firestore,
}


Made = tuple[Store, Callable[[], Awaitable[object] | object]]


def _redis(silence: Silence, timeout: float) -> Made:
    """With time limits and repetitions of its own, as an application may well have set them."""
    client = redis.Redis(port=silence.port, socket_timeout=30)
    return RedisStore(client, timeout=timeout), client.close


async def _redis_asyncio(silence: Silence, seconds: float) -> Made:
    client = redis.asyncio.Redis(port=silence.port, socket_timeout=30)
    return RedisStore(client, timeout=seconds), client.aclose


def _redis_sentinel(silence: Silence, timeout: float) -> Made:
    watch = redis.sentinel.Sentinel([("127.0.0.1", silence.port)] * 3, socket_timeout=30)
    client = watch.master_for("primary")
    return RedisStore(client, timeout=timeout), client.close


async def _redis_sentinel_asyncio(silence: Silence, seconds: float) -> Made:
    watch = redis.asyncio.sentinel.Sentinel([("127.0.0.1", silence.port)] * 3, socket_timeout=30)
    client = watch.master_for("primary")
    return RedisStore(client, timeout=seconds), client.aclose


def _postgres(silence: Silence, timeout: float) -> Made:
    """An application's pool that has not been able to connect yet."""
    place = f"host=127.0.0.1 port={silence.port} connect_timeout=30"
    pool = psycopg_pool.ConnectionPool(place, min_size=1, open=True)
    return PostgresStore(pool, timeout=timeout), lambda: pool.close(0)


async def _postgres_asyncio(silence: Silence, seconds: float) -> Made:
    place = f"host=127.0.0.1 port={silence.port} connect_timeout=30"
    pool = psycopg_pool.AsyncConnectionPool(place, min_size=1, open=False)
    await pool.open()
    return PostgresStore(pool, timeout=seconds), lambda: pool.close(0)


def _credentials(silence: Silence) -> dict[str, Any]:
    silence.patch.setenv("AWS_ACCESS_KEY_ID", "none")
    silence.patch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    return {"region_name": "eu-west-1", "endpoint_url": f"http://127.0.0.1:{silence.port}"}


def _boto3(silence: Silence, timeout: float) -> Made:
    client = boto3.client("dynamodb", config=DynamoDBStore.config(timeout), **_credentials(silence))
    return DynamoDBStore(client, "sessions", timeout=timeout), client.close


async def _aiobotocore(silence: Silence, seconds: float) -> Made:
    session, config = aiobotocore.session.get_session(), DynamoDBStore.config(30)
    context = session.create_client("dynamodb", config=config, **_credentials(silence))
    store = DynamoDBStore(await context.__aenter__(), "sessions", timeout=seconds)
    return store, lambda: context.__aexit__(None, None, None)


def _firestore_client(silence: Silence, timeout: float) -> Made:
    silence.patch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{silence.port}")
    client = firestore.Client(project="project")
    return FirestoreStore(client, timeout=timeout), client.close


async def _firestore_async_client(silence: Silence, seconds: float) -> Made:
    silence.patch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{silence.port}")
    client = firestore.AsyncClient(project="project")
    return FirestoreStore(client, timeout=seconds), client._firestore_api.transport.close


# Cosmos DB's clients and those of a Redis Cluster cannot be made where nobody answers: their stores' own tests freeze
# the server instead.
READY: dict[str, Callable[[Silence, float], Made | Awaitable[Made]]] = {
    "redis.Redis": _redis,
    "redis.asyncio.Redis": _redis_asyncio,
    "redis.sentinel": _redis_sentinel,
    "redis.asyncio.sentinel": _redis_sentinel_asyncio,
    "psycopg_pool.ConnectionPool": _postgres,
    "psycopg_pool.AsyncConnectionPool": _postgres_asyncio,
    "boto3": _boto3,
    "aiobotocore": _aiobotocore,
    "firestore.Client": _firestore_client,
    "firestore.AsyncClient": _firestore_async_client,
}

# What keeps to time limits of its own, which no call can cut, as docs/stores/dynamodb.md says.
UNCUT = {"boto3"}


def calls(store: Guard) -> dict[str, Callable[[], Awaitable[object]]]:
    """The four calls of a store, each on a key of its own."""
    now = time.time()
    record = Record(1, os.urandom(8), {"n": b"1"}, None, now, now + 60)
    return {
        "load": lambda: store.load(os.urandom(32).hex()),
        "create": lambda: store.create(os.urandom(32).hex(), record),
        "commit": lambda: store.commit(os.urandom(32).hex(), Change(os.urandom(8), now, set={"n": b"2"})),
        "end": lambda: store.end(os.urandom(32).hex(), record._replace(ended=True)),
    }


async def outcome(call: Callable[[], Awaitable[object]], left: float | None) -> tuple[object, float]:
    """What a call has raised or returned, and how many seconds it took; `left` is what the platform says."""
    begun = time.monotonic()
    try:
        with holdfast.time_left(left) if left is not None else nullcontext():
            found: object = await call()
    except Exception as error:
        found = error
    return found, time.monotonic() - begun


def by_hand(store: Store, left: float | None) -> dict[str, tuple[object, float]]:
    """The outcomes of the four calls, made by as many threads at once, at the second try."""
    wanted: dict[str, Any] = calls(Guard(store))
    with ThreadPoolExecutor(len(wanted)) as pool:
        for given in (FIRST_SECONDS, left):
            begun = {name: pool.submit(colour.run, outcome(call, given)) for name, call in wanted.items()}
            outcomes = {name: future.result() for name, future in begun.items()}
    if (close := getattr(store, "close", None)) is not None:
        close()
    return outcomes


def on_a_loop(store: Store, left: float | None) -> dict[str, tuple[object, float]]:
    """The same by tasks of an event loop. Stores that would block it are called in worker threads."""
    guard = Guard(store)

    async def closing() -> dict[str, tuple[object, float]]:
        try:
            return await _twice(guard, left)
        finally:
            if "async" in guard.colours:
                await guard.aclose()

    return asyncio.run(closing())


async def _twice(guard: Guard, left: float | None) -> dict[str, tuple[object, float]]:
    """The outcomes of the four calls as tasks, at the second try."""

    async def one(call: Any, given: float | None) -> tuple[object, float]:
        tried = outcome(call, given)
        return await (tried if "async" in guard.colours else colour.off_loop(tried))

    wanted = calls(guard)
    for given in (FIRST_SECONDS, left):
        outcomes = await asyncio.gather(*(one(call, given) for call in wanted.values()))
    return dict(zip(wanted, outcomes, strict=True))


def ready(row: str, silence: Silence, timeout: float, left: float | None) -> dict[str, tuple[object, float]]:
    """The outcomes with a client that is handed in: in threads, or on an event loop if that is what it is for."""
    made = READY[row](silence, timeout)
    if isinstance(made, tuple):
        store, close = made
        try:
            return by_hand(store, left)
        finally:
            close()

    async def closing() -> dict[str, tuple[object, float]]:
        store, close = await made
        try:
            return await _twice(Guard(store), left)
        finally:
            closed: Any = close()
            await closed

    return asyncio.run(closing())


COLOURS = {"sync": by_hand, "async": on_a_loop}
CASES = [pytest.param(row, name, id=f"{row}-{name}") for row in ROWS for name in COLOURS]


@pytest.mark.parametrize(("row", "name"), CASES)
def test_a_call_ends_within_its_time_limit(row: str, name: str, silence: Silence) -> None:
    """As `StoreUnavailable`; also connecting and what a client repeats by itself are within the limit."""
    check(lambda: COLOURS[name](ROWS[row](silence, TIMEOUT_SECONDS), None), TIMEOUT_SECONDS + SLACK_SECONDS)


@pytest.mark.parametrize(("row", "name"), CASES)
def test_a_call_ends_before_the_platform_ends_the_request(row: str, name: str, silence: Silence) -> None:
    """However long the store's own limit is."""
    check(lambda: COLOURS[name](ROWS[row](silence, OWN_SECONDS), LEFT_SECONDS), LEFT_SECONDS + SLACK_SECONDS)


@pytest.mark.parametrize("row", READY)
def test_a_call_over_a_ready_client_ends_within_its_time_limit(row: str, silence: Silence) -> None:
    """Whatever limits and retries the client has of its own."""
    check(lambda: ready(row, silence, TIMEOUT_SECONDS, None), TIMEOUT_SECONDS + SLACK_SECONDS)


@pytest.mark.parametrize("row", [row for row in READY if row not in UNCUT])
def test_a_call_over_a_ready_client_ends_before_the_platform_ends_the_request(
    row: str, silence: Silence
) -> None:
    """However long the limits of the store and of the client are."""
    check(lambda: ready(row, silence, OWN_SECONDS, LEFT_SECONDS), LEFT_SECONDS + SLACK_SECONDS)


def check(measured: Callable[[], dict[str, tuple[object, float]]], limit: float) -> None:
    """Each call says that the store is not available; and in time, if the machine lets it."""
    late: dict[str, list[float]] = {}
    for _ in range(TRIES):
        in_time = True
        for name, (found, seconds) in measured().items():
            assert isinstance(found, StoreUnavailable), f"{name}: {found!r}"
            if seconds >= limit:
                late.setdefault(name, []).append(seconds)
                in_time = False
        if in_time:
            return
    raise AssertionError(f"not once within {limit} seconds: {late}")
