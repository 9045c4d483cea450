"""Where the keys of a keyring are kept, and which places Holdfast knows.

A place that all instances share is looked at again from time to time, so that a key which was added or taken away
arrives on every one of them without a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol
from urllib.parse import urlsplit

from ..errors import ConfigError


class NoKeys(ConfigError):
    """The place has no keys yet."""


class KeysChanged(ConfigError):
    """Somebody else has written to the place since it was read, and nothing was written over that."""


class KeySource(Protocol):
    """A place that keys are read from: `every` so many seconds; in a thread of its own, if it is `remote`."""

    every: float
    remote: bool

    def read(self) -> list[str] | None:
        """The keys, newest first, or None if nothing has changed since the last time.

        Raises `NoKeys` if there are none yet, or its client's errors.
        """
        ...

    def write(self, keys: Sequence[str]) -> None:
        """Keep these keys instead of the ones that were read last.

        Raises `KeysChanged` if there are others by now, `ConfigError` where nothing can be written, or its client's
        errors.
        """
        ...


# By the scheme of a URL: where the source is, and which extra brings its client.
KNOWN = {
    "file": ("holdfast.keys.file:KeyFile", None),
    "env": ("holdfast.keys.environment:Environment", None),
    "aws-secretsmanager": ("holdfast.keys.aws:SecretsManager", "aws"),
    "aws-ssm": ("holdfast.keys.aws:ParameterStore", "aws"),
    "aws-kms": ("holdfast.keys.aws:EncryptedFile", "aws"),
    "azure-keyvault": ("holdfast.keys.azure:KeyVault", "azure"),
    "gcp-secretmanager": ("holdfast.keys.gcp:SecretManager", "gcp"),
}


def from_url(url: str) -> KeySource:
    """The place that a URL names, for example `file:///etc/holdfast.keys` or `aws-secretsmanager://holdfast`.

    Raises `ConfigError` for an unknown one, or a client that is not installed (with the `pip install` line).
    """
    scheme = urlsplit(url).scheme.lower()
    if scheme not in KNOWN:
        raise ConfigError(f"no place for keys is known for {scheme!r}; known are {', '.join(KNOWN)}")
    place, extra = KNOWN[scheme]
    module, name = place.split(":")
    try:
        factory = getattr(import_module(module), name)
    except ImportError as error:
        if extra is None:
            raise
        raise ConfigError(f"{scheme}:// needs a client: pip install 'holdfast[{extra}]'") from error
    try:
        source: KeySource = factory.from_url(url)
    except ConfigError:
        raise
    except Exception as error:  # a client that finds no credentials, for example
        raise ConfigError(f"{scheme}:// cannot be used: {described(error)}") from error
    return source


def read_first(source: KeySource) -> list[str]:
    """What a place holds at the start. Raises `ConfigError`, also for its client's errors."""
    try:
        return source.read() or []
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"the keys cannot be read: {described(error)}") from error


def described(error: Exception) -> str:
    """An error for logs and terminals. Not its `repr`, which may show what could not be read."""
    return f"{type(error).__name__}: {error}"


def lines_of(text: str) -> list[str]:
    """The keys in a text, newest first: one a line; empty lines and lines with `#` in front do not count."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def text_of(data: bytes, place: str) -> str:
    """The text that the bytes are. Raises `ConfigError`, which does not show them."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{place} does not hold keys, but other bytes") from None
