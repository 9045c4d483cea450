"""Web sessions that outlive the instance that served them.

The names below are loaded when they are first used: on a serverless platform, importing is latency that a
user waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bearer import Bearer as Bearer
    from .deadline import time_left as time_left
    from .errors import BadToken as BadToken
    from .errors import ConfigError as ConfigError
    from .errors import Conflict as Conflict
    from .errors import HoldfastError as HoldfastError
    from .errors import ResponseStarted as ResponseStarted
    from .errors import SessionGone as SessionGone
    from .errors import SessionNotLoaded as SessionNotLoaded
    from .errors import SessionRegression as SessionRegression
    from .errors import SessionTooLarge as SessionTooLarge
    from .errors import StoreError as StoreError
    from .errors import StoreThrottled as StoreThrottled
    from .errors import StoreUnavailable as StoreUnavailable
    from .events import Event as Event
    from .keyring import Keyring as Keyring
    from .record import Change as Change
    from .record import Record as Record
    from .session import Session as Session
    from .sessions import SessionInfo as SessionInfo
    from .sessions import Sessions as Sessions
    from .stores import Store as Store
    from .stores.migrating import Migrating as Migrating
    from .tokens import Token as Token

_HOMES = {
    "Sessions": "sessions",
    "Session": "session",
    "SessionInfo": "sessions",
    "Event": "events",
    "Keyring": "keyring",
    "Store": "stores",
    "Record": "record",
    "Change": "record",
    "Migrating": "stores.migrating",
    "time_left": "deadline",
    "Token": "tokens",
    "Bearer": "bearer",
    "HoldfastError": "errors",
    "ConfigError": "errors",
    "StoreError": "errors",
    "StoreUnavailable": "errors",
    "StoreThrottled": "errors",
    "SessionGone": "errors",
    "SessionRegression": "errors",
    "SessionTooLarge": "errors",
    "SessionNotLoaded": "errors",
    "ResponseStarted": "errors",
    "Conflict": "errors",
    "BadToken": "errors",
}

__version__ = "0.1.0"
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
