"""The store in Firestore: URLs, credentials and ready clients."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import google.auth
import pytest
from google.auth.exceptions import DefaultCredentialsError
from google.cloud import firestore
from records import new_key, new_record

from holdfast._colour import run
from holdfast.errors import (
    ConfigError,
)
from holdfast.stores import from_url
from holdfast.stores.firestore import FirestoreStore
from servers.firestore import PROJECT, FirestoreServer

Driver = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Driver:
    """Runs a call of the store by hand, or on an event loop."""
    return run if request.param == "sync" else asyncio.run


def test_nothing_is_looked_up_before_it_is_used(monkeypatch: pytest.MonkeyPatch, drive: Driver) -> None:
    """Credentials are asked for by the first call, within its time; where there are none it says so, each time."""
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    asked: list[Any] = []

    def slow(**options: Any) -> Any:
        asked.append(options)
        time.sleep(0.4)

    monkeypatch.setattr(google.auth, "default", slow)
    store = from_url("firestore://project/sessions?timeout=0.2")
    assert not asked
    with pytest.raises(TimeoutError):
        drive(store.load("x"))
    assert len(asked) == 1

    def missing(**options: Any) -> Any:
        asked.append(options)
        raise DefaultCredentialsError("none were found")

    monkeypatch.setattr(google.auth, "default", missing)
    store = from_url("firestore://project/sessions")
    for _ in range(2):
        with pytest.raises(DefaultCredentialsError):
            drive(store.load("x"))
    assert len(asked) == 3


@pytest.mark.parametrize(
    "url",
    [
        "firestore://",
        "firestore://project",
        "firestore:///sessions",
        "firestore://project/a/b",
        "firestore://project/__a__",
        "firestore://user:secret@project/sessions",
        "firestore://project/sessions#x",
        "firestore://project/sessions?timeout=0",
        "firestore://project/sessions?timeout=soon",
        "firestore://project/sessions?emulator=nowhere",
        "firestore://project/sessions?database=A_B",
        "firestore://project/sessions?size=3",
    ],
)
def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    """At construction, with a text that has no secrets in it."""
    with pytest.raises(ConfigError) as refused:
        from_url(url)
    assert "secret" not in str(refused.value)


def test_the_emulators_variable_counts(
    counting_firestore: FirestoreServer, monkeypatch: pytest.MonkeyPatch, drive: Driver
) -> None:
    """FIRESTORE_EMULATOR_HOST does for a URL what it does for Google's client; databases are apart."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", counting_firestore.address)
    store, key = from_url(f"firestore://{PROJECT}/sessions"), new_key()
    drive(store.create(key, new_record()))
    assert drive(from_url(counting_firestore.url()).load(key)) is not None
    assert drive(from_url(counting_firestore.url(database="other")).load(key)) is None


def test_ready_clients_are_their_owners_to_close(
    counting_firestore: FirestoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing the store leaves them; what is no client of Google's is refused."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", counting_firestore.address)
    store = FirestoreStore(firestore.Client(project=PROJECT))
    assert store.colours == {"sync"}
    for _ in range(2):
        assert run(store.load("x")) is None
        run(store.aclose())
        store.close()

    async def scenario() -> None:
        store = FirestoreStore(firestore.AsyncClient(project=PROJECT), "sessions")
        assert store.colours == {"async"}
        for _ in range(2):
            assert await store.load("x") is None
            await store.aclose()

    asyncio.run(scenario())
    with pytest.raises(ConfigError, match=r"not a builtins\.dict"):
        FirestoreStore({})  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ConfigError, match="timeout"):
        FirestoreStore(firestore.Client(project=PROJECT), timeout=0)
    with pytest.raises(ConfigError, match="collection"):
        FirestoreStore(firestore.Client(project=PROJECT), "a/b")


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_process_that_is_forked_while_credentials_are_looked_up_finds_its_own(
    monkeypatch: pytest.MonkeyPatch, colour: str
) -> None:
    """The thread that looks them up is the parent's alone: the child does not wait for it."""
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    drive: Driver = run if colour == "sync" else asyncio.run
    parent, asked, release = os.getpid(), threading.Event(), threading.Event()

    def look_up(**options: Any) -> Any:
        if os.getpid() != parent:
            raise DefaultCredentialsError("none in the child")
        asked.set()
        release.wait()
        raise DefaultCredentialsError("none in the parent")

    monkeypatch.setattr(google.auth, "default", look_up)
    store = from_url("firestore://project/sessions?timeout=0.1")
    with pytest.raises(TimeoutError):
        drive(store.load("x"))
    assert asked.wait(20)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for _ in range(100):  # a lookup takes longer than 0.1 seconds where the machine is busy
                with suppress(TimeoutError):
                    drive(store.load("x"))
        except DefaultCredentialsError as error:
            status = 7 if "in the child" in str(error) else 2
        finally:
            os._exit(status)
    release.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
