"""Keys in Google Secret Manager: a secret whose newest version is one key a line.

It is two requests at the start and two every minute, in a thread. The right that it takes at run time is
`secretmanager.versions.access`: the role "Secret Manager Secret Accessor" on that secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from google.api_core.exceptions import BadRequest, NotFound, ServiceUnavailable
from google.api_core.retry import Retry, if_exception_type
from google.cloud.secretmanager import SecretManagerServiceClient

from ..errors import ConfigError
from . import KeysChanged, NoKeys, lines_of, text_of
from .own_client import OwnClient

REFRESH_SECONDS = 60.0

# The client's own retries go on for a minute; a ring is asked for again after ten seconds anyway.
_RETRY = Retry(if_exception_type(ServiceUnavailable), initial=0.2, maximum=0.5, timeout=1.0)
_TIMEOUT_SECONDS = 5.0


class SecretManager:
    """The secret `name`: "projects/…/secrets/…". `client` is google-cloud-secret-manager's."""

    every = REFRESH_SECONDS
    remote = True

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name
        self._version = 0

    @classmethod
    def from_url(cls, url: str) -> SecretManager:
        """The secret of `gcp-secretmanager://project/name`. Raises `ConfigError`."""
        parts = urlsplit(url)
        project, name = parts.netloc, parts.path.strip("/")
        if not project or not name or "/" in name or parts.query:
            raise ConfigError("write gcp-secretmanager://project/name for the secret of that name")
        # Over plain HTTPS: gRPC's own threads and a fork do not go together.
        client = OwnClient(lambda: SecretManagerServiceClient(transport="rest"))
        return cls(client, f"projects/{project}/secrets/{name}")

    def read(self) -> list[str] | None:
        version, text = 0, ""
        with suppress(NotFound):
            version, text = self._get("latest")
        # Where that leads may be minutes old, in rare cases hours; a version's own number finds it at once
        # (https://cloud.google.com/secret-manager/docs/reference/consistency).
        with suppress(NotFound):
            for number in count(version + 1):
                with suppress(BadRequest):  # one that was disabled or destroyed meanwhile is passed over
                    version, text = self._get(str(number))
        if not version:
            self._version = 0
            raise NoKeys(f"{self._name} has no version, or does not exist")
        if version == self._version:
            return None
        self._version = version
        return lines_of(text)

    def write(self, keys: Sequence[str]) -> None:
        """Secrets have no conditional write: what came in between shows by the version, and is put back."""
        read, self._version = self._version, 0
        version = self._add("\n".join(keys))
        if version != read + 1:
            self._add(self._get(str(version - 1))[1])
            raise KeysChanged(f"somebody else has changed {self._name}: try again")

    def _get(self, version: str) -> tuple[int, str]:
        name = f"{self._name}/versions/{version}"
        answer = self._client.access_secret_version(name=name, retry=_RETRY, timeout=_TIMEOUT_SECONDS)
        return _number(answer.name), text_of(answer.payload.data, self._name)

    def _add(self, text: str) -> int:
        answer = self._client.add_secret_version(
            parent=self._name, payload={"data": text.encode()}, timeout=_TIMEOUT_SECONDS
        )
        return _number(answer.name)


def _number(name: str) -> int:
    return int(name.rpartition("/")[2])
