"""What a `DynamoDBStore` needs of DynamoDB: a table, an index and time to live; made, checked and printed as code."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from .. import _colour
from ..errors import ConfigError, StoreError, StoreUnavailable
from ..stores import Part
from ..stores._dynamodb_errors import TableMissing

INDEX = "owners"
_TTL = "ttl"

# DynamoDB takes seconds to make a table, and minutes for an index of a table that is full.
_PATIENCE_SECONDS = 300.0
_LOOK_AGAIN_SECONDS = 1.0

_KEY = [{"AttributeName": "id", "KeyType": "HASH"}]
_INDEX: dict[str, Any] = {
    "IndexName": INDEX,
    "KeySchema": [{"AttributeName": "o", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}
_TYPES = [{"AttributeName": name, "AttributeType": "S"} for name in ("id", "o")]

Ask = Callable[..., Awaitable[dict[str, Any]]]


async def provision(ask: Ask, table: str, *, create: bool) -> list[Part]:
    """The table's parts and their states. `ask` calls an operation of DynamoDB on the table."""
    found = await _describe(ask)
    made: set[str] = set()
    if found is None and create:
        await ask(
            "create_table",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=_TYPES,
            KeySchema=_KEY,
            GlobalSecondaryIndexes=[_INDEX],
        )
        made = {"table", "index"}
        found = await _until_active(ask)
    parts = [_table_part(table, found, "table" in made)]
    sound = parts[0].state in ("there", "made")
    index = _index_of(found)
    if sound and index is None and create:
        missing = _INDEX | _capacity(found or {})
        await ask(
            "update_table", AttributeDefinitions=_TYPES, GlobalSecondaryIndexUpdates=[{"Create": missing}]
        )
        made.add("index")
        found = await _until_active(ask)
        index = _index_of(found)
    parts.append(_index_part(index, "index" in made))
    parts.append(await _time_to_live(ask, found is not None, create=create and sound))
    if found is not None:
        parts.append(_region_part(found))
    return parts


async def _describe(ask: Ask) -> dict[str, Any] | None:
    try:
        described: dict[str, Any] = (await ask("describe_table"))["Table"]
    except TableMissing:
        return None
    return described


async def _until_active(ask: Ask) -> dict[str, Any]:
    ends_at = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found = await _describe(ask)
        if found is not None and _is_active(found):
            return found
        if time.monotonic() > ends_at:
            raise StoreUnavailable("DynamoDB still works on the table: look again later")
        await _colour.pause(_LOOK_AGAIN_SECONDS)


def _is_active(found: dict[str, Any]) -> bool:
    states = [found.get("TableStatus"), *(index.get("IndexStatus", "ACTIVE") for index in _indexes(found))]
    return all(state == "ACTIVE" for state in states)


def _indexes(found: dict[str, Any]) -> list[dict[str, Any]]:
    return found.get("GlobalSecondaryIndexes") or []


def _index_of(found: dict[str, Any] | None) -> dict[str, Any] | None:
    return next((index for index in _indexes(found or {}) if index["IndexName"] == INDEX), None)


def _capacity(found: dict[str, Any]) -> dict[str, Any]:
    """What an index of a table with provisioned capacity must be given: as much. One on demand takes none."""
    units = found.get("ProvisionedThroughput") or {}
    wanted = {name: units.get(name, 0) for name in ("ReadCapacityUnits", "WriteCapacityUnits")}
    return {"ProvisionedThroughput": wanted} if all(wanted.values()) else {}


def _table_part(table: str, found: dict[str, Any] | None, made: bool) -> Part:
    name, detail = f"table {table}", "with the partition key id, a string, and no sort key"
    if found is None:
        return Part(name, "missing", detail)
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in found["AttributeDefinitions"]}
    if found["KeySchema"] != _KEY or types.get("id") != "S" or types.get("o", "S") != "S":
        return Part(name, "wrong", f"it has another key: it has to be {detail}")
    return Part(name, "made" if made else "there")


def _index_part(index: dict[str, Any] | None, made: bool) -> Part:
    name, detail = f"index {INDEX}", "of the owners' sessions: with the partition key o, keys only"
    if index is None:
        return Part(name, "missing", detail)
    if index["KeySchema"] != _INDEX["KeySchema"] or index["Projection"]["ProjectionType"] != "KEYS_ONLY":
        return Part(name, "wrong", f"it has to be {detail}, or every write is paid for twice")
    return Part(name, "made" if made else "there")


