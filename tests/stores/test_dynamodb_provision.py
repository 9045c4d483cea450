"""`holdfast provision` for DynamoDB: what it makes, what it finds, and the code that it prints."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml
from makers.dynamodb import endpoint_of
from records import new_key, new_record

from holdfast._colour import run
from holdfast.errors import ConfigError
from holdfast.stores import Part, from_url
from holdfast.stores.dynamodb import DynamoDBStore
from servers.dynamodb import TABLE, client_of

ACTIONS = {"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}


def store_for(url: str) -> DynamoDBStore:
    """A store for a table that nobody has used."""
    store = from_url(url.replace(f"//{TABLE}", f"//made-{new_key()[:10]}"))
    assert isinstance(store, DynamoDBStore)
    return store


def states(store: DynamoDBStore, *, create: bool) -> list[str]:
    """The state of each part: the table, its index, and time to live; and that a table is there in one region."""
    parts = run(store.provision(create=create))
    if parts[0].state != "missing":
        assert parts.pop() == Part("one region", "there")
    return [part.state for part in parts]


def make(url: str, table: str, **changes: Any) -> Any:
    """Make a table that differs from the right one; a client of its emulator."""
    client = client_of(endpoint_of(url))
    arguments: dict[str, Any] = {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    }
    client.create_table(**arguments | changes)
    return client


def test_what_is_missing_is_made(moto_url: str) -> None:
    """First nothing is there, then it is made, then it is there; and it is enough for sessions."""
    store = store_for(moto_url)
    assert states(store, create=False) == ["missing"] * 3
    assert states(store, create=True) == ["made"] * 3
    assert states(store, create=True) == ["there"] * 3
    assert states(store, create=False) == ["there"] * 3
    key, owner = new_key(), new_key()
    assert run(store.create(key, new_record(owner=owner)))
    assert set(run(store.of(owner))) == {key}
    store.close()


def test_it_works_for_async_callers(moto_url: str) -> None:
    """The same, awaited."""
    store = store_for(moto_url)

    async def scenario() -> list[str]:
        await store.provision(create=True)
        return [part.state for part in await store.provision(create=False)]

    assert asyncio.run(scenario()) == ["there"] * 4


def test_a_table_that_lacks_something_gets_it(moto_url: str) -> None:
    """Index and time to live are added to a table that has the right key."""
    store = store_for(moto_url)
    make(moto_url, store._table).close()
    assert states(store, create=False) == ["there", "missing", "missing"]
    assert states(store, create=True) == ["there", "made", "made"]
    assert states(store, create=False) == ["there"] * 3
    store.close()


def test_the_index_of_a_table_with_provisioned_capacity_has_as_much(moto_url: str) -> None:
    """DynamoDB refuses an index there that has none of its own. (moto does not, but tells what it was given.)"""
    store, units = store_for(moto_url), {"ReadCapacityUnits": 7, "WriteCapacityUnits": 3}
    client = make(moto_url, store._table, BillingMode="PROVISIONED", ProvisionedThroughput=units)
    assert states(store, create=True) == ["there", "made", "made"]
    (index,) = client.describe_table(TableName=store._table)["Table"]["GlobalSecondaryIndexes"]
    assert index["ProvisionedThroughput"].items() >= units.items()
    client.close()
    store.close()


def test_a_table_with_another_key_is_left_alone(moto_url: str) -> None:
    """What is wrong is told and not changed, nor added to."""
    store = store_for(moto_url)
    client = make(
        moto_url,
        store._table,
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    before = client.describe_table(TableName=store._table)["Table"]
    assert states(store, create=True) == ["wrong", "missing", "missing"]
    assert client.describe_table(TableName=store._table)["Table"] == before
    assert "partition key id" in run(store.provision(create=False))[0].detail
    client.close()
    store.close()


def test_a_wrong_index_and_a_wrong_time_to_live_are_told(moto_url: str) -> None:
    """An index that copies the sessions doubles the price; time to live by another attribute deletes nothing."""
    store = store_for(moto_url)
    client = make(
        moto_url,
        store._table,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("id", "o")],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "owners",
                "KeySchema": [{"AttributeName": "o", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    client.update_time_to_live(
        TableName=store._table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )
    parts = run(store.provision(create=True))
    assert [part.state for part in parts] == ["there", "wrong", "wrong", "there"]
    assert "keys only" in parts[1].detail
    assert "expires" in parts[2].detail
    client.close()
    store.close()


@pytest.mark.parametrize(
    ("consistency", "state"),
    [
        ({}, "wrong"),
        ({"MultiRegionConsistency": "EVENTUAL"}, "wrong"),
        ({"MultiRegionConsistency": "STRONG"}, "there"),
    ],
)
def test_a_global_table_is_told(moto_url: str, consistency: dict[str, str], state: str) -> None:
    """Where two regions let one of two changes be lost. (Emulators have no such table: its description is given.)"""
    client = client_of(endpoint_of(moto_url), config=DynamoDBStore.config())

    def describe(parsed: dict[str, Any], **_: Any) -> None:
        if "Table" in parsed:
            replicas = [
                {"RegionName": region, "ReplicaStatus": "ACTIVE"} for region in ("us-east-2", "us-east-1")
            ]
            parsed["Table"] |= {"Replicas": replicas} | consistency

    client.meta.events.register("after-call.dynamodb.DescribeTable", describe)
    store = DynamoDBStore(client, f"made-{new_key()[:10]}")
    run(store.provision(create=True))
    for create in (False, True):
        *others, part = run(store.provision(create=create))
        assert [other.state for other in others] == ["there"] * 3
        assert (part.name, part.state) == ("one region", state)
        assert ("us-east-1, us-east-2" in part.detail) == (state == "wrong")
    client.close()


def test_an_endpoint_without_time_to_live_is_told(dynalite_url: str) -> None:
    """The table is made all the same."""
    store = store_for(dynalite_url)
    assert states(store, create=True) == ["made", "made", "wrong"]
    assert run(store.create(new_key(), new_record())) is True
    store.close()


def test_the_cloudformation_template_is_sound(tmp_path: Path) -> None:
    """cfn-lint finds nothing to say about it."""
    template = tmp_path / "sessions.yaml"
    template.write_text(_code("cloudformation"))
    command = [str(Path(sys.executable).with_name("cfn-lint")), str(template)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.stdout + result.stderr, result.returncode) == ("", 0)


def test_the_cloudformation_template_says_what_is_needed() -> None:
    """The table with its index and time to live, and the rights of an application and no more."""
    template = yaml.load(_code("cloudformation"), _WithTags)
    table = template["Resources"]["Sessions"]["Properties"]
    assert (table["TableName"], table["BillingMode"]) == ("shop-sessions", "PAY_PER_REQUEST")
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    (index,) = table["GlobalSecondaryIndexes"]
    assert (index["IndexName"], index["Projection"]) == ("owners", {"ProjectionType": "KEYS_ONLY"})
    assert index["KeySchema"] == [{"AttributeName": "o", "KeyType": "HASH"}]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    on_table, on_index = template["Resources"]["SessionsPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (set(on_table["Action"]), on_table["Resource"]) == (ACTIONS, "Sessions.Arn")
    assert (on_index["Action"], on_index["Resource"]) == ("dynamodb:Query", "${Sessions.Arn}/index/owners")


def test_the_terraform_code_says_the_same() -> None:
    """Read by a parser of Terraform's language: table, index, time to live, and the same rights."""
    parsed = _plain(hcl2.loads(_code("terraform")))
    resources = {kind: block for entry in parsed["resource"] for kind, block in entry.items()}
    table = resources["aws_dynamodb_table"]["sessions"]
    assert (table["name"], table["hash_key"], table["billing_mode"]) == (
        *("shop-sessions", "id"),
        "PAY_PER_REQUEST",
    )
    attributes = {attribute["name"]: attribute["type"] for attribute in table["attribute"]}
    assert attributes == {"id": "S", "o": "S"}
    (index,) = table["global_secondary_index"]
    assert (index["name"], index["hash_key"], index["projection_type"]) == ("owners", "o", "KEYS_ONLY")
    (ttl,) = table["ttl"]
    assert (ttl["attribute_name"], ttl["enabled"]) == ("ttl", True)
    on_table, on_index = parsed["data"][0]["aws_iam_policy_document"]["sessions"]["statement"]
    assert set(on_table["actions"]) == ACTIONS
    assert on_table["resources"] == ["${aws_dynamodb_table.sessions.arn}"]
    assert on_index["actions"] == ["dynamodb:Query"]
    assert on_index["resources"] == ["${aws_dynamodb_table.sessions.arn}/index/owners"]
    policy = resources["aws_iam_policy"]["sessions"]
    assert policy["policy"] == "${data.aws_iam_policy_document.sessions.json}"
    assert "name" not in policy, "a table of that name in another region would have a policy of the same name"


def test_other_code_is_refused() -> None:
    """The error says which forms there are."""
    with pytest.raises(ConfigError, match="cloudformation and terraform"):
        _code("bicep")


def _code(form: str) -> str:
    return from_url("dynamodb://shop-sessions?region=eu-west-1").as_code(form)  # type: ignore[attr-defined]


class _WithTags(yaml.SafeLoader):
    """Reads CloudFormation's !GetAtt and !Sub as their text."""


_WithTags.add_multi_constructor("!", lambda loader, _, node: loader.construct_scalar(node))


def _plain(value: Any) -> Any:
    """What hcl2 has parsed, without the quotation marks that some versions leave around names and texts."""
    if isinstance(value, dict):
        return {_plain(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        return json.loads(value)
    return value
