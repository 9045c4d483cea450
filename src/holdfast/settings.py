"""What an application may set, and what is taken where it says nothing."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING

from .errors import ConfigError
from .keyring import Keyring

if TYPE_CHECKING:
    from .stores import Store

Duration = str | int | float | timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

# No session lives longer, and every calendar and token can say when it ends.
_MOST_SECONDS = 100 * 366 * 86400.0

# Variables by which a platform shows that files and memory go away with the instance.
_SERVERLESS = (
    "AWS_LAMBDA_FUNCTION_NAME",
    "K_SERVICE",  # Cloud Run, Knative
    "FUNCTION_TARGET",  # Cloud Functions
    "FUNCTIONS_WORKER_RUNTIME",  # Azure Functions
    "CONTAINER_APP_NAME",  # Azure Container Apps
    "WEBSITE_INSTANCE_ID",  # Azure App Service
    "KUBERNETES_SERVICE_HOST",
    "ECS_CONTAINER_METADATA_URI_V4",
    "VERCEL",
)

DEFAULT_STORE = "sqlite:///holdfast.db"
DEFAULT_KEY_FILE = "holdfast.keys"
COOKIE_NAME = "session"
BEARER_NAME = "api"


def seconds(duration: Duration, name: str) -> float:
    """A duration as seconds: `"90s"`, `"30m"`, `"12h"`, `"14d"`, a number of seconds, or a timedelta.

    Raises `ConfigError`, naming the setting, for anything else, for what is not above zero, and for over 100 years.
    """
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, int | float) and not isinstance(duration, bool):
        value = float(duration)
    else:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", duration) if isinstance(duration, str) else None
        if not match:
            raise ConfigError(
                f'{name}={duration!r} is no duration: write "90s", "30m", "12h", "14d" or seconds'
            )
        value = float(match[1]) * _UNITS[match[2]]
    if not 0 < value <= _MOST_SECONDS:
        raise ConfigError(f"{name}={duration!r} has to be more than zero, and at most 100 years")
    return value


def size(text: str | int | None, name: str) -> int | None:
    """A number of bytes: `"64MB"`, `"512KB"`, an integer, or None for off. Raises `ConfigError`."""
    if text is None:
        return None
    if isinstance(text, int) and not isinstance(text, bool) and text > 0:
        return text
    match = re.fullmatch(r"(\d+) ?(KB|MB|GB)", text) if isinstance(text, str) else None
    if not match or int(match[1]) == 0:
        raise ConfigError(f'{name}={text!r} is no size: write "64MB", a number of bytes, or None for off')
    return int(match[1]) * {"KB": 2**10, "MB": 2**20, "GB": 2**30}[match[2]]


def one_of(name: str, value: str, *known: str) -> None:
    """Raise `ConfigError` for a value that is not among the known ones."""
    if value not in known:
        raise ConfigError(f"{name}={value!r} is unknown: it is {' or '.join(repr(word) for word in known)}")


def default_store() -> Store:
    """The store that HOLDFAST_STORE names, or a SQLite file in the working directory.

    Raises `ConfigError` on a serverless platform, where that file would be lost with the instance.
    """
    from .stores import from_url

    url = os.environ.get("HOLDFAST_STORE")
    if not url:
        _refuse_on_serverless("HOLDFAST_STORE to the URL of a store that all instances share", "SQLite file")
    return from_url(url or DEFAULT_STORE)


def default_keys() -> Keyring:
    """The keys in HOLDFAST_KEYS, or those of a file in the working directory, which is made if it is missing.

    Raises `ConfigError` on a serverless platform, where each instance would make keys of its own.
    """
    if os.environ.get("HOLDFAST_KEYS"):
        return Keyring.from_env()
    _refuse_on_serverless(
        "HOLDFAST_KEYS to the output of `holdfast keys new`, the same everywhere", "key file"
    )
    return Keyring.from_file(DEFAULT_KEY_FILE, create=True)


def _refuse_on_serverless(remedy: str, default: str) -> None:
    for variable in _SERVERLESS:
        if os.environ.get(variable):
            raise ConfigError(
                f"{variable} says that this is a platform whose instances come and go: a {default} of one "
                f"instance would lose every session. Set {remedy}."
            )
