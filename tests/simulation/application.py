"""The application that the simulated instances run: it tells what its session holds, and changes it as asked."""

from __future__ import annotations

import asyncio
from typing import Any

from .request import Visit


def contents(session: Any) -> dict[str, Any]:
    """All that a handler can see; empty for an anonymous visitor."""
    values = {name: session[name] for name in session if name not in hidden(session)}
    if session.owner is not None:
        values["@owner"] = session.owner
    return values


def hidden(session: Any) -> frozenset[str]:
    """What a snapshot has left on the server, and the request has not put anew."""
    ledger = session._ledger
    return frozenset(name for name in ledger._withheld if name not in ledger._live)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """One request: look, think, change, think, answer."""
    session, loop = scope["session"], asyncio.get_running_loop()
    visit: Visit = scope["visit"]
    step = visit.step
    visit.began = loop.time()
    visit.home = session._reading.home if session._reading else "none"
    visit.before, visit.withheld = contents(session), hidden(session)
    visit.version = session._record.version if session._record else 0
    await asyncio.sleep(step.think)
    match step.kind:
        case "put":
            session.setdefault("born", visit.word)
            session[f"k{step.track}"] = visit.word
        case "share":
            session.setdefault("born", visit.word)
            session["shared"] = visit.word
        case "count":
            session.setdefault("born", visit.word)
            session.alter("n", lambda n: n + 1, default=0)
        case "count and login" if visit.before:
            session.alter("n", lambda n: n + 1, default=0)
            session.login(visit.word)
        case "login" if visit.before:
            session.login(visit.word)
        case "rotate" if visit.before:
            session.rotate()
        case "logout":
            session.logout()
    visit.shown = contents(session)
    await asyncio.sleep(step.think / 2)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
