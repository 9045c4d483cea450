"""How a `FirestoreStore`'s requests reach Firestore, in either colour, each within its time.

Requests go through the generated client that Google's own rests upon: that says what transforms have made of a field,
and `retry=None` there means that nothing is sent twice. Only a read whose connection was lost is tried again.
"""

from __future__ import annotations

import re
import time
from typing import Any

from google.api_core import exceptions
from google.cloud.firestore import AsyncClient, Client
from google.cloud.firestore_v1 import types

from .. import deadline
from ..errors import ConfigError, SessionTooLarge, StoreError, StoreThrottled, StoreUnavailable
from ._firestore_clients import Api, Clients
from ._firestore_url import Settings

# What Firestore says of a document, a value, a name or a request that is too large; its code is that of any mistake.
_TOO_LARGE = r"(?i)exceed|longer than|too large|too many|maximum"


class Call:
    """The requests of one call of the store's, all within one time limit. Errors are google.api_core's or ours."""

    def __init__(self, api: Api, ends_at: float) -> None:
        self._api = api
        self._ends_at = ends_at
        self._contended = False
        self.root = f"{api.database}/documents"

    async def read(self, name: str, at: Any = None) -> Any | None:
        """The document, or None if there is none; as it was `at` a time, if that is given."""
        request = types.BatchGetDocumentsRequest.pb()(
            database=self._api.database, documents=[name], read_time=at
        )
        try:
            answers = await self._ask("batch_get_documents", types.BatchGetDocumentsRequest.wrap(request))
        except exceptions.ServiceUnavailable:
            # Most often a connection that was lost while nobody looked, as in an instance that was frozen.
            answers = await self._ask("batch_get_documents", types.BatchGetDocumentsRequest.wrap(request))
        for answer in answers:
            message = types.BatchGetDocumentsResponse.pb(answer)
            if message.HasField("found"):
                return message.found
        return None

    async def commit(self, *writes: Any) -> Any:
        """Carry out all of the writes, or none and raise."""
        request = types.CommitRequest.pb()(database=self._api.database, writes=writes)
        try:
            return types.CommitResponse.pb(await self._ask("commit", types.CommitRequest.wrap(request)))
        except exceptions.Aborted:
            self._contended = True
            raise
        except exceptions.InvalidArgument as error:
            if re.search(_TOO_LARGE, error.message):
                raise SessionTooLarge(f"Firestore takes no session of this size: {error.message}") from error
            raise

    async def query(self, query: Any) -> list[Any]:
        """The documents that a query over a collection finds."""
        request = types.RunQueryRequest.pb()(parent=self.root, structured_query=query)
        answers = await self._ask("run_query", types.RunQueryRequest.wrap(request))
        messages = map(types.RunQueryResponse.pb, answers)
        return [message.document for message in messages if message.HasField("document")]

    async def count(self, query: Any) -> int:
        """How many documents a query over a collection finds."""
        counting = types.StructuredAggregationQuery.pb()(structured_query=query)
        counting.aggregations.add(alias="n").count.SetInParent()
        request = types.RunAggregationQueryRequest.pb()(
            parent=self.root, structured_aggregation_query=counting
        )
        (answer,) = await self._ask("run_aggregation_query", types.RunAggregationQueryRequest.wrap(request))
        number: int = types.RunAggregationQueryResponse.pb(answer).result.aggregate_fields["n"].integer_value
        return number

    async def _ask(self, method: str, request: Any) -> Any:
        seconds = self._ends_at - time.monotonic()
        if seconds <= 0:
            error = StoreThrottled if self._contended else TimeoutError
            raise error("Firestore did not settle it in time")
        send = getattr(self._api.client, method)
        streams = method != "commit"
        try:
            answer = send(request=request, retry=None, timeout=seconds, metadata=self._api.metadata)
            if not self._api.awaited:
                return list(answer) if streams else answer
            answer = await answer
            return [part async for part in answer] if streams else answer
        except exceptions.Unauthenticated as error:
            raise StoreUnavailable(
                f"Google refuses the credentials, which may have expired: {error.message}"
            ) from error
        except exceptions.PermissionDenied as error:
            raise StoreError(
                "Firestore refuses what the application needs to do: docs/stores/firestore.md says which permissions "
                f"that takes ({error.message})"
            ) from error
        except exceptions.NotFound as error:
            if method == "commit":
                raise  # a document that was to be there
            raise StoreError(f"Firestore does not know the database: {error.message}") from error


class Wire:
    """The way to Firestore for sync callers, for async ones, or for both; `colours` says for whom."""

    def __init__(self, client: Client | AsyncClient | Settings, timeout: float) -> None:
        """Over a ready client, or over clients of its own, as the settings say.

        Raises `ConfigError` for a client of another kind.
        """
        self.timeout = timeout
        self._own: Clients | None = None
        self._ready: Any = None
        if isinstance(client, Settings):
            self.database = client.path
            self.colours = frozenset({"sync", "async"})
            self._own = Clients(client)
        elif isinstance(client, Client | AsyncClient):
            self.colours = frozenset({"async" if isinstance(client, AsyncClient) else "sync"})
            self.database = client._database_string
            self._ready = client
        else:
            kind = f"{type(client).__module__}.{type(client).__qualname__}"
            raise ConfigError(
                f"FirestoreStore takes a google.cloud.firestore Client or AsyncClient, not a {kind}"
            )

    async def begin(self) -> Call:
        """A call that has the store's time limit from now on, or what the platform leaves of it."""
        seconds = deadline.limit(self.timeout)
        ends_at = time.monotonic() + seconds
        return Call(await self.api(seconds), ends_at)

    async def api(self, seconds: float) -> Api:
        """The generated client for the caller, who waits for credentials for so many seconds at most."""
        if self._own is not None:
            return await self._own.get(seconds)
        # Google's client has no other way to what it rests upon; it makes that at the first use.
        ready = self._ready
        awaited = "async" in self.colours
        return Api(ready._firestore_api, awaited, ready._database_string, ready._rpc_metadata)

    async def aclose(self) -> None:
        """Close clients of its own: the running loop's, if it is awaited, and the one for sync callers."""
        if self._own is not None:
            await self._own.aclose()

    def close(self) -> None:
        """Close the client of its own for sync callers."""
        if self._own is not None:
            self._own.close()
