"""Sessions in Azure Cosmos DB for NoSQL, over azure-cosmos. Nearly everything is one request.

A session is one document, and the only one in its logical partition. A change is a patch that is applied if its
condition holds, in the order of `record.judge`; where a patch cannot express it, the document is replaced by etag.
Expiry by Cosmos DB is rubbish collection only: it comes a while after the record's own, which `Sessions` judges.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import cycle
from typing import Any

from azure.core import MatchConditions
from azure.cosmos.exceptions import CosmosHttpResponseError

from ..errors import ConfigError, Conflict, SessionGone, StoreError
from ..record import Change, Record, apply, judge
from . import Page, Part
from . import _cosmos_document as documents
from ._compare_and_set import settle
from ._cosmos_url import Settings
from ._cosmos_wire import Wire
from ._options import positive

_OF = "SELECT * FROM c WHERE c.o = @owner AND c.e = false"
_SCAN = "SELECT TOP {most:d} * FROM c WHERE c.id > @after ORDER BY c.id"
_COUNT = "SELECT VALUE COUNT(1) FROM c"

_READS = ("auto", "plain", "write")


class CosmosStore:
    """A store in the container of `container`, whose partition key has to be `/id`.

    `container` is an `azure.cosmos.ContainerProxy`, for sync callers (async ones are sent to a thread), or an
    `azure.cosmos.aio.ContainerProxy`, for async callers on its own event loop. Its client is for its owner to close.
    `CosmosStore.from_url` serves both kinds of callers, and any number of event loops one after the other.

    `timeout` is in seconds, for a call as a whole. `reads` says how `load` gets at the newest record: "plain", by a
    plain read, which an account has to make strong; "write", by a write that changes nothing; "auto", by the one
    that the account's consistency level asks for. `on_charge` is told the name of each call and the request units
    that it took; `charged` is their sum.

    Raises `ConfigError`; calls raise azure-core's errors, `SessionTooLarge`, and `StoreError` and its kinds.
    """

    unavailable = Wire.unavailable
    max_bytes = 1_400_000

    def __init__(
        self,
        container: Any,
        *,
        timeout: float = 2.0,
        reads: str = "auto",
        on_charge: Callable[[str, float], None] | None = None,
    ) -> None:
        if reads not in _READS:
            raise ConfigError(f"reads={reads!r}: write one of {', '.join(_READS)}")
        self._wire = Wire(container, timeout=positive(timeout, "timeout"), on_charge=on_charge)
        self._reads = reads
        self._settings = container if isinstance(container, Settings) else None
        self._container = container
        self.colours = self._wire.colours

    @classmethod
    def from_url(cls, url: str) -> CosmosStore:
        """The store for `cosmos://account/database/container`, or `cosmos://host:port/…`.

        Options: `key` (the environment's COSMOS_KEY if it is missing) or `credential=default` (Microsoft Entra ID),
        `timeout` (2), `reads` (`auto`), and for an emulator `insecure_http=true` and
        `endpoint_discovery=false`. Raises `ConfigError`. Nothing is connected before it is used.
        """
        settings = Settings.from_url(url)
        return cls(settings, timeout=settings.timeout, reads=settings.reads)

    @property
    def charged(self) -> float:
        """The request units that the calls of this store have taken."""
        return self._wire.charged

    async def create(self, key: str, record: Record) -> bool:
        with self._wire.call("create"):
            await self._check()
            try:
                await self._wire.ask("create_item", documents.document(key, record), no_response=True)
            except CosmosHttpResponseError as error:
                if error.status_code == 409:
                    return False
                raise
            return True

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        with self._wire.call("load"):
            await self._check()
            document = await self._read_weakly(key) if weak else await self._read(key)
            return None if document is None else documents.record(document)

    async def commit(self, key: str, change: Change) -> Record:
        with self._wire.call("commit"):
            await self._check()
            patch = documents.patch(change)
            if patch is not None:
                operations, condition = patch
                try:
                    return documents.record(await self._patch(key, operations, filter_predicate=condition))
                except CosmosHttpResponseError as error:
                    if error.status_code == 404:
                        raise SessionGone("the session has ended or expired") from error
            # The condition did not hold, which the newest record tells why, or no patch can be the change. Where
            # another is faster, or what was read was old, the next turn reads in the other way.
            turns = cycle((patch is not None, patch is None))
            return await settle(lambda: self._replace(key, change, surely=next(turns)))

    async def end(self, key: str, tombstone: Record) -> None:
        with self._wire.call("end"):
            await self._check()
            await self._wire.ask("upsert_item", documents.document(key, tombstone), no_response=True)

    async def of(self, owner: str) -> dict[str, Record]:
        with self._wire.call("of"):
            await self._check()
            found = await self._wire.query(_OF, owner=owner)
            return {document["id"]: documents.record(document) for document in found}

    async def scan(self, after: str | None, most: int) -> Page:
        with self._wire.call("scan"):
            await self._check()
            found = await self._wire.query(_SCAN.format(most=most), after=after or "")
            records = {document["id"]: documents.record(document) for document in found}
            return Page(records, found[-1]["id"] if len(found) >= most else None)

    async def count(self) -> int:
        with self._wire.call("count"):
            await self._check()
            told: dict[str, str] = {}
            await self._wire.ask(
                "read", populate_quota_info=True, response_hook=lambda headers, _: told.update(headers)
            )
            known = re.search(r"\bdocumentsCount=(\d+)", told.get("x-ms-resource-usage", ""))
            return int(known[1]) if known else sum(await self._wire.query(_COUNT))

    async def provision(self, *, create: bool) -> list[Part]:
        """What is missing of the database and the container is made, if the credentials may; the rest is checked."""
        from ..provision import cosmos

        _, database, container = self._names()
        return await cosmos.provision(self._wire, database, container, create=create)

    def as_code(self, form: str) -> str:
        """The same as `bicep` or `terraform`. Raises `ConfigError` for any other form."""
        from ..provision import cosmos

        return cosmos.as_code(form, *self._names())

    async def aclose(self) -> None:
        """Close the clients that the store has made itself, those of other event loops excepted."""
        await self._wire.aclose()

    def close(self) -> None:
        """Close the client that the store has made itself for sync callers."""
        self._wire.close()

    async def _check(self) -> None:
        """Refuse an account whose regions can each accept a change that the others do not know."""
        if (await self._wire.account()).writable_regions > 1:
            raise StoreError(
                "the Cosmos DB account takes writes in several regions, so that changes and endings would be lost: "
                "turn off multi-region writes"
            )

    async def _read(self, key: str) -> dict[str, Any] | None:
        """The document as it is after every write that has been acknowledged."""
        account = await self._wire.account()
        if self._reads == "plain" or (self._reads == "auto" and account.reads_are_strong):
            return await self._found("read_item", key, key)
        return await self._found("patch_item", key, key, documents.TOUCH, no_response=False)

    async def _read_weakly(self, key: str) -> dict[str, Any] | None:
        """The document as some replica has it, for the least that a read can cost."""
        return await self._found("read_item", key, key, request_options={"consistencyLevel": "Eventual"})

    async def _found(self, method: str, *arguments: Any, **options: Any) -> dict[str, Any] | None:
        try:
            document: dict[str, Any] = await self._wire.ask(method, *arguments, **options)
        except CosmosHttpResponseError as error:
            if error.status_code == 404:
                return None
            raise
        return document

    async def _patch(self, key: str, operations: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        document: dict[str, Any] = await self._wire.ask(
            "patch_item", key, key, operations, no_response=False, **options
        )
        return document

    async def _replace(self, key: str, change: Change, *, surely: bool) -> Record | None:
        """The record after the change, by way of the whole document; None if another was faster.

        An old document does no harm to a change that it lets pass, for its etag is old too. But what speaks against
        the change has to be read `surely`.
        """
        document = await (self._read(key) if surely else self._read_weakly(key))
        stored = None if document is None else documents.record(document)
        try:
            applied = judge(stored, change)
        except (SessionGone, Conflict):
            if surely:
                raise
            return await self._replace(key, change, surely=True)
        if applied is not None:
            return applied
        assert document is not None and stored is not None  # noqa: S101, PT018 - judge has raised otherwise
        result = apply(stored, change)
        try:
            await self._wire.ask(
                "replace_item",
                key,
                documents.changed(key, result, change, document),
                etag=document["_etag"],
                match_condition=MatchConditions.IfNotModified,
                no_response=True,
            )
        except CosmosHttpResponseError as error:
            if error.status_code in (404, 412):
                return None
            raise
        return result

    def _names(self) -> tuple[str, str, str]:
        """The names of the account, the database and the container."""
        if self._settings is not None:
            return self._settings.account, self._settings.database, self._settings.container
        _, database, _, container = self._container.container_link.split("/")
        account = self._container.client_connection.url_connection.split("//")[-1].split(".")[0].split(":")[0]
        return account, database, container
