"""What is watched over in every exchange with Cosmos DB: its time, its cost, and what a refusal means.

azure-cosmos tries a refused request again by itself, for up to half a minute. Its hooks for each raw request and
response are where that is kept within the time that a call has: they work on a client that was handed in, too.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any, NoReturn
from urllib.parse import urlsplit

from azure.cosmos.exceptions import CosmosHttpResponseError

from ..errors import SessionTooLarge, StoreError, StoreThrottled, StoreUnavailable

_MOVED_SECONDS = 1.0  # what azure-cosmos waits before it asks where writes go to now
_FAILED_SECONDS = 0.5  # and before it asks another region

# Sub-statuses of 403 by which the region says that it does not take writes any more.
_MOVED = ("3", "1008")

# A sub-status of 404: the replicas that were asked are behind what this client has seen.
_BEHIND = 1002


class Call:
    """One call to the store: when it has to be over (by `time.monotonic`), and what it has cost so far."""

    def __init__(self, ends_at: float, blocking: bool, probing: bool = False) -> None:
        self.charge = 0.0
        self._probing = probing
        self._ends_at = ends_at
        self._blocking = blocking

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return self._ends_at - time.monotonic()

    def limit(self, request: Any) -> None:
        """Give a request of a blocking client what time is left. Raises TimeoutError if that is none.

        A blocking request has no time limit as a whole: half of what is left is for connecting, half for the
        answer. An async one is given up by whoever awaits it.
        """
        if not self._blocking:
            return
        left = self.left
        if left <= 0:
            raise TimeoutError("Cosmos DB did not answer in time")
        request.context.options["connection_timeout"] = request.context.options["read_timeout"] = left / 2

    def examine(self, response: Any) -> None:
        """Count what a response has cost, and raise what need not, or must not, be tried again for."""
        headers, status = response.http_response.headers, response.http_response.status_code
        self.charge += float(headers.get("x-ms-request-charge", 0))
        if status < 400:
            return
        left = self.left if self._blocking else float("inf")
        moved = status == 403 and headers.get("x-ms-substatus") in _MOVED
        patience = _MOVED_SECONDS if moved else _FAILED_SECONDS if status == 408 or status >= 500 else 0.0
        path = urlsplit(response.http_request.url).path
        if status == 404 and "/docs" not in path and not self._probing:
            raise StoreError(
                f"Cosmos DB has no {path.strip('/') or 'such account'}: run `holdfast provision`"
            )
        if (status in (401, 403, 429) and not moved) or (patience and left < patience):
            refuse(status, response.http_response.text())


current: ContextVar[Call | None] = ContextVar("holdfast_cosmos_call", default=None)


def _before(request: Any) -> None:
    call = current.get()
    if call is not None:
        call.limit(request)


def _after(response: Any) -> None:
    call = current.get()
    if call is not None:
        call.examine(response)


# For every request of ours: the SDK's own repeats are off, but for what `Call.examine` lets through.
OPTIONS: dict[str, Any] = {
    "raw_request_hook": _before,
    "raw_response_hook": _after,
    "retry_total": 0,
    "retry_connect": 0,
    "retry_read": 0,
    "retry_status": 0,
}


def is_missing(error: CosmosHttpResponseError) -> bool:
    """Whether the error says that the document, and nothing else, is not there."""
    return error.status_code == 404 and not error.sub_status


def refuse(
    status: int, text: str, cause: Exception | None = None, *, sub_status: int | None = None
) -> NoReturn:
    """Raise what a refusal by Cosmos DB means. No text of its is passed on whole: it may name much."""
    if status == 429:
        raise StoreThrottled("Cosmos DB asks to slow down: its request units are used up") from cause
    if status in (408, 410) or status >= 500 or (status == 404 and sub_status == _BEHIND):
        raise StoreUnavailable(f"Cosmos DB is not available: status {status}") from cause
    if status == 413:
        raise SessionTooLarge(
            "the session does not fit into a document of Cosmos DB, which has 2 MB"
        ) from cause
    if status == 401 and "expire" in text.lower():
        raise StoreUnavailable("Cosmos DB says that the credentials have expired") from cause
    if status in (401, 403):
        raise StoreError(
            f"Cosmos DB refuses access, status {status}: check the key or the role assignment, the account's "
            "firewall, and this machine's clock"
        ) from cause
    raise StoreError(f"Cosmos DB refused a request: status {status}") from cause
