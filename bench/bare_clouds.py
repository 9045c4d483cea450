"""The clients of the cloud databases alone: one read and one write of a whole document, a field for each key.

As in `bare_clients`: what an application would write that keeps its sessions there itself.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .bare_clients import KEY, Bare, blocking


def documents(values: Mapping[str, Any], changed: Any) -> Iterator[dict[str, Any]]:
    """The session as a document, from one put to the next with another `page`."""
    return itertools.cycle((dict(values), {**values, "page": changed}))


@asynccontextmanager
async def dynamodb(url: str, values: Mapping[str, bytes]) -> AsyncIterator[Mapping[str, Bare]]:
    """boto3 and aiobotocore: `GetItem` with a consistent read, and `PutItem`, both in a table of the session's own."""
    import aiobotocore.session
    import boto3

    parts = urlsplit(url)
    asked = {name: found for name, (found, *_) in parse_qs(parts.query).items()}
    place: dict[str, Any] = {"region_name": asked["region"], "endpoint_url": asked["endpoint"]}
    one = boto3.client("dynamodb", **place)
    one.create_table(
        TableName="bare",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    one.get_waiter("table_exists").wait(TableName="bare", WaiterConfig={"Delay": 0.05, "MaxAttempts": 100})
    item = {"id": {"S": KEY}, **{name: {"B": value} for name, value in values.items()}}
    items = documents(item, {"B": b"\x02"})
    get = {"TableName": "bare", "Key": {"id": {"S": KEY}}, "ConsistentRead": True}
    one.put_item(TableName="bare", Item=item)
    async with aiobotocore.session.get_session().create_client("dynamodb", **place) as other:
        yield {
            "sync": Bare(
                blocking(lambda: one.get_item(**get)),
                blocking(lambda: one.put_item(TableName="bare", Item=next(items))),
            ),
            "async": Bare(
                lambda: other.get_item(**get),
                lambda: other.put_item(TableName="bare", Item=next(items)),
            ),
        }
    one.close()


@asynccontextmanager
async def cosmos(url: str, values: Mapping[str, bytes]) -> AsyncIterator[Mapping[str, Bare]]:
    """azure-cosmos: a point read of an item, and an upsert of it, in a container of the session's own."""
    import base64

    from azure.cosmos import CosmosClient, PartitionKey
    from azure.cosmos.aio import CosmosClient as AsyncCosmosClient

    parts = urlsplit(url)
    (key,) = parse_qs(parts.query)["key"]
    place = (f"http://{parts.netloc}/", key)
    database, _ = parts.path.strip("/").split("/")
    text = {name: base64.b64encode(value).decode() for name, value in values.items()}
    items = documents({"id": KEY, **text}, "Ag==")
    with CosmosClient(*place, enable_endpoint_discovery=False) as client:
        one = client.get_database_client(database).create_container("bare", PartitionKey("/id"))
        one.upsert_item(next(items))
        async with AsyncCosmosClient(*place, enable_endpoint_discovery=False) as async_client:
            other = async_client.get_database_client(database).get_container_client("bare")
            yield {
                "sync": Bare(
                    blocking(lambda: one.read_item(KEY, KEY)),
                    blocking(lambda: one.upsert_item(next(items))),
                ),
                "async": Bare(lambda: other.read_item(KEY, KEY), lambda: other.upsert_item(next(items))),
            }


@asynccontextmanager
async def firestore(url: str, values: Mapping[str, bytes]) -> AsyncIterator[Mapping[str, Bare]]:
    """google-cloud-firestore: `get` and `set` of a document."""
    from google.cloud.firestore import AsyncClient, Client

    parts = urlsplit(url)
    (os.environ["FIRESTORE_EMULATOR_HOST"],) = parse_qs(parts.query)["emulator"]
    items = documents(values, b"\x02")
    one, other = Client(project=parts.netloc), AsyncClient(project=parts.netloc)
    here, there = one.document(f"bare/{KEY}"), other.document(f"bare/{KEY}")
    here.set(next(items))
    yield {
        "sync": Bare(blocking(here.get), blocking(lambda: here.set(next(items)))),
        "async": Bare(there.get, lambda: there.set(next(items))),
    }
    one.close()
    other.close()
    del os.environ["FIRESTORE_EMULATOR_HOST"]