def _region_part(found: dict[str, Any]) -> Part:
    name, replicas = "one region", found.get("Replicas") or []
    # With strong consistency a change is judged in all regions together, and so is as good as in one.
    if not replicas or found.get("MultiRegionConsistency") == "STRONG":
        return Part(name, "there")
    regions = ", ".join(sorted(str(replica.get("RegionName", "unknown")) for replica in replicas))
    detail = f"a global table, with replicas in {regions}: of rival changes in two regions one is lost, "
    return Part(name, "wrong", f"{detail}so that all instances have to use the table of one region")


async def _time_to_live(ask: Ask, exists: bool, *, create: bool) -> Part:
    name, detail = "time to live", f"by the attribute {_TTL}, so that DynamoDB deletes what has expired"
    if not exists:
        return Part(name, "missing", detail)
    try:
        found = (await ask("describe_time_to_live"))["TimeToLiveDescription"]
        if found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
            if found.get("AttributeName") == _TTL:
                return Part(name, "there")
            return Part(name, "wrong", f"it is by {found.get('AttributeName')}: it has to be {detail}")
        if not create:
            return Part(name, "missing", detail)
        await ask("update_time_to_live", TimeToLiveSpecification={"Enabled": True, "AttributeName": _TTL})
    except StoreError as error:
        if "UnknownOperation" not in str(error):
            raise
        return Part(name, "wrong", "this endpoint has none: what has expired stays until somebody deletes it")
    return Part(name, "made", detail)


def as_code(form: str, table: str) -> str:
    """The table and a policy with the rights of an application, for CloudFormation or Terraform."""
    if form not in _FORMS:
        raise ConfigError(f"there is no {form} code for DynamoDB: the forms are {' and '.join(_FORMS)}")
    return _FORMS[form].replace("@TABLE@", table)


_CLOUDFORMATION = """\
AWSTemplateFormatVersion: "2010-09-09"
Description: Sessions of Holdfast in DynamoDB
Resources:
  Sessions:
    Type: AWS::DynamoDB::Table
    # Without the table every user is signed out: it outlives the stack.
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties:
      TableName: "@TABLE@"
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions:
        - AttributeName: id
          AttributeType: S
        - AttributeName: o
          AttributeType: S
      KeySchema:
        - AttributeName: id
          KeyType: HASH
      GlobalSecondaryIndexes:
        - IndexName: owners
          KeySchema:
            - AttributeName: o
              KeyType: HASH
          Projection:
            ProjectionType: KEYS_ONLY
      TimeToLiveSpecification:
        AttributeName: ttl
        Enabled: true
  SessionsPolicy:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      Description: What an application needs for its sessions at run time
      PolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Action:
              - dynamodb:GetItem
              - dynamodb:BatchGetItem
              - dynamodb:PutItem
              - dynamodb:UpdateItem
            Resource: !GetAtt Sessions.Arn
          - Effect: Allow
            Action: dynamodb:Query
            Resource: !Sub "${Sessions.Arn}/index/owners"
Outputs:
  PolicyArn:
    Description: Attach this to the role of the application
    Value: !Ref SessionsPolicy
"""

_TERRAFORM = """\
resource "aws_dynamodb_table" "sessions" {
  name         = "@TABLE@"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "id"

  attribute {
    name = "id"
    type = "S"
  }

  attribute {
    name = "o"
    type = "S"
  }

  global_secondary_index {
    name            = "owners"
    hash_key        = "o"
    projection_type = "KEYS_ONLY"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  lifecycle {
    # Without the table every user is signed out.
    prevent_destroy = true
  }
}

data "aws_iam_policy_document" "sessions" {
  statement {
    actions = [
      "dynamodb:GetItem",
      "dynamodb:BatchGetItem",
      "dynamodb:PutItem",
      "dynamodb:UpdateItem",
    ]
    resources = [aws_dynamodb_table.sessions.arn]
  }

  statement {
    actions   = ["dynamodb:Query"]
    resources = ["${aws_dynamodb_table.sessions.arn}/index/owners"]
  }
}

# Attach this to the role of the application. Terraform names it: an account has one list of names for all regions.
resource "aws_iam_policy" "sessions" {
  description = "What an application needs for its sessions in @TABLE@"
  policy      = data.aws_iam_policy_document.sessions.json
}
"""

_FORMS = {"cloudformation": _CLOUDFORMATION, "terraform": _TERRAFORM}
