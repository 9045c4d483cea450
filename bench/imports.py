"""How long imports take, over a bare interpreter: on serverless platforms a user waits for them.

Every import runs in a fresh process, and the subjects take turns. The clock starts when the interpreter is
up, so modules that a bare interpreter has loaded already cost nothing.

What a store adds is timed in one process with its client, right after it: the difference of two processes would
be lost in the noise of a client that takes half a second. It holds all of Holdfast that a store needs, and whatever
of the standard library and of the client itself the client's import has left for later. The store's own part is
what is left of it where `Sessions` is loaded as well.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .measure import markdown

SUBJECTS = [
    "import holdfast",
    "from holdfast import Keyring, Sessions",
    "from holdfast.asgi import SessionMiddleware",
    "import msgpack",
    "import json",
    "import sqlite3",
    "import asyncio",
    "import itsdangerous",
    "import redis",
    "import redis.asyncio",
    "import starlette.applications",
    "import starlette.middleware.sessions",
    "import starsessions",
    "import flask",
    "from flask_session.redis import RedisSessionInterface",
    "import fastapi",
]

CLIENTS = {
    "sqlite": "import sqlite3",
    "redis": "import redis.asyncio",
    "memcached": "import pymemcache",
    "postgres": "import psycopg",
    "dynamodb": "import boto3",
    "cosmos": "import azure.cosmos.aio",
    "firestore": "import google.cloud.firestore",
}
MOST_MILLISECONDS = 10.0

PROGRAM = """
import sys, time
loaded, start = len(sys.modules), time.perf_counter()
{statement}
print(time.perf_counter() - start, len(sys.modules) - loaded)
"""
ON_TOP = """
import sys, time
start = time.perf_counter()
{client}
middle, loaded = time.perf_counter(), len(sys.modules)
import holdfast.stores.{store}
print(middle - start, time.perf_counter() - middle, len(sys.modules) - loaded)
"""
AFTER_ALL = """
{client}
import time
from holdfast import Keyring, Sessions
start = time.perf_counter()
import holdfast.stores.{store}
print(time.perf_counter() - start)
"""


class Import(NamedTuple):
    """What one import costs: the median of its seconds, and the number of modules that it loads."""

    seconds: float
    modules: int


class OnTop(NamedTuple):
    """What a store's import costs after its client's: medians of seconds, and the modules that it adds.

    `own` is the same where `Sessions` is loaded too.
    """

    client: float
    store: float
    modules: int
    own: float


def report(rounds: int = 11) -> str:
    """Two Markdown tables, each import in `rounds` processes: all subjects, and the stores after their clients."""
    return f"{single(rounds)}\n\n{after_clients(rounds)}"


def single(rounds: int) -> str:
    """A Markdown table of the subjects."""
    rows = [
        [f"`{statement}`", f"{cost.seconds * 1e3:.1f}", str(cost.modules)]
        for statement, cost in imports(SUBJECTS, rounds).items()
    ]
    return markdown(["Import", "ms", "modules"], rows)


def after_clients(rounds: int) -> str:
    """A Markdown table of the stores: what the client takes, and what Holdfast adds to it."""
    rows = []
    for store, (client, added, modules, own) in on_top(CLIENTS, rounds).items():
        met = "met" if added * 1e3 <= MOST_MILLISECONDS else "missed"
        figures = [f"{client * 1e3:.1f}", f"{added * 1e3:.1f}", str(modules), f"{own * 1e3:.1f}", met]
        rows.append([f"`holdfast.stores.{store}`", f"`{CLIENTS[store]}`", *figures])
    header = ["Store", "client", "client ms", "added ms", "modules added", "its own ms"]
    return markdown([*header, f"added at most {MOST_MILLISECONDS:g}"], rows)


def imports(statements: Sequence[str], rounds: int) -> dict[str, Import]:
    """Run each statement in a fresh interpreter, in turns; what each costs."""
    for statement in statements:  # so that all have been compiled, and are in the file cache
        once(statement)
    costs: dict[str, list[Import]] = {statement: [] for statement in statements}
    for _ in range(rounds):
        for statement in statements:
            costs[statement].append(once(statement))
    return {
        statement: Import(statistics.median(cost.seconds for cost in found), found[-1].modules)
        for statement, found in costs.items()
    }


def on_top(clients: Mapping[str, str], rounds: int) -> dict[str, OnTop]:
    """Import each client and then its store in fresh interpreters, in turns; what each costs."""
    found: dict[str, list[list[float]]] = {store: [] for store in clients}
    for turn in range(rounds + 1):
        for store, client in clients.items():
            figures = [
                number
                for program in (ON_TOP, AFTER_ALL)
                for number in printed(program.format(client=client, store=store))
            ]
            if turn:  # the first one compiles, and fills the file cache
                found[store].append(figures)
    medians = {
        store: [statistics.median(each) for each in zip(*all_, strict=True)] for store, all_ in found.items()
    }
    return {
        store: OnTop(client, added, int(modules), own)
        for store, (client, added, modules, own) in medians.items()
    }


def once(statement: str) -> Import:
    """What the import costs in a fresh interpreter."""
    seconds, modules = printed(PROGRAM.format(statement=statement))
    return Import(seconds, int(modules))


def printed(program: str) -> list[float]:
    """The numbers that a program prints, run in a fresh interpreter that settings from outside do not reach."""
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]
