"""What a session costs a request when a copy of it is at hand: the instance's own, or a shared cache's.

As in `requests`: in-process calls, one user, a session of 400 bytes. The store is one Redis server on loopback, the
cache another, so that the commands of each are counted apart. The browser has written long ago, so that it
carries a floor and no pin: this is a page that is looked at, and looked at again.

Commands are counted while the copies are warm and the view of the feed is fresh. An instance also reads the feed
of ended sessions once a second: one store command, whatever the traffic. It is in the times and not in the commands
of a request.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import ExitStack
from typing import NamedTuple

from starlette.middleware.sessions import SessionMiddleware as SignedCookie

from holdfast import Keyring, Sessions
from holdfast.asgi import SessionMiddleware

from .asgi_subjects import Browser, application
from .measure import Call, Rounds, added, markdown, on_core, take_turns
from .redis_server import commands_received, redis_server

SLOT_SECONDS = 0.015

NONE = "Starlette, no sessions"
SIGNED = "Starlette signed cookie, read"
LOCAL = "Holdfast with a local copy"
CACHED = "Holdfast with the shared cache"
BOTH = "Holdfast with both"
CARRIED = "Holdfast with a snapshot"
COLD = "Holdfast with a snapshot, opened for the first time"

COPY_AGE_SECONDS = 5.0
PIN_SECONDS = COPY_AGE_SECONDS + 1.0
SNAPSHOT_SECONDS = 3600.0


class Target(NamedTuple):
    """At most so many commands to the store and the cache, and so much added time, in signed cookies."""

    subject: str
    store: int
    cache: int
    added: float | None = None


TARGETS = [
    Target(f"{LOCAL}, read", 0, 0, 0.5),
    Target(f"{BOTH}, read", 0, 0, 0.5),
    Target(f"{CACHED}, read", 0, 1),
    Target(f"{CARRIED}, read", 0, 0, 1.0),
    Target(f"{COLD}, read", 0, 0, 1.0),
    Target(f"{LOCAL}, write", 1, 0),
    Target(f"{BOTH}, write", 1, 1),
]


class Commands(NamedTuple):
    """What one request sends."""

    store: float
    cache: float


def report(rounds: int = 60) -> str:
    """Two Markdown tables: all subjects, each with a turn in every round, and Holdfast's targets."""
    return asyncio.run(measure(rounds))


async def measure(rounds: int) -> str:
    """Start two Redis servers, let the subjects take turns, and say what came out."""
    with ExitStack() as stack:
        with on_core(-1):
            store, cache = (stack.enter_context(redis_server()) for _ in range(2))
        stack.enter_context(on_core(0))
        calls, commands = await subjects(store, cache)
        times = await take_turns(calls, rounds=rounds, slot=SLOT_SECONDS)
    return f"{table(times, commands)}\n\n{targets(times, commands)}"


async def subjects(store: int, cache: int) -> tuple[dict[str, Call], dict[str, Commands]]:
    """What takes turns: the application without sessions, with a signed cookie, and with each kind of copy; and
    what requests send that were made once, for writes cannot be repeated: whoever has written is pinned.
    """
    bare = Browser(application)
    signed = await Browser(SignedCookie(application, secret_key="k" * 32)).fill()
    calls = {NONE: bare.to("/none"), SIGNED: signed.to("/read")}
    readers = {name: await visitor(way) for name, way in ways(store, cache).items()}
    writers = {name: [await visitor(way) for _ in range(3)] for name, way in ways(store, cache).items()}
    carriers = {name: await carrier(store) for name in (CARRIED, COLD)}
    await asyncio.sleep(PIN_SECONDS + 0.1)  # the floor that was planted says so too
    for name, reader in readers.items():
        calls |= {f"{name}, read": reader.to("/read"), f"{name}, untouched": reader.to("/none")}
    for name, (browser, sessions) in carriers.items():
        calls[f"{name}, read"] = browser.to("/read") if name == CARRIED else unopened(browser, sessions)
    sent = {}
    for name, call in calls.items():
        sent[name] = await commands_of(call, call, store, cache)
    for name, (first, one, other) in writers.items():
        await first.call("/write")  # brings the store's script along
        for browser in (one, one, other, other):
            await browser.call("/read")
        sent[f"{name}, write"] = await commands_of(one.to("/write"), other.to("/write"), store, cache, 1)
    return calls, sent


