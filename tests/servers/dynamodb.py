"""DynamoDB's emulators: moto and dynalite, which know nothing of each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from .process import PATIENCE_SECONDS, Server, free_port

TABLE = "sessions"

# Emulators take any credentials. And no test asks the machine it runs on for some.
os.environ |= {"AWS_EC2_METADATA_DISABLED": "true"}
for _name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
    os.environ.setdefault(_name, "test")


# moto answers in threads that know nothing of each other, so that two conditions can hold at once where one has to
# fail. DynamoDB does one thing after the other to an item; so here one request is answered after the other.
_MOTO = """
import logging, sys, threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

moto, turn = DomainDispatcherApplication(create_backend_app), threading.Lock()

def one_at_a_time(environ, start_response):
    with turn:
        return moto(environ, start_response)

logging.getLogger("werkzeug").disabled = True
run_simple("127.0.0.1", int(sys.argv[1]), one_at_a_time, threaded=True)
"""


class DynamoDBServer(Server):
    """An emulator on the loopback interface with one table, `sessions`. What it holds is gone when it ends."""

    def __init__(self) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.url = f"dynamodb://{TABLE}?region=eu-west-1&endpoint={self.endpoint}"

    def start(self) -> None:
        """Start it with its table, and return when it answers."""
        super().start()
        with_table(self.endpoint)

    _greeting, _welcome = b"GET / HTTP/1.0\r\n\r\n", (b"HTTP/1.",)


class MotoServer(DynamoDBServer):
    """moto: has time to live, and gives the item with a refused condition."""

    _package = "moto[server] (pip)"

    def _command(self) -> list[str]:
        return [sys.executable, "-c", _MOTO, str(self.port)]


class DynaliteServer(DynamoDBServer):
    """dynalite: has no time to live, and does not say what it has when it refuses."""

    _package = "dynalite (npm)"

    def _command(self) -> list[str]:
        command = str(Path(sys.prefix) / "node_modules" / ".bin" / "dynalite")
        instant = ["--createTableMs", "0", "--deleteTableMs", "0", "--updateTableMs", "0"]
        return [command, "--host", "127.0.0.1", "--port", str(self.port), *instant]


def client_of(endpoint: str, **options: Any) -> Any:
    """A bare client of the emulator."""
    return botocore.session.get_session().create_client(
        "dynamodb", region_name="eu-west-1", endpoint_url=endpoint, **options
    )


def with_table(endpoint: str, table: str = TABLE) -> None:
    """Make a table of the right kind, without what an emulator may lack."""
    client = client_of(endpoint)
    client.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("id", "o")],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "owners",
                "KeySchema": [{"AttributeName": "o", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    )
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 0.05, "MaxAttempts": 100})
    client.close()


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """The URL of a table in a moto that all tests share, which is not stopped meanwhile."""
    with MotoServer() as server:
        yield f"{server.url}&timeout={PATIENCE_SECONDS}"


@pytest.fixture(scope="session")
def dynalite_url() -> Iterator[str]:
    """The URL of a table in a dynalite that all tests share, which is not stopped meanwhile."""
    with DynaliteServer() as server:
        yield f"{server.url}&timeout={PATIENCE_SECONDS}"


@pytest.fixture
def moto_server() -> Iterator[MotoServer]:
    """A moto for one test alone, which may stop and freeze it. It forgets all when it ends."""
    with MotoServer() as server:
        yield server


@pytest.fixture
def dynalite_server() -> Iterator[DynaliteServer]:
    """A dynalite for one test alone, which may stop and freeze it. It forgets all when it ends."""
    with DynaliteServer() as server:
        yield server
