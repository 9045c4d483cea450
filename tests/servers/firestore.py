"""Firestore: a server of the tests' own (`firestore_process`), or the official emulator where one is named."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from .process import Server, free_port

PROJECT = "holdfast-tests"
_TESTS = str(Path(__file__).parents[1])


class FirestoreServer(Server):
    """A Firestore on the loopback interface. What it holds is gone when it ends."""

    _package = "python3"

    def __init__(self) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"

    def url(self, collection: str = "sessions", **options: object) -> str:
        """A store's URL for a collection in it."""
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"firestore://{PROJECT}/{collection}?emulator={self.address}{more}"

    def units(self) -> dict[str, int]:
        """What Firestore would have charged for since the server has started: reads, writes, deletes."""
        told: dict[str, int] = self._own("Units", {})
        return told

    def fail(
        self, method: str, code: str, text: str = "on purpose", *, times: int = 1, after: bool = False
    ) -> None:
        """Let the next calls of a method fail, with a status code of gRPC, before or after doing their work."""
        self._own("Fail", {"method": method, "code": code, "text": text, "times": times, "after": after})

    def _own(self, method: str, request: dict[str, Any]) -> Any:
        with grpc.insecure_channel(self.address) as channel:
            answer = channel.unary_unary(f"/holdfast.tests/{method}")(json.dumps(request).encode(), timeout=5)
        return json.loads(answer)

    def _command(self) -> list[str]:
        program = f"import sys; sys.path.insert(0, {_TESTS!r}); from servers import firestore_process as it; it.main()"
        return [sys.executable, "-c", program, str(self.port)]

    def _answers(self) -> bool:
        try:
            self.units()
        except grpc.RpcError:
            return False
        return True


@pytest.fixture(scope="session")
def firestore_address() -> Iterator[str]:
    """Where a Firestore listens that all tests share: the official emulator, if FIRESTORE_EMULATOR_HOST names it."""
    emulator = os.environ.get("FIRESTORE_EMULATOR_HOST")
    if emulator is not None:
        yield emulator
        return
    with FirestoreServer() as server:
        yield server.address


@pytest.fixture
def firestore_server() -> Iterator[FirestoreServer]:
    """A Firestore for one test alone, which may count, freeze and restart it. It forgets all when it ends."""
    with FirestoreServer() as server:
        yield server


@pytest.fixture(scope="module")
def counting_firestore() -> Iterator[FirestoreServer]:
    """A Firestore for the tests of one module, which may count what they cost and let calls fail."""
    with FirestoreServer() as server:
        yield server