def ways(store: int, cache: int) -> dict[str, Sessions]:
    """Holdfast on that store, with each kind of copy; the cache is the other server."""
    store_url, cache_url, keys = (
        f"redis://127.0.0.1:{store}",
        f"redis://127.0.0.1:{cache}",
        Keyring.generate(),
    )
    return {
        LOCAL: Sessions(store_url, keys=keys, copy_age=COPY_AGE_SECONDS),
        CACHED: Sessions(store_url, keys=keys, copy_age=COPY_AGE_SECONDS, local=None, cache=cache_url),
        BOTH: Sessions(store_url, keys=keys, copy_age=COPY_AGE_SECONDS, cache=cache_url),
    }


async def visitor(sessions: Sessions) -> Browser:
    """A browser with a session, whose pin cookie will have died by the time that it is used."""
    browser = await Browser(SessionMiddleware(application, sessions)).fill()
    browser.cookies = {key: value for key, value in browser.cookies.items() if not key.endswith("-pin")}
    return browser


async def carrier(store: int) -> tuple[Browser, Sessions]:
    """A browser that carries a snapshot, long after it has written; an ending may take as long as that lives."""
    passed = 0.0
    sessions = Sessions(
        f"redis://127.0.0.1:{store}",
        keys=Keyring.generate(),
        idle="12h",
        absolute="30d",
        local=None,
        snapshot=SNAPSHOT_SECONDS,
        revoke_within=SNAPSHOT_SECONDS + 1.0,
        clock=lambda: time.time() + passed,
    )
    browser = await Browser(SessionMiddleware(application, sessions)).fill()
    passed = SNAPSHOT_SECONDS + 3.0
    browser.cookies = {key: value for key, value in browser.cookies.items() if not key.endswith("-pin")}
    await browser.call("/read")
    browser.keep()
    return browser, sessions


def unopened(browser: Browser, sessions: Sessions) -> Call:
    """A read on an instance that has not met this browser's cookies before: nothing of them is recognised."""

    async def call() -> None:
        sessions._engine._known.clear()  # type: ignore[union-attr]  # an engine with a store
        sessions._homes.snapshots._opened.clear()  # type: ignore[union-attr]  # they are on
        await browser.call("/read")

    return call


async def commands_of(one: Call, other: Call, store: int, cache: int, times: int = 10) -> Commands:
    """What a request sends to each server: `one` is counted at the store, `other` at the cache.

    Those that can be repeated are sent twice before, for the copy and for the view of the feed.
    """
    if times > 1:
        await one()
        await one()
    return Commands(await commands_received(store, one, times), await commands_received(cache, other, times))


def table(times: Rounds, commands: dict[str, Commands]) -> str:
    """All subjects: time, time added by the session, that as a multiple of a signed cookie's, commands."""
    rows = []
    for name, means in times.items():
        row = [name, f"{statistics.median(means) * 1e6:.1f}"]
        if name == NONE:
            row += ["", ""]
        else:
            row += [f"{added(times, name, NONE) * 1e6:.1f}", f"{over_signed(times, name):.2f}"]
        rows.append([*row, *(f"{count:g}" for count in commands[name])])
    return markdown(
        ["Request", "µs", "added µs", "added ÷ signed cookie", "store commands", "cache commands"], rows
    )


def targets(times: Rounds, commands: dict[str, Commands]) -> str:
    """Each target, and whether it was met."""
    rows = []
    for subject, store, cache, most in TARGETS:
        sent = commands[subject]
        met = sent.store <= store and sent.cache <= cache
        limit, measured = f"{store} + {cache} commands", f"{sent.store:g} + {sent.cache:g} commands"
        if most is not None:
            share = over_signed(times, subject)
            met = met and share <= most
            limit, measured = f"{limit}, {most:g} cookies", f"{measured}, {share:.2f} cookies"
        rows.append([subject, limit, measured, "met" if met else "missed"])
    return markdown(["Target", "at most", "measured", ""], rows)


def over_signed(times: Rounds, name: str) -> float:
    """The time that a subject adds, as a multiple of what the signed cookie adds: the median of the rounds."""
    own = [one - none for one, none in zip(times[name], times[NONE], strict=True)]
    signed = [one - none for one, none in zip(times[SIGNED], times[NONE], strict=True)]
    return statistics.median(one / other for one, other in zip(own, signed, strict=True))
