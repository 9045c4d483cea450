"""What a `dynamodb://` URL says, checked before anything is connected, and the botocore sessions for it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.loaders import create_loader

from ..errors import ConfigError
from ._options import options, positive

_WRITE = "write dynamodb://table?region=eu-west-1"
_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_REGION = re.compile(r"[a-z0-9-]{1,40}")

# A blocking call has one limit for connecting and one for the answer. What is left is for trying once more what
# was refused at once.
_CONNECTING, _ANSWERING = 0.4, 0.5
BLOCKING_SHARE = _CONNECTING + _ANSWERING


class Settings(NamedTuple):
    """How to make clients. Without `awaited` there is no aiobotocore."""

    table: str
    region: str
    endpoint: str | None
    timeout: float
    connections: int
    blocking: botocore.session.Session
    awaited: Any

    @classmethod
    def from_url(cls, url: str) -> Settings:
        """Read the URL. Raises `ConfigError`, in whose text no password appears."""
        table = table_name(_table(url))
        known: dict[str, Callable[[str], Any]] = {
            "region": _region,
            "endpoint": _endpoint,
            "profile": str,
            "timeout": float,
            "connections": int,
        }
        chosen = options(url, known)
        profile = chosen.get("profile")
        blocking = botocore.session.Session(profile=profile)
        region = _region_of(blocking, chosen.get("region"))
        awaited = None
        if find_spec("aiobotocore") is not None:
            from aiobotocore.session import AioSession

            awaited = AioSession(profile=profile)
        settings = cls(
            table,
            region,
            chosen.get("endpoint"),
            positive(chosen.get("timeout", 2.0), "timeout"),
            int(positive(chosen.get("connections", 64), "connections")),
            blocking,
            awaited,
        )
        for session in filter(None, (blocking, awaited)):
            # Whether this machine has credentials to give is asked within the first call.
            session.set_config_variable("metadata_service_timeout", min(1.0, settings.timeout / 4))
            session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
        settings._warm()
        return settings

    def blocking_client(self, timeout: float) -> Any:
        """A client for sync callers, whose calls take no longer than `BLOCKING_SHARE` of the timeout."""
        return self.blocking.create_client(
            "dynamodb", **self._place(), config=config(timeout, connections=self.connections)
        )

    def awaited_client(self) -> Any:
        """A context manager for an aiobotocore client. Its caller limits the time."""
        from aiobotocore.config import AioConfig

        settings = _settings(self.timeout, self.timeout, self.connections)
        return self.awaited.create_client("dynamodb", **self._place(), config=AioConfig(**settings))

    def _place(self) -> dict[str, Any]:
        return {"region_name": self.region, "endpoint_url": self.endpoint}

    def _warm(self) -> None:
        """Have botocore read its description of DynamoDB now, and not when a user waits: a hundred milliseconds.

        The client is never used. With credentials given, none are looked for.
        """
        try:
            nobody = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "none")
            self.blocking.create_client("dynamodb", **self._place(), **nobody)
        except (BotoCoreError, ValueError) as error:
            raise ConfigError(f"the dynamodb:// URL cannot be used: {error}") from error


@cache
def _loader(data_path: str | None) -> Any:
    """What reads botocore's files and remembers them, for all stores of this process."""
    return create_loader(data_path)


def config(timeout: float, *, connections: int = 64) -> Config:
    """botocore's configuration for a blocking client whose calls end within `timeout` seconds."""
    return Config(**_settings(timeout * _CONNECTING, timeout * _ANSWERING, connections))


def table_name(table: str) -> str:
    """The name. Raises `ConfigError` if DynamoDB would not take it."""
    if not _TABLE.fullmatch(table):
        raise ConfigError(f"a DynamoDB table has a name of 3 to 255 letters, digits and _ . -: {_WRITE}")
    return table


def _settings(connect_timeout: float, read_timeout: float, connections: int) -> dict[str, Any]:
    return {
        "connect_timeout": connect_timeout,
        "read_timeout": read_timeout,
        # Whether a change may be sent again is for the store to say: its answer may be all that was lost.
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "tcp_keepalive": True,
        "max_pool_connections": connections,
        "parameter_validation": False,
    }


def _table(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError(f"the dynamodb:// URL is no URL: {_WRITE}") from None
    if "@" in parts.netloc:
        raise ConfigError(
            "the dynamodb:// URL has credentials in it: they come from the environment, a profile or the platform"
        )
    if parts.path.strip("/") or parts.fragment:
        raise ConfigError(f"the dynamodb:// URL has more than a table and options: {_WRITE}")
    return parts.netloc


def _region(text: str) -> str:
    if not _REGION.fullmatch(text):
        raise ConfigError(f"region={text!r} in the dynamodb:// URL is no name of a region: {_WRITE}")
    return text


def _region_of(session: botocore.session.Session, chosen: str | None) -> str:
    try:
        session.get_scoped_config()  # fails for a profile that is not there
        region = chosen or session.get_config_variable("region") or os.environ.get("AWS_REGION")
    except BotoCoreError as error:
        raise ConfigError(f"the AWS configuration cannot be used: {error}") from error
    if not region:
        raise ConfigError(f"no AWS region is set: {_WRITE}, or set AWS_REGION")
    return str(region)


def _endpoint(text: str) -> str:
    try:
        parts = urlsplit(text)
        if parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc:
            _ = parts.port
            return text
    except ValueError:
        pass
    raise ConfigError("the endpoint in the dynamodb:// URL is no place: write endpoint=http://localhost:8000")
