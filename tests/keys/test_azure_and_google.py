"""Keys in Azure Key Vault and Google Secret Manager: the official clients against stand-ins of the documented API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.keyvault.secrets import SecretClient
from google.api_core.exceptions import RetryError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.secretmanager import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceRestTransport,
)

from holdfast import ConfigError, Keyring
from holdfast.cli import main
from holdfast.keys import KeysChanged, KeySource, NoKeys, azure, from_url, gcp
from holdfast.testing import FakeClock

from places import ring_of, settle  # isort: skip
from stand_ins import AzureVault, GoogleSecrets, StandIn  # isort: skip

A, B, C = (Keyring.new_secret() for _ in range(3))
GOOGLE = "projects/p/secrets/holdfast"


class Entra:
    """A credential, as azure-identity's are."""

    def __init__(self, **options: object) -> None:
        pass

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        assert scopes == ("https://vault.azure.net/.default",)
        return AccessToken(AzureVault.TOKEN, int(time.time()) + 3600)


class Cloud(NamedTuple):
    """One of the two: its stand-in, how a source is made, the URL, what an outage raises, and how many requests it
    takes to look.
    """

    stand_in: StandIn
    source: Callable[[], KeySource]
    url: str
    outage: type[Exception]
    requests: int


@pytest.fixture
def azure_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Key Vault, with what is particular to the stand-in: its certificate, and that it is no host of Azure's."""
    with AzureVault(tmp_path / "vault") as vault:
        near = partial(
            SecretClient, verify_challenge_resource=False, connection_verify=str(tmp_path / "vault.pem")
        )
        monkeypatch.setattr(azure, "SecretClient", near)
        monkeypatch.setattr(azure, "DefaultAzureCredential", Entra)
        url = f"azure-keyvault://vault/holdfast?endpoint=https://localhost:{vault.port}"
        yield Cloud(vault, lambda: from_url(url), url, HttpResponseError, 1)


@pytest.fixture
def google_cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Secret Manager over REST, without credentials and TLS."""
    with GoogleSecrets() as secrets:
        secrets.secrets[GOOGLE] = []

        def near(transport: str) -> SecretManagerServiceClient:
            assert transport == "rest"
            return SecretManagerServiceClient(
                transport=SecretManagerServiceRestTransport(
                    host=f"127.0.0.1:{secrets.port}", credentials=AnonymousCredentials(), url_scheme="http"
                )
            )

        monkeypatch.setattr(gcp, "SecretManagerServiceClient", near)
        url = "gcp-secretmanager://p/holdfast"
        yield Cloud(secrets, lambda: from_url(url), url, RetryError, 2)


@pytest.fixture(params=["azure_cloud", "google_cloud"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    found: Cloud = request.getfixturevalue(request.param)
    return found


def holding(cloud: Cloud, *keys: str) -> None:
    source = cloud.source()
    with pytest.raises(NoKeys):
        source.read()
    source.write(keys)


def test_what_was_written_is_read(cloud: Cloud) -> None:
    """In its order, by as many requests as are stated; and what has not changed is not news."""
    holding(cloud, B, A)
    source = cloud.source()
    assert source.read() == [B, A]
    cloud.stand_in.requests.clear()
    assert source.read() is None
    assert len(cloud.stand_in.requests) == cloud.requests
    other = cloud.source()
    other.read()
    other.write([C, B])
    assert source.read() == [C, B]
    assert Keyring.from_url(cloud.url).key_ids == Keyring([C, B]).key_ids


def test_a_key_that_was_added_arrives_within_a_minute(cloud: Cloud) -> None:
    """In a ring that is in use; and an outage meanwhile keeps the keys that are known."""
    holding(cloud, A)
    clock = FakeClock()
    ring = ring_of(cloud.source(), clock)
    operator = cloud.source()
    operator.read()
    operator.write([B, A])
    cloud.stand_in.failing = True
    clock.advance(60)
    settle(ring)
    assert ring.key_ids == Keyring([A]).key_ids
    cloud.stand_in.failing = False
    clock.advance(10)
    settle(ring)
    assert ring.key_ids == Keyring([B, A]).key_ids


def test_nothing_is_written_over_somebody_elses_keys(cloud: Cloud) -> None:
    """Of two who have read the same keys the second is told so, and the first one's are still there."""
    holding(cloud, A)
    first, second = cloud.source(), cloud.source()
    first.read()
    second.read()
    first.write([B, A])
    with pytest.raises(KeysChanged):
        second.write([C, A])
    assert cloud.source().read() == [B, A]
    second.read()
    second.write([C, B, A])
    assert cloud.source().read() == [C, B, A]


