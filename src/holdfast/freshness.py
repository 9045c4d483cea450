"""How fresh a route wants its session: as a decorator for handlers. (Others are `freshness=` of `Sessions` and of
the middleware, `session.load(freshness=…)`, and `scope["holdfast.freshness"]`.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from .errors import ConfigError
from .session import Session

P = ParamSpec("P")
R = TypeVar("R")


def strong(handler: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Let an async handler see the session as the store has it now, whatever copies could answer.

    For routes where a moment's staleness costs more than a read, such as those of an administrator. Works on any
    handler with a request or WebSocket among its arguments; raises `ConfigError` at the call if there is none.
    """

    @wraps(handler)
    async def load_first(*args: P.args, **kwargs: P.kwargs) -> R:
        await _session_of([*args, *kwargs.values()]).load(freshness="strong")
        return await handler(*args, **kwargs)

    return load_first


def _session_of(arguments: list[Any]) -> Session:
    for argument in arguments:
        session = getattr(argument, "scope", argument)
        if isinstance(session, dict):
            session = session.get("session")
        if isinstance(session, Session):
            return session
    raise ConfigError("a handler that reads strongly needs its request among its arguments")
