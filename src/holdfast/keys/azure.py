"""Keys in Azure Key Vault: a secret whose value is one key a line.

It is one request at the start and one every minute, in a thread. The right that it takes at run time is to get the
secret: the role "Key Vault Secrets User" on that secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from azure.core.exceptions import ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from ..errors import ConfigError
from ..stores._options import options
from . import KeysChanged, NoKeys, lines_of
from .own_client import OwnClient

REFRESH_SECONDS = 60.0


class KeyVault:
    """The secret that is called `name`. `client` is azure-keyvault-secrets' `SecretClient`."""

    every = REFRESH_SECONDS
    remote = True

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name
        self._version: str | None = None

    @classmethod
    def from_url(cls, url: str) -> KeyVault:
        """The secret of `azure-keyvault://vault/name`, as whoever `DefaultAzureCredential` finds.

        Vaults outside the public cloud are named by `?endpoint=https://vault.vault.azure.cn`. Raises `ConfigError`.
        """
        parts = urlsplit(url)
        vault, name = parts.netloc, unquote(parts.path.strip("/"))
        if not vault or not name or "/" in name:
            raise ConfigError("write azure-keyvault://vault/name for the secret of that name")
        endpoint = options(url, {"endpoint": str}).get("endpoint", f"https://{vault}.vault.azure.net")
        return cls(OwnClient(lambda: _client(endpoint)), name)

    def read(self) -> list[str] | None:
        secret = self._get()
        if secret is None or secret.value is None:
            self._version = None
            raise NoKeys(f"there is no secret {self._name}")
        if secret.properties.version == self._version:
            return None
        self._version = secret.properties.version
        return lines_of(secret.value)

    def write(self, keys: Sequence[str]) -> None:
        """Key Vault has no conditional write: somebody else's is noticed only if it came before this one began."""
        read, self._version = self._version, None
        secret = self._get()
        if (secret.properties.version if secret is not None else None) != read:
            raise KeysChanged(f"somebody else has changed the secret {self._name}: try again")
        self._client.set_secret(self._name, "\n".join(keys), content_type="text/plain")

    def _get(self) -> Any:
        try:
            return self._client.get_secret(self._name)
        except ResourceNotFoundError:
            return None


def _client(endpoint: str) -> Any:
    credential = DefaultAzureCredential(exclude_interactive_browser_credential=True)
    return SecretClient(
        endpoint, credential, connection_timeout=2, read_timeout=3, retry_total=2, retry_backoff_factor=0.2
    )
