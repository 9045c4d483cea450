"""The clients of the cloud databases alone: one read and one write of a whole document, a field for each key.

As in `bare_clients`: what an application would write that keeps its sessions there itself. With `guarded`, a write is
a conditional one of a single value, as Holdfast's, and what is left of the ratio is Holdfast and not the engine.
"""

from __future__ import annotations

import base64
import itertools
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .bare_clients import KEY, Bare, blocking

Put = Callable[[Any], Any]
"""Writes the session by way of a client of either colour."""


def documents(values: Mapping[str, Any], changed: Any) -> Iterator[dict[str, Any]]:
    """The session as a document, from one put to the next with another `page`."""
    return itertools.cycle((dict(values), {**values, "page": changed}))


def dynamodb(url: str, values: Mapping[str, bytes]) -> AbstractAsyncContextManager[Mapping[str, Bare]]:
    """boto3 and aiobotocore: `GetItem` with a consistent read, and `PutItem`, both in a table of the session's own."""
    item = {"id": {"S": KEY}, **{name: {"B": value} for name, value in values.items()}}
    items = documents(item, {"B": b"\x02"})
    return _dynamodb(url, item, lambda client: client.put_item(TableName="bare", Item=next(items)))


def dynamodb_guarded(
    url: str, values: Mapping[str, bytes]
) -> AbstractAsyncContextManager[Mapping[str, Bare]]:
    """The same with a conditional `UpdateItem` of one value, which counts versions, and tells what came of it."""
    data = {"M": {name: {"B": value} for name, value in values.items()}}
    times = {"x": {"N": repr(time.time() + 86400)}, "v": {"N": "1"}}
    item = {"id": {"S": KEY}, "t": {"B": b"first"}, "d": data, **times}
    update = {
        "TableName": "bare",
        "Key": {"id": {"S": KEY}},
        "UpdateExpression": "SET v = v + :1, t = :t, d.#p = :p",
        "ConditionExpression": "x > :now AND t <> :t AND attribute_not_exists(e)",
        "ExpressionAttributeNames": {"#p": "page"},
        "ReturnValues": "ALL_NEW",
    }

    def put(client: Any) -> Any:
        said = {":1": {"N": "1"}, ":t": {"B": os.urandom(8)}, ":p": {"B": b"\x02"}}
        now = {":now": {"N": repr(time.time())}}
        return client.update_item(**update, ExpressionAttributeValues=said | now)

    return _dynamodb(url, item, put)


@asynccontextmanager
async def _dynamodb(url: str, item: Mapping[str, Any], put: Put) -> AsyncIterator[Mapping[str, Bare]]:
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
    get = {"TableName": "bare", "Key": {"id": {"S": KEY}}, "ConsistentRead": True}
    one.put_item(TableName="bare", Item=item)
    async with aiobotocore.session.get_session().create_client("dynamodb", **place) as other:
        yield {
            "sync": Bare(blocking(lambda: one.get_item(**get)), blocking(lambda: put(one))),
            "async": Bare(lambda: other.get_item(**get), lambda: put(other)),
        }
    one.close()


def cosmos(url: str, values: Mapping[str, bytes]) -> AbstractAsyncContextManager[Mapping[str, Bare]]:
    """azure-cosmos: a point read of an item, and an upsert of it, in a container of the session's own."""
    items = documents({"id": KEY, **_texts(values)}, "Ag==")
    return _cosmos(url, next(items), lambda container: container.upsert_item(next(items)))


def cosmos_guarded(url: str, values: Mapping[str, bytes]) -> AbstractAsyncContextManager[Mapping[str, Bare]]:
    """The same with a conditional patch of one value, which counts versions."""
    item = {"id": KEY, "v": 1, "t": "first", "d": _texts(values), "x": time.time() + 86400, "e": False}

    def put(container: Any) -> Any:
        tag = secrets.token_hex(8)
        operations = [
            {"op": "incr", "path": "/v", "value": 1},
            {"op": "set", "path": "/t", "value": tag},
            {"op": "set", "path": "/d/page", "value": "Ag=="},
        ]
        condition = f"from c where c.v < 9007199254740991 and c.e = false and c.x > {time.time()!r} and c.t != '{tag}'"
        return container.patch_item(KEY, KEY, operations, filter_predicate=condition)

    return _cosmos(url, item, put)


@asynccontextmanager
async def _cosmos(url: str, item: dict[str, Any], put: Put) -> AsyncIterator[Mapping[str, Bare]]:
    from azure.cosmos import CosmosClient, PartitionKey
    from azure.cosmos.aio import CosmosClient as AsyncCosmosClient

    parts = urlsplit(url)
    (key,) = parse_qs(parts.query)["key"]
    place = (f"http://{parts.netloc}/", key)
    database, _ = parts.path.strip("/").split("/")
    with CosmosClient(*place, enable_endpoint_discovery=False) as client:
        one = client.get_database_client(database).create_container("bare", PartitionKey("/id"))
        one.upsert_item(item)
        async with AsyncCosmosClient(*place, enable_endpoint_discovery=False) as async_client:
            other = async_client.get_database_client(database).get_container_client("bare")
            yield {
                "sync": Bare(blocking(lambda: one.read_item(KEY, KEY)), blocking(lambda: put(one))),
                "async": Bare(lambda: other.read_item(KEY, KEY), lambda: put(other)),
            }


def _texts(values: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(value).decode() for name, value in values.items()}


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