def test_google_may_be_late_with_the_latest_version(
    google_cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """By minutes, or hours, as Google says. A ring hears of a key in its minute all the same, an instance that starts
    at once, and the command builds upon what was written a moment ago.
    """
    secrets = google_cloud.stand_in
    assert isinstance(secrets, GoogleSecrets)
    secrets.behind = 1
    holding(google_cloud, A)
    clock = FakeClock()
    ring = ring_of(google_cloud.source(), clock)
    operator = google_cloud.source()
    assert operator.read() == [A]
    operator.write([B, A])
    clock.advance(60)
    settle(ring)
    assert ring.key_ids == Keyring([B, A]).key_ids
    secrets.behind = 2
    assert google_cloud.source().read() == [B, A]
    assert main(["keys", "rotate", google_cloud.url]) == 0
    assert capsys.readouterr().err == ""
    assert len(secrets.secrets[GOOGLE]) == 3
    assert Keyring.from_url(google_cloud.url).key_ids[1:] == Keyring([B, A]).key_ids


def test_a_version_that_was_destroyed_hides_no_later_one(google_cloud: Cloud) -> None:
    """While `latest` is behind, old versions may go that lie between it and the newest: an instance still starts."""
    secrets = google_cloud.stand_in
    assert isinstance(secrets, GoogleSecrets)
    holding(google_cloud, A)
    operator = google_cloud.source()
    operator.read()
    operator.write([B, A])
    operator.read()
    operator.write([C, B, A])
    secrets.behind, secrets.destroyed = 2, frozenset({2})
    assert google_cloud.source().read() == [C, B, A]


def test_an_outage_raises_what_the_client_raises(cloud: Cloud) -> None:
    """And at the start of an application `ConfigError`, with what it was."""
    holding(cloud, A)
    cloud.stand_in.failing = True
    source = cloud.source()
    with pytest.raises(cloud.outage):
        source.read()
    with pytest.raises(ConfigError, match=f"cannot be read: {cloud.outage.__name__}"):
        Keyring.from_url(cloud.url)


def test_the_command_rotates_them(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    """`holdfast keys` on the URL: add, rotate, list; an outage is an error of status 2."""
    for command in ("add", "rotate", "list"):
        assert main(["keys", command, cloud.url]) == 0
    assert capsys.readouterr().out.count("makes tokens") == 1
    assert len(Keyring.from_url(cloud.url).key_ids) == 2
    cloud.stand_in.failing = True
    assert main(["keys", "list", cloud.url]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_secret_that_does_not_exist_is_told(
    google_cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """In Google's a secret is made first; its first version is the command's."""
    assert main(["keys", "add", "gcp-secretmanager://p/other"]) == 2
    assert "Secret [projects/p/secrets/other] not found" in capsys.readouterr().err


def test_no_credentials_are_an_error_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the application starts, naming what its client says."""

    def without(transport: str) -> None:
        raise DefaultCredentialsError("your default credentials were not found")

    monkeypatch.setattr(gcp, "SecretManagerServiceClient", without)
    with pytest.raises(ConfigError, match="credentials were not found"):
        Keyring.from_url("gcp-secretmanager://p/holdfast")


@pytest.mark.parametrize(
    "url",
    [
        "azure-keyvault://vault",
        "azure-keyvault:///name",
        "azure-keyvault://vault/name/version",
        "azure-keyvault://vault/name?x=y",
        "gcp-secretmanager://project",
        "gcp-secretmanager://project/a/b",
        "gcp-secretmanager://project/a?x=y",
    ],
)
def test_a_wrong_url_is_explained(url: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ConfigError, match=r"write |unknown option"):
        from_url(url)
