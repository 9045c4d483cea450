"""What a store costs on top of its client: loading and committing a session, beside one bare get and one bare put.

The bare client keeps a session of the same 400 bytes on the same server, used as its documentation says (see
`bare_clients`), and takes turns with Holdfast. A commit changes one of seven keys, to a record that was loaded or
changed just before, as in a request. The ratio is that of the time until the answer; beside it stands that of the
processor time of the client's process, which leaves out what the server does: an emulator is no measure of what the
real engine would need for a conditional update. Each of the two colours is compared with the client of that colour;
async calls are made one at a time in one event loop. Servers have one core and the clients another.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from holdfast import _colour, codec
from holdfast.record import Change, Record
from holdfast.stores import Store, from_url

from . import bare_clients, bare_clouds, servers
from .asgi_subjects import DATA
from .bare_clients import Bare, Clients
from .measure import Call, Rounds, markdown, on_core, ratio, take_turns_by
from .servers import Running

MOST = 1.3
SLOT_SECONDS = 0.015
SLOW_SLOT_SECONDS = 0.06

VALUES = {name: codec.encode(value, name) for name, value in DATA.items()}


class Engine(NamedTuple):
    """A server, the client that is used alone, how long a turn takes, and what Holdfast's URL has after the server's.

    A turn takes longer where a call does.
    """

    server: Running
    clients: Clients
    slot: float = SLOT_SECONDS
    options: str = ""


ENGINES = {
    "sqlite": Engine(servers.sqlite, bare_clients.sqlite, SLOW_SLOT_SECONDS),
    "redis": Engine(servers.redis, bare_clients.redis),
    "redis cluster": Engine(servers.redis_cluster, bare_clients.redis_cluster),
    "postgresql": Engine(servers.postgres, bare_clients.postgres, SLOW_SLOT_SECONDS),
    "postgresql (prepared: both)": Engine(
        servers.postgres, bare_clients.postgres_prepared, SLOW_SLOT_SECONDS, "?prepared=true"
    ),
    "postgresql (prepared: bare)": Engine(
        servers.postgres, bare_clients.postgres_prepared, SLOW_SLOT_SECONDS
    ),
    "memcached": Engine(servers.memcached, bare_clients.memcached),
    "dynamodb (dynalite)": Engine(servers.dynalite, bare_clouds.dynamodb, SLOW_SLOT_SECONDS),
    "dynamodb (moto)": Engine(servers.moto, bare_clouds.dynamodb, SLOW_SLOT_SECONDS),
    "cosmos (emulator)": Engine(servers.cosmos, bare_clouds.cosmos, SLOW_SLOT_SECONDS),
    "dynamodb (dynalite, guarded)": Engine(servers.dynalite, bare_clouds.dynamodb_guarded, SLOW_SLOT_SECONDS),
    "dynamodb (moto, guarded)": Engine(servers.moto, bare_clouds.dynamodb_guarded, SLOW_SLOT_SECONDS),
    "cosmos (emulator, guarded)": Engine(servers.cosmos, bare_clouds.cosmos_guarded, SLOW_SLOT_SECONDS),
    "firestore (test server)": Engine(servers.firestore, bare_clouds.firestore, SLOW_SLOT_SECONDS),
}


def report(rounds: int = 40, engines: Mapping[str, Engine] = ENGINES) -> str:
    """A Markdown table: for each store, colour and operation both times, their ratio, and whether it is met."""
    rows = [row for name, engine in engines.items() for row in asyncio.run(measure(name, engine, rounds))]
    header = [
        "Store",
        "colour",
        "operation",
        "bare µs",
        "Holdfast µs",
        "of its CPU",
        "ratio",
        f"at most {MOST:g}",
    ]
    return markdown(header, rows)


async def measure(name: str, engine: Engine, rounds: int) -> list[list[str]]:
    """Start one server, let its client and Holdfast's store take turns, and say what came out."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        with on_core(-1):
            url = stack.enter_context(engine.server(Path(place)))
        stack.enter_context(on_core(0))
        async with engine.clients(url, VALUES) as clients:
            store = from_url(url + engine.options)
            subjects = {
                f"{who} {colour} {operation}": call
                for colour, client in clients.items()
                for operation, calls in (await pairs(store, colour, client)).items()
                for who, call in calls.items()
            }
            clocks = (time.perf_counter, time.process_time)
            wall, cpu = await take_turns_by(subjects, clocks, rounds=rounds, slot=engine.slot)
            await close(store)
    operations = itertools.product(clients, ("load", "commit"))
    return [row(name, colour, operation, wall, cpu) for colour, operation in operations]


def row(name: str, colour: str, operation: str, wall: Rounds, cpu: Rounds) -> list[str]:
    """One row of the table: by the clock on the wall, and by the processor time of the client's process."""
    bare, ours = (f"{who} {colour} {operation}" for who in ("bare", "Holdfast"))
    micros = [f"{statistics.median(wall[subject]) * 1e6:.0f}" for subject in (bare, ours)]
    figure, busy = ratio(wall, ours, bare), ratio(cpu, ours, bare)
    met = "met" if figure <= MOST else "missed"
    return [name, colour, operation, *micros, f"{busy:.2f}", f"{figure:.2f}", met]


async def pairs(store: Store, colour: str, client: Bare) -> dict[str, dict[str, Call]]:
    """What is compared with each other, in one colour: both ways to load, and both ways to commit."""
    key = secrets.token_hex(32)
    now = time.time()
    record = Record(1, os.urandom(8), VALUES, "user-1", now, now + 1800)
    changes = itertools.cycle(ready_changes())
    drive = driver(store, colour)

    assert await drive(store.create(key, record))
    return {
        "load": {"bare": client.get, "Holdfast": lambda: drive(store.load(key))},
        "commit": {"bare": client.put, "Holdfast": lambda: drive(store.commit(key, next(changes)))},
    }


def ready_changes(count: int = 5000) -> list[Change]:
    """Changes of one key, made beforehand: to make them is not the store's work."""
    now = time.time()
    return [
        Change(tag=os.urandom(8), now=now, set={"page": codec.encode(number, "page")})
        for number in range(count)
    ]


def driver(store: Store, colour: str) -> Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]:
    """How a caller of this colour runs the store's operations."""
    if colour == "sync":
        return by_hand
    return as_it_is if "async" in getattr(store, "colours", {"async"}) else _colour.off_loop


async def by_hand(operation: Coroutine[Any, Any, Any]) -> Any:
    """As a sync caller runs it."""
    return _colour.run(operation)


async def as_it_is(operation: Coroutine[Any, Any, Any]) -> Any:
    """As an async caller awaits it."""
    return await operation


async def close(store: Store) -> None:
    """Let go of the store's connections, of both colours."""
    for name in ("aclose", "close"):
        if (closing := getattr(store, name, None)) is not None and (waiting := closing()) is not None:
            await waiting
