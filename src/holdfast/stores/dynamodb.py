"""Sessions in a DynamoDB table, over botocore (boto3) or aiobotocore.

Loading is one `GetItem`. A commit is one `UpdateItem`, which changes only the changed values, under the conditions
of `record.judge`. DynamoDB's time to live is rubbish collection only: `Sessions` judges expiry.
"""

from __future__ import annotations

import random
import time
from typing import Any
from urllib.parse import quote, unquote

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .. import _colour, deadline
from ..errors import StoreThrottled
from ..record import Change, Record, apply, judge
from . import Page, Part
from . import _dynamodb_items as items
from ._compare_and_set import settle
from ._dynamodb_clients import Clients, OwnClients, ReadyClient
from ._dynamodb_errors import CONNECTION_LOST, UNAVAILABLE, Refused, explained, translated
from ._dynamodb_url import Settings, config, table_name
from ._options import positive

# The index of owners, which holds the keys of the table and nothing else.
INDEX = "owners"

# So many items BatchGetItem takes.
_BATCH = 100

# What was throttled has not been done. It is tried again after a pause, while the call has time.
_TRIES = 4
_FIRST_PAUSE_SECONDS = 0.025


class DynamoDBStore:
    """A store in the DynamoDB table of that name.

    `client` is a client of boto3 or botocore, for sync callers (async ones are sent to a thread), or one of
    aiobotocore, for async callers on its own event loop. It is for its owner to close. `timeout` is how many
    seconds a call may take. A blocking client has time limits of its own, so it must be made with
    `DynamoDBStore.config(timeout)` or like it.

    `DynamoDBStore.from_url` serves both kinds of callers if aiobotocore is installed, and any number of event
    loops one after the other; otherwise sync ones, like a blocking client.

    Raises `ConfigError` for a client that cannot be used. Calls raise `StoreThrottled`, `StoreUnavailable`,
    `SessionTooLarge`, and `StoreError` for what else DynamoDB refuses, each with botocore's error as its cause;
    botocore's own errors where no connection was to be had; and TimeoutError.
    """

    unavailable = UNAVAILABLE
    # 16 KB less than an item may have: for names, a byte and another of DynamoDB's each, and for what is not a value.
    max_bytes = 384 * 1024

    def __init__(self, client: Any, table: str, *, timeout: float = 2.0) -> None:
        self._timeout = positive(timeout, "timeout")
        self._table = table_name(table)
        own = isinstance(client, Settings)
        self._clients: Clients = OwnClients(client) if own else ReadyClient(client, timeout)
        self.colours = self._clients.colours

    @classmethod
    def from_url(cls, url: str) -> DynamoDBStore:
        """The store for `dynamodb://table`.

        Options: `region` (else that of the environment or the profile), `endpoint` (of an emulator, or a VPC
        endpoint), `profile` (of the AWS configuration), `timeout` (seconds that a call takes at most, 2) and
        `connections` (kept open for an event loop or for sync callers, 64). Raises `ConfigError`. Nothing is
        connected, and no credentials are looked for, before it is used.
        """
        settings = Settings.from_url(url)
        return cls(settings, settings.table, timeout=settings.timeout)

    @staticmethod
    def config(timeout: float = 2.0) -> Config:
        """The configuration for a blocking client: calls end within `timeout` seconds, and are not sent again."""
        return config(positive(timeout, "timeout"))

    async def create(self, key: str, record: Record) -> bool:
        ends_at = self._ends_at()
        item = items.item_of(key, record, record.created_at)
        try:
            await self._ask("put_item", ends_at, Item=item, ConditionExpression=items.IS_FREE)
        except Refused:
            return False
        return True

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        return await self._find(key, self._ends_at(), strong=not weak)

    async def commit(self, key: str, change: Change) -> Record:
        ends_at = self._ends_at()
        update = items.update_of(change)
        if update is None:
            return await settle(lambda: self._replace(key, change, ends_at))
        return await settle(lambda: self._update(key, change, update, ends_at))

    async def end(self, key: str, tombstone: Record) -> None:
        item = items.item_of(key, tombstone, tombstone.created_at)
        await self._ask("put_item", self._ends_at(), Item=item)

    async def of(self, owner: str) -> dict[str, Record]:
        ends_at = self._ends_at()
        found: dict[str, Record] = {}
        query: dict[str, Any] = {
            "IndexName": INDEX,
            "KeyConditionExpression": "o = :o",
            "ExpressionAttributeValues": {":o": {"S": items.owner_key(owner)}},
        }
        while True:
            answer = await self._ask("query", ends_at, reads=True, **query)
            keys = [{"id": entry["id"]} for entry in answer["Items"]]
            for first in range(0, len(keys), _BATCH):
                found |= await self._find_all(keys[first : first + _BATCH], ends_at)
            if not answer.get("LastEvaluatedKey"):
                # The index may be behind the table: what it shows is judged by the table.
                return {
                    key: record for key, record in found.items() if record.owner == owner and not record.ended
                }
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    async def scan(self, after: str | None, most: int) -> Page:
        place = {} if after is None else {"ExclusiveStartKey": {"id": {"S": unquote(after)}}}
        # Strongly consistent, for otherwise it may leave out what has been there for a moment only.
        answer = await self._ask(
            "scan", self._ends_at(), reads=True, Limit=max(most, 1), ConsistentRead=True, **place
        )
        records = {item["id"]["S"]: items.record_of(item) for item in answer["Items"]}
        last = answer.get("LastEvaluatedKey")
        return Page(records, quote(last["id"]["S"], safe="") if last else None)

    async def count(self) -> int:
        """About how many records there are; DynamoDB counts them every six hours."""
        answer = await self._ask("describe_table", self._ends_at(), reads=True)
        return int(answer["Table"].get("ItemCount", 0))

    async def provision(self, *, create: bool) -> list[Part]:
        from ..provision import dynamodb

        return await dynamodb.provision(self._ask_of_table, self._table, create=create)

    def as_code(self, form: str) -> str:
        from ..provision import dynamodb

        return dynamodb.as_code(form, self._table)

    async def aclose(self) -> None:
        """Close the connections that the store has made itself, those of other event loops excepted."""
        await self._clients.aclose()

    def close(self) -> None:
        """Close the connections that the store has made itself for sync callers."""
        self._clients.close()

    async def _find(self, key: str, ends_at: float, *, strong: bool = True) -> Record | None:
        answer = await self._ask(
            "get_item", ends_at, reads=True, Key={"id": {"S": key}}, ConsistentRead=strong
        )
        item = answer.get("Item")
        return items.record_of(item) if item else None

    async def _find_all(self, keys: list[dict[str, Any]], ends_at: float) -> dict[str, Record]:
        """The records under at most a hundred keys, those that are there. An answer may leave some for another."""
        found: dict[str, Record] = {}
        wanted: dict[str, Any] = {self._table: {"Keys": keys, "ConsistentRead": True}}
        while wanted:
            answer = await self._call("batch_get_item", {"RequestItems": wanted}, ends_at, reads=True)
            got = answer["Responses"].get(self._table, [])
            found |= {item["id"]["S"]: items.record_of(item) for item in got}
            wanted = answer.get("UnprocessedKeys") or {}
            if wanted and not got and not await _pause(0, ends_at):
                raise StoreThrottled("DynamoDB gives none of the sessions of an owner")
        return found

    async def _update(
        self, key: str, change: Change, update: dict[str, Any], ends_at: float
    ) -> Record | None:
        """The record after the change; None if it was refused, but would be taken by now."""
        try:
            answer = await self._ask(
                "update_item",
                ends_at,
                Key={"id": {"S": key}},
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **update,
            )
        except Refused as refusal:
            # Some say what they have, which is free; of the others it has to be asked.
            stored = items.record_of(refusal.item) if refusal.item else await self._find(key, ends_at)
            return judge(stored, change)
        return items.record_of(answer["Attributes"])

    async def _replace(self, key: str, change: Change, ends_at: float) -> Record | None:
        """The same for a change with too many names for an expression; None if somebody else was faster."""
        stored = await self._find(key, ends_at)
        applied = judge(stored, change)
        if applied is not None:
            return applied
        assert stored is not None  # noqa: S101 - judge has raised otherwise; for the type checker
        changed = apply(stored, change)
        try:
            await self._ask(
                "put_item",
                ends_at,
                Item=items.item_of(key, changed, change.now),
                ConditionExpression=items.IS_SAME,
                ExpressionAttributeValues=items.identity_of(stored),
            )
        except Refused:
            return None
        return changed

    def _ends_at(self) -> float:
        return time.monotonic() + deadline.limit(self._timeout)

    async def _ask_of_table(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return await self._ask(operation, self._ends_at(), **arguments)

    async def _ask(
        self, operation: str, ends_at: float, *, reads: bool = False, **arguments: Any
    ) -> dict[str, Any]:
        return await self._call(operation, {"TableName": self._table, **arguments}, ends_at, reads=reads)

    async def _call(
        self, operation: str, arguments: dict[str, Any], ends_at: float, *, reads: bool = False
    ) -> dict[str, Any]:
        """DynamoDB's answer. Only what was certainly not done, or only reads, is tried again."""
        tries, lost = 0, False
        while True:
            try:
                return await self._clients.call(operation, arguments, ends_at)
            except ClientError as error:
                meant = translated(error, self._table)
                tries += 1
                if not isinstance(meant, StoreThrottled) or tries == _TRIES:
                    raise meant from error
            except BotoCoreError as error:
                has_time = time.monotonic() + self._clients.longest < ends_at
                if reads and not lost and isinstance(error, CONNECTION_LOST) and has_time:
                    # A connection that was left open for long may have been closed at the other end.
                    lost = True
                    continue
                meant = explained(error)
                if meant is error:
                    raise
                raise meant from error
            if not await _pause(tries, ends_at):
                raise meant


async def _pause(tries: int, ends_at: float) -> bool:
    """Wait for longer after each try; False, without waiting, if the call has no time for it."""
    longest = _FIRST_PAUSE_SECONDS * 2**tries
    if time.monotonic() + longest >= ends_at:
        return False
    await _colour.pause(random.uniform(longest / 2, longest))  # noqa: S311 - keeps rivals apart, guards nothing
    return True
