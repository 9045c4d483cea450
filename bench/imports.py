"""How long imports take, over a bare interpreter: on serverless platforms a user waits for them.

Every import runs in a fresh process, and the subjects take turns. The clock starts when the interpreter is
up, so modules that a bare interpreter has loaded already cost nothing.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Sequence
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

PROGRAM = """
import sys, time
loaded, start = len(sys.modules), time.perf_counter()
{statement}
print(time.perf_counter() - start, len(sys.modules) - loaded)
"""


class Import(NamedTuple):
    """What one import costs: the median of its seconds, and the number of modules that it loads."""

    seconds: float
    modules: int


def report(rounds: int = 11) -> str:
    """A Markdown table of all subjects, each imported in `rounds` processes."""
    rows = [
        [f"`{statement}`", f"{cost.seconds * 1e3:.1f}", str(cost.modules)]
        for statement, cost in imports(SUBJECTS, rounds).items()
    ]
    return markdown(["Import", "ms", "modules"], rows)


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


def once(statement: str) -> Import:
    """Run a statement in a fresh interpreter that settings from outside do not reach."""
    program = PROGRAM.format(statement=statement)
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    seconds, modules = done.stdout.split()
    return Import(float(seconds), int(modules))
