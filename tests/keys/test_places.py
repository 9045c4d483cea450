"""The table of places: each can be had, is a source of keys, and keeps the time that is stated."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from holdfast import ConfigError, Keyring
from holdfast.keys import KNOWN, from_url

CLIENTS = {"aws": "boto3", "azure": "azure.keyvault.secrets", "gcp": "google.cloud.secretmanager"}
STATED_SECONDS = {"file": 5.0, "env": float("inf")}


@pytest.mark.parametrize("scheme", KNOWN)
def test_each_place_keeps_the_stated_time(scheme: str) -> None:
    """Five seconds for a file, a minute for what is asked over a network and so in a thread, never for a variable."""
    module, name = KNOWN[scheme][0].split(":")
    source = getattr(import_module(module), name)
    assert source.every == STATED_SECONDS.get(scheme, 60.0)
    assert source.remote == (scheme not in STATED_SECONDS)
    for method in (source.read, source.write, source.from_url):
        assert callable(method)


@pytest.mark.parametrize("scheme", [scheme for scheme, (_, extra) in KNOWN.items() if extra])
def test_a_client_that_is_not_installed_is_named(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that installs it."""
    place, extra = KNOWN[scheme]
    monkeypatch.setitem(sys.modules, CLIENTS[extra or ""], None)
    monkeypatch.delitem(sys.modules, place.split(":")[0], raising=False)
    with pytest.raises(ConfigError, match=rf"pip install 'holdfast\[{extra}\]'"):
        Keyring.from_url(f"{scheme}://a/b?region=eu-west-1")


def test_an_unknown_place_is_answered_with_the_known_ones() -> None:
    """A typing error in a scheme."""
    with pytest.raises(ConfigError, match="aws-secretsmanager, aws-ssm, aws-kms, azure-keyvault"):
        from_url("aws-secretmanager://name")


def test_a_list_of_keys_is_never_looked_at_again() -> None:
    """Nothing is watched, and so nothing costs a request anything."""
    assert Keyring.generate()._watch is None
    assert Keyring([Keyring.new_secret(), Keyring.new_secret()])._watch is None


def test_a_variable_is_never_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a process does not change."""
    monkeypatch.setenv("MY_KEYS", Keyring.new_secret())
    assert Keyring.from_url("env://MY_KEYS")._watch is None
    monkeypatch.setenv("MY_KEYS", "file:///x")
    with pytest.raises(ConfigError, match="names another place"):
        Keyring.from_url("env://MY_KEYS")
    with pytest.raises(ConfigError, match="write env://NAME"):
        Keyring.from_url("env://")
