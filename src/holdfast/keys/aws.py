"""Keys in AWS: Secrets Manager, the Parameter Store of Systems Manager, or a file that KMS has encrypted.

Each is one request at the start and one every minute, in a thread. The rights that it takes at run time are
`secretsmanager:GetSecretValue`, `ssm:GetParameter` or `kms:Decrypt`, on the one resource.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from ..errors import ConfigError
from ..stores._options import options
from . import KeysChanged, NoKeys, lines_of, text_of
from .file import TextFile
from .own_client import OwnClient

REFRESH_SECONDS = 60.0

_OPTIONS = {"region": str, "endpoint": str, "profile": str, "key": str}
_CURRENT = "AWSCURRENT"
_DRAFT = "HOLDFASTDRAFT"


class SecretsManager:
    """The secret that is called `name`, one key a line. `client` is boto3's for "secretsmanager"."""

    every = REFRESH_SECONDS
    remote = True

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name
        self._version: str | None = None

    @classmethod
    def from_url(cls, url: str) -> SecretsManager:
        """The secret of `aws-secretsmanager://name?region=eu-west-1`. Raises `ConfigError`."""
        return cls(OwnClient(lambda: _client("secretsmanager", url)), _name(url))

    def read(self) -> list[str] | None:
        try:
            answer = self._client.get_secret_value(SecretId=self._name, VersionStage=_CURRENT)
        except ClientError as error:
            if _code(error) != "ResourceNotFoundException":
                raise
            self._version = None
            raise NoKeys(f"the secret {self._name} has no value, or does not exist") from error
        if answer["VersionId"] == self._version:
            return None
        if "SecretString" not in answer:
            raise ConfigError(f"the secret {self._name} is binary: keys are text, one a line")
        self._version = answer["VersionId"]
        return lines_of(answer["SecretString"])

    def write(self, keys: Sequence[str]) -> None:
        """The label of the current version moves only from the one that was read: nobody's keys are written over."""
        read, self._version = self._version, None
        put = self._client.put_secret_value(
            SecretId=self._name, SecretString="\n".join(keys), VersionStages=[_DRAFT]
        )
        if _CURRENT in put["VersionStages"]:  # the secret's first version
            return
        try:
            if read is None:
                raise KeysChanged(f"somebody else has written to the secret {self._name}: try again")
            self._client.update_secret_version_stage(
                SecretId=self._name,
                VersionStage=_CURRENT,
                MoveToVersionId=put["VersionId"],
                RemoveFromVersionId=read,
            )
        except ClientError as error:
            if _code(error) != "InvalidParameterException":
                raise
            raise KeysChanged(f"somebody else has changed the secret {self._name}: try again") from error


class ParameterStore:
    """The parameter that is called `name`, a SecureString of one key a line. `client` is boto3's for "ssm".

    `key` is the key of KMS that it is written with, if that is not the account's own for parameters.
    """

    every = REFRESH_SECONDS
    remote = True

    def __init__(self, client: Any, name: str, key: str | None = None) -> None:
        self._client, self._name, self._key = client, name, key
        self._version: int | None = None

    @classmethod
    def from_url(cls, url: str) -> ParameterStore:
        """The parameter of `aws-ssm://name` or `aws-ssm:///path/to/name`, `?region=&key=`. Raises `ConfigError`."""
        return cls(OwnClient(lambda: _client("ssm", url)), _name(url), options(url, _OPTIONS).get("key"))

    def read(self) -> list[str] | None:
        try:
            answer = self._get(self._name)
        except ClientError as error:
            if _code(error) != "ParameterNotFound":
                raise
            self._version = None
            raise NoKeys(f"there is no parameter {self._name}") from error
        if answer["Version"] == self._version:
            return None
        self._version = answer["Version"]
        return lines_of(answer["Value"])

    def write(self, keys: Sequence[str]) -> None:
        """Parameters have no conditional write: what came in between shows by the version, and is put back."""
        read, self._version = self._version, None
        try:
            version = self._put("\n".join(keys), overwrite=read is not None)
        except ClientError as error:
            if _code(error) != "ParameterAlreadyExists":
                raise
            raise KeysChanged(f"somebody else has made the parameter {self._name}: try again") from error
        if read is not None and version != read + 1:
            self._put(self._get(f"{self._name}:{version - 1}")["Value"], overwrite=True)
            raise KeysChanged(f"somebody else has changed the parameter {self._name}: try again")

    def _get(self, name: str) -> Any:
        return self._client.get_parameter(Name=name, WithDecryption=True)["Parameter"]

    def _put(self, text: str, *, overwrite: bool) -> int:
        named = {} if self._key is None else {"KeyId": self._key}
        answer = self._client.put_parameter(
            Name=self._name, Value=text, Type="SecureString", Overwrite=overwrite, **named
        )
        version: int = answer["Version"]
        return version


class EncryptedFile:
    """The file at `path`, which holds what KMS has encrypted, in base64; `key` is needed to write it.

    `client` is boto3's for "kms". With `key`, nothing that another key has encrypted is taken.
    """

    every = REFRESH_SECONDS
    remote = True

    def __init__(self, client: Any, path: str, key: str | None = None) -> None:
        self._client, self._file, self._key = client, TextFile(path), key

    @classmethod
    def from_url(cls, url: str) -> EncryptedFile:
        """The file of `aws-kms:///path/to/file?key=alias/holdfast&region=eu-west-1`. Raises `ConfigError`."""
        return cls(OwnClient(lambda: _client("kms", url)), _name(url), options(url, _OPTIONS).get("key"))

    def read(self) -> list[str] | None:
        sealed = self._file.read()
        if sealed is None:
            return None
        try:
            blob = b64decode("".join(sealed.split()), validate=True)
        except Error:
            raise ConfigError(f"{self._file.path} does not hold what KMS has encrypted, in base64") from None
        named = {} if self._key is None else {"KeyId": self._key}
        try:
            plain: bytes = self._client.decrypt(CiphertextBlob=blob, **named)["Plaintext"]
        except Exception:
            self._file.forget()  # it is to be tried again, though the file does not change
            raise
        return lines_of(text_of(plain, self._file.path))

    def write(self, keys: Sequence[str]) -> None:
        if self._key is None:
            raise ConfigError("to write an encrypted file takes a key of KMS: add ?key=alias/… to the URL")
        blob = self._client.encrypt(KeyId=self._key, Plaintext="\n".join(keys).encode())["CiphertextBlob"]
        self._file.write(b64encode(blob).decode() + "\n")


def _code(error: ClientError) -> str:
    code: str = error.response["Error"]["Code"]
    return code


def _name(url: str) -> str:
    parts = urlsplit(url)
    name = unquote(parts.netloc + parts.path)
    if not name.strip("/"):
        raise ConfigError(f"write {parts.scheme}://name")
    return name


def _client(service: str, url: str) -> Any:
    found = options(url, _OPTIONS)
    session = boto3.Session(profile_name=found.get("profile"), region_name=found.get("region"))
    if session.region_name is None:
        raise ConfigError(f"no AWS region is set: add ?region= to the URL of {service}, or set AWS_REGION")
    config = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 3})
    return session.client(service, endpoint_url=found.get("endpoint"), config=config)
