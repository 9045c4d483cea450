"""What a session costs a request: Holdfast beside its peers, in one run.

In-process calls of ASGI and WSGI applications, one user, a session of 400 bytes, one Redis server on loopback
for all. Nothing fails when a target is missed: the table says so.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import redis
import redis.asyncio

from . import asgi_subjects, flask_subjects
from .measure import Call, Rounds, added, added_ratio, markdown, on_core, take_turns
from .redis_server import commands_received, redis_server

# A turn is short, so that the subjects of a round meet the same weather.
SLOT_SECONDS = 0.015

ASGI_GET = "bare redis.asyncio GET"
WSGI_GET = "bare redis-py GET"
ASGI_NONE = "Starlette, no sessions"
WSGI_NONE = "Flask, no sessions"


class Target(NamedTuple):
    """At most so many store commands, and so much time on top of the application without sessions."""

    subject: str
    commands: int
    added: float
    unit: str


TARGETS = [
    Target("Holdfast on Redis, read", 1, 1.5, "GETs"),
    Target("Holdfast on Redis, write", 2, 2.7, "GETs"),
    Target("Holdfast on Redis, untouched, lazy", 0, 5, "µs"),
    Target("Holdfast on Redis, untouched, no cookie", 0, 5, "µs"),
]


def report(rounds: int = 60) -> str:
    """Two Markdown tables: all subjects, each with a turn in every round, and Holdfast's targets."""
    return asyncio.run(measure(rounds))


async def measure(rounds: int) -> str:
    """Start Redis, let the subjects take turns, and say what came out."""
    with ExitStack() as stack:
        with on_core(-1):
            port = stack.enter_context(redis_server())
        stack.enter_context(on_core(0))
        place = stack.enter_context(tempfile.TemporaryDirectory())
        client, blocking = redis.asyncio.Redis(port=port), redis.Redis(port=port)
        subjects = {
            **await asgi_subjects.peers(client),
            **await asgi_subjects.holdfast(port, Path(place)),
            **bare_commands(client, blocking),
            **await flask_subjects.peers(blocking),
        }
        await client.set("bare", b"x" * 400)
        times = await take_turns(subjects, rounds=rounds, slot=SLOT_SECONDS)
        commands = {name: await commands_received(port, call) for name, call in subjects.items()}
        await client.aclose()
        blocking.close()
    return f"{table(times, commands)}\n\n{targets(times, commands)}"


def bare_commands(client: redis.asyncio.Redis, blocking: redis.Redis) -> dict[str, Call]:
    """The clients alone: what a session of 400 bytes in one key costs at the very least."""
    value = b"x" * 400

    async def blocking_get() -> None:
        blocking.get("bare")

    return {
        ASGI_GET: lambda: client.get("bare"),
        "bare redis.asyncio SET": lambda: client.set("bare", value),
        WSGI_GET: blocking_get,
    }


def table(times: Rounds, commands: dict[str, float]) -> str:
    """All subjects: time, time added by the session, that as a multiple of a bare GET, store commands."""
    rows = []
    for name, means in times.items():
        row = [name, f"{statistics.median(means) * 1e6:.1f}"]
        if name.startswith("bare ") or name in (ASGI_NONE, WSGI_NONE):
            row += ["", ""]
        else:
            none, get = (WSGI_NONE, WSGI_GET) if name.startswith("Flask") else (ASGI_NONE, ASGI_GET)
            row += [f"{added(times, name, none) * 1e6:.1f}", f"{added_ratio(times, name, none, get):.2f}"]
        rows.append([*row, f"{commands[name]:g}"])
    return markdown(["Request", "µs", "added µs", "added ÷ bare GET", "commands"], rows)


def targets(times: Rounds, commands: dict[str, float]) -> str:
    """Each target of Holdfast's, and whether it was met."""
    rows = []
    for subject, most_commands, most_added, unit in TARGETS:
        figure = added(times, subject, ASGI_NONE) * 1e6
        if unit == "GETs":
            figure = added_ratio(times, subject, ASGI_NONE, ASGI_GET)
        met = commands[subject] <= most_commands and figure <= most_added
        limit = f"{most_commands} commands, {most_added:g} {unit}"
        measured = f"{commands[subject]:g} commands, {figure:.2f} {unit}"
        rows.append([subject, limit, measured, "met" if met else "missed"])
    return markdown(["Target", "at most", "measured", ""], rows)
