"""One instance, `python -m holdfast.lab.instance NAME`: a process that runs the shop under uvicorn.

Started by the lab's platform, not by hand. It inherits two descriptors: a socket that already listens, so
that a browser which comes during the cold start waits instead of being refused, and a lifeline, on which it
says once that it serves and by whose end it learns that the platform is gone. The environment says the rest.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping

import uvicorn

from .naive import App, MemorySessions
from .shop import HoldfastWays, Shop, UsualWays
from .strategies import COPY_AGE_SECONDS, SNAPSHOT_SECONDS, Strategy

# In the environment and not on the command line, for a store's URL may carry a password.
STRATEGY = "HOLDFAST_LAB_STRATEGY"
LISTENER = "HOLDFAST_LAB_LISTENER"
LIFELINE = "HOLDFAST_LAB_LIFELINE"


def main() -> None:
    """Serve until SIGTERM, the end of the platform, or worse."""
    _die_with_parent()
    name = sys.argv[1]
    strategy = Strategy(**json.loads(os.environ[STRATEGY]))
    listener = socket.socket(fileno=int(os.environ[LISTENER]))
    lifeline = socket.socket(fileno=int(os.environ[LIFELINE]))
    app = application(name, strategy, os.environ)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
    )
    asyncio.run(_Server(config, lifeline).serve(sockets=[listener]))


def application(name: str, strategy: Strategy, environ: Mapping[str, str]) -> App:
    """The shop with the strategy's sessions in front of it. All instances of a run share `HOLDFAST_KEYS`."""
    if strategy.kind == "memory":
        return MemorySessions(Shop(name, UsualWays()))
    if strategy.kind == "signed":
        from starlette.middleware.sessions import SessionMiddleware as SignedCookie

        return SignedCookie(Shop(name, UsualWays()), secret_key=environ["HOLDFAST_KEYS"])
    if strategy.kind == "aside" and strategy.store is not None:
        from . import aside

        database, cache = aside.Database(strategy.store), aside.cache(strategy.cache)
        return aside.AsideSessions(Shop(name, UsualWays()), database, cache)
    if strategy.kind == "holdfast" and strategy.store is not None:
        return _holdfast(name, strategy.store, strategy)
    if strategy.kind == "token":
        return _token(name, strategy)
    raise ValueError(f"no instance can be built for {strategy.name!r}")


def _holdfast(name: str, url: str, strategy: Strategy) -> App:
    from holdfast import Keyring, Sessions
    from holdfast.asgi import SessionMiddleware
    from holdfast.stores import from_url

    store = from_url(url)
    if strategy.fault is not None:
        from . import faults

        store = faults.seed(store, strategy.fault)
    sessions = Sessions(
        store,
        keys=Keyring.from_env(),
        cache=strategy.cache,
        local="64MB" if strategy.local else None,
        copy_age=COPY_AGE_SECONDS,
        detect_loss=strategy.detect_loss,
        snapshot=SNAPSHOT_SECONDS if strategy.snapshot else None,
        revoke_within=strategy.ends_within or "1s",
    )
    return SessionMiddleware(Shop(name, HoldfastWays()), sessions, debug_header=strategy.copies)


def _token(name: str, strategy: Strategy) -> App:
    from holdfast import Keyring, Sessions
    from holdfast.asgi import SessionMiddleware
    from holdfast.tokens import Token

    token = Token(revocation=strategy.store, revoke_within=strategy.ends_within or None)
    sessions = Sessions(token=token, keys=Keyring.from_env(), detect_loss=strategy.detect_loss)
    return SessionMiddleware(Shop(name, HoldfastWays()), sessions)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, lifeline: socket.socket) -> None:
        super().__init__(config)
        self._lifeline = lifeline

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._lifeline.setblocking(False)
        # Nothing is ever sent to an instance: a readable lifeline is a broken one.
        asyncio.get_running_loop().add_reader(self._lifeline, os._exit, 1)
        self._lifeline.send(b"serving")


def _die_with_parent() -> None:
    """Have Linux kill this process when the platform dies: a frozen instance cannot watch its lifeline."""
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL)


if __name__ == "__main__":
    main()
