"""Keys in Secrets Manager, the Parameter Store and under KMS, against moto's server."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from holdfast import ConfigError, Keyring
from holdfast.cli import main
from holdfast.keys import KeysChanged, KeySource, NoKeys, from_url, read_first
from holdfast.testing import FakeClock

from places import ring_of, settle  # isort: skip

A, B, C = (Keyring.new_secret() for _ in range(3))
KINDS = ["aws-secretsmanager", "aws-ssm", "aws-kms"]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Where moto's server listens."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    # Its first answer of each kind takes long: whoever waits for it here has a minute.
    client("secretsmanager", url).list_secrets()
    client("ssm", url).describe_parameters()
    client("kms", url).list_keys()
    yield url
    server.stop()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the tries of a place that does not answer."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda seconds: None))


def client(service: str, endpoint: str) -> Any:
    return boto3.client(service, endpoint_url=endpoint, region_name="eu-west-1")


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, endpoint: str, tmp_path: Path) -> str:
    """The URL of an empty place of each kind."""
    name, options = f"holdfast-{tmp_path.name}", f"region=eu-west-1&endpoint={endpoint}"
    if request.param == "aws-kms":
        key = client("kms", endpoint).create_key()["KeyMetadata"]["KeyId"]
        return f"aws-kms://{tmp_path}/sealed?key={key}&{options}"
    if request.param == "aws-secretsmanager":
        client("secretsmanager", endpoint).create_secret(Name=name)
    return f"{request.param}://{name}?{options}"


def holding(url: str, *keys: str) -> KeySource:
    source = from_url(url)
    with pytest.raises(NoKeys):
        source.read()
    source.write(keys)
    return source


def test_what_was_written_is_read(url: str) -> None:
    """In its order; and what has not changed is not news."""
    holding(url, B, A)
    source = from_url(url)
    assert source.read() == [B, A]
    assert source.read() is None
    other = from_url(url)
    other.read()
    other.write([C, B])
    assert source.read() == [C, B]
    assert Keyring.from_url(url).key_ids == Keyring([C, B]).key_ids


def test_a_key_that_was_added_arrives_within_a_minute(url: str) -> None:
    """In a ring that is in use, and without a restart."""
    holding(url, A)
    clock = FakeClock()
    ring = ring_of(from_url(url), clock)
    operator = from_url(url)
    operator.read()
    operator.write([B, A])
    clock.advance(60)
    settle(ring)
    assert ring.key_ids == Keyring([B, A]).key_ids


def test_nothing_is_written_over_somebody_elses_keys(url: str) -> None:
    """Of two who have read the same keys the second is told so, and the first one's are still there."""
    holding(url, A)
    first, second = from_url(url), from_url(url)
    first.read()
    second.read()
    first.write([B, A])
    with pytest.raises(KeysChanged):
        second.write([C, A])
    assert from_url(url).read() == [B, A]
    second.read()
    second.write([C, B, A])
    assert from_url(url).read() == [C, B, A]


def test_two_who_make_the_first_key(url: str) -> None:
    """One makes it."""
    first, second = from_url(url), from_url(url)
    for source in (first, second):
        with pytest.raises(NoKeys):
            source.read()
    first.write([A])
    with pytest.raises(KeysChanged):
        second.write([B])
    assert from_url(url).read() == [A]


def test_the_command_rotates_them(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`holdfast keys` on the URL: add, rotate, list, retire."""
    for command in (["add", url], ["rotate", url], ["list", url]):
        assert main(["keys", *command]) == 0
    assert capsys.readouterr().out.count("makes tokens") == 1
    newest = Keyring.from_url(url).key_ids[0]
    assert main(["keys", "retire", url, newest]) == 0
    assert len(Keyring.from_url(url).key_ids) == 1


@pytest.mark.usefixtures("_no_pauses")
def test_a_place_that_is_missing_is_told(
    endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With status 2, not with a traceback; and at the start of an application as `ConfigError`."""
    url = f"aws-secretsmanager://nowhere?region=eu-west-1&endpoint={endpoint}"
    assert main(["keys", "add", url]) == 2
    assert "ResourceNotFoundException" in capsys.readouterr().err
    assert main(["keys", "list", url]) == 2
    with pytest.raises(ConfigError, match="nowhere"):
        Keyring.from_url(url)
    dead = "aws-ssm://x?region=eu-west-1&endpoint=http://127.0.0.1:1"
    assert main(["keys", "list", dead]) == 2
    with pytest.raises(ConfigError, match="EndpointConnectionError"):
        read_first(from_url(dead))


def test_what_kms_cannot_open_is_refused(endpoint: str, tmp_path: Path) -> None:
    """Another key's, other bytes, no base64; and without its key the file cannot be written."""
    kms = client("kms", endpoint)
    ours, theirs = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    options = f"region=eu-west-1&endpoint={endpoint}"
    path = tmp_path / "sealed"

    def seal(text: bytes, key: str) -> None:
        path.write_bytes(b64encode(kms.encrypt(KeyId=key, Plaintext=text)["CiphertextBlob"]))

    seal(A.encode(), ours)
    assert from_url(f"aws-kms://{path}?{options}").read() == [A]
    assert A not in path.read_text()
    with pytest.raises(ConfigError, match="key=alias"):
        from_url(f"aws-kms://{path}?{options}").write([A])
    seal(A.encode(), theirs)
    with pytest.raises(ConfigError, match="cannot be read: ClientError"):
        read_first(from_url(f"aws-kms://{path}?key={ours}&{options}"))
    seal(A.encode() + b"\xff", ours)
    with pytest.raises(ConfigError, match="does not hold keys") as caught:
        from_url(f"aws-kms://{path}?{options}").read()
    assert caught.value.__cause__ is None
    path.write_text("no base64!")
    with pytest.raises(ConfigError, match="base64"):
        from_url(f"aws-kms://{path}?{options}").read()


@pytest.mark.usefixtures("_no_pauses")
def test_a_failure_of_kms_is_tried_again(endpoint: str, tmp_path: Path) -> None:
    """The file has not changed, but it has not been opened yet either."""
    source = from_url(f"aws-kms://{tmp_path}/sealed?region=eu-west-1&endpoint=http://127.0.0.1:1")
    (tmp_path / "sealed").write_text("AAAA")
    for _ in range(2):
        with pytest.raises(ConfigError, match="EndpointConnectionError"):
            read_first(source)


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_url_is_explained(kind: str) -> None:
    """No name, no region, an option that is not known: before anything is asked."""
    for url, text in (
        (f"{kind}://?region=eu-west-1", "://name"),
        (f"{kind}://name", "no AWS region"),
        (f"{kind}://name?regoin=eu-west-1", "unknown option"),
    ):
        with pytest.raises(ConfigError, match=text):
            from_url(url)
