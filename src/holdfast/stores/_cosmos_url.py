"""What a `cosmos://` URL says, checked before anything is connected, and the clients that it makes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from azure.cosmos import CosmosClient
from azure.cosmos.documents import ConnectionPolicy

from ..errors import ConfigError
from ._cosmos_call import OPTIONS
from ._options import options, positive

_FORM = "write cosmos://account/database/container"
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9-]{1,48}[a-z0-9]")

# What Cosmos DB refuses in names, and what cannot stand in a path.
_NAME = re.compile(r"[^/\\?#\t\r\n]{1,255}")

# A pool as large as a process has worker threads, at the most.
_BLOCKING_CONNECTIONS = 64


class Settings(NamedTuple):
    """Where the container is and how to get at it. `key` is None for Microsoft Entra ID."""

    endpoint: str
    database: str
    container: str
    key: str | None
    discover: bool = True
    timeout: float = 2.0
    reads: str = "auto"

    @classmethod
    def from_url(cls, url: str) -> Settings:
        """Read the URL, and COSMOS_KEY if it has no key. Raises `ConfigError`, in whose text no key appears."""
        known: dict[str, Callable[[str], Any]] = {
            "key": str,
            "credential": _default_only,
            "timeout": float,
            "reads": str,
            "insecure_http": _yes_or_no,
            "endpoint_discovery": _yes_or_no,
        }
        chosen = options(url, known)
        insecure_http = chosen.pop("insecure_http", False)
        endpoint, database, container = _place(url, insecure_http)
        entra, key = chosen.pop("credential", None) is not None, chosen.pop("key", None)
        if entra and key is not None:
            raise ConfigError("the cosmos:// URL has a key and a credential: write one of them")
        if not entra and not key:
            key = os.environ.get("COSMOS_KEY")
            if not key:
                raise ConfigError(
                    "the cosmos:// URL has no credentials: set COSMOS_KEY to the account's key, or write "
                    "?credential=default to sign in with Microsoft Entra ID"
                )
        if entra:
            _credentials("azure.identity")
        discover = chosen.pop("endpoint_discovery", not insecure_http)
        settings = cls(endpoint, database, container, key, discover, **chosen)
        positive(settings.timeout, "timeout")
        return settings

    @property
    def account(self) -> str:
        """The name of the account, as its endpoint begins with it."""
        return self.endpoint.split("//")[1].split(".")[0].split(":")[0]

    def blocking_client(self) -> tuple[Any, Any]:
        """A client for sync callers, and the credential to close with it, if any. It asks for the account at once."""
        import requests
        from azure.core.pipeline.transport import RequestsTransport

        session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=_BLOCKING_CONNECTIONS)
        for scheme in ("https://", "http://"):
            session.mount(scheme, adapter)
        credential: Any = None if self.key else _credentials("azure.identity").DefaultAzureCredential()
        client = CosmosClient(
            self.endpoint,
            credential if self.key is None else self.key,
            connection_policy=self._policy(),
            transport=RequestsTransport(session=session),
            **OPTIONS,
        )
        return client, credential

    def async_client(self) -> tuple[Any, Any, Any]:
        """The same for the running event loop, and its transport. It asks for the account when it is entered."""
        import aiohttp
        from azure.core.pipeline.transport import AioHttpTransport
        from azure.cosmos.aio import CosmosClient as AsyncCosmosClient

        session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=True
        )
        transport = AioHttpTransport(session=session)
        credential: Any = None if self.key else _credentials("azure.identity.aio").DefaultAzureCredential()
        client = AsyncCosmosClient(
            self.endpoint,
            credential if self.key is None else self.key,
            connection_policy=self._policy(),
            transport=transport,
            **OPTIONS,
        )
        return client, credential, session

    def _policy(self) -> ConnectionPolicy:
        """Time limits for what the SDK asks on its own account, in the background."""
        policy = ConnectionPolicy()
        policy.EnableEndpointDiscovery = self.discover
        policy.RequestTimeout = policy.DBAConnectionTimeout = self.timeout / 2  # type: ignore[assignment]  # int only by its annotation
        policy.ReadTimeout = policy.DBAReadTimeout = self.timeout / 2  # type: ignore[assignment]  # as above
        return policy


def _place(url: str, insecure_http: bool) -> tuple[str, str, str]:
    """The endpoint, the database and the container."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError(f"the cosmos:// URL has no valid account or host: {_FORM}") from None
    names = [unquote(name) for name in parts.path.strip("/").split("/")]
    if parts.fragment or "@" in parts.netloc or not host:
        raise ConfigError(
            f"the cosmos:// URL names an account, a database and a container: {_FORM}?timeout=2"
        )
    if len(names) != 2 or not all(_NAME.fullmatch(name) for name in names):
        raise ConfigError(f"the cosmos:// URL has to name a database and a container: {_FORM}")
    scheme = "http" if insecure_http else "https"
    if port is None and "." not in host and host != "localhost":
        if not _ACCOUNT.fullmatch(host):
            raise ConfigError(f"the cosmos:// URL begins with no name of an account: {_FORM}")
        if insecure_http:
            raise ConfigError(
                "insecure_http is for an emulator: write cosmos://localhost:8081/database/container"
            )
        return f"https://{host}.documents.azure.com:443/", *names  # type: ignore[return-value]  # two of them
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{port or (80 if insecure_http else 443)}/", *names  # type: ignore[return-value]  # as above


def _credentials(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError("credential=default needs azure-identity: pip install azure-identity") from error


def _default_only(text: str) -> str:
    if text != "default":
        raise ConfigError("write credential=default, for Microsoft Entra ID, or key=… for the account's key")
    return text


def _yes_or_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"
