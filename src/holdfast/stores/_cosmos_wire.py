"""How a `CosmosStore`'s requests reach Cosmos DB, in either colour, and what is known of the account."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any, NamedTuple

from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.cosmos import ContainerProxy
from azure.cosmos.exceptions import CosmosClientTimeoutError, CosmosHttpResponseError

from .. import _colour, deadline
from ..errors import ConfigError
from ._compare_and_set import settle
from ._cosmos_call import OPTIONS, Call, current, is_missing, refuse
from ._cosmos_loop import LoopClient
from ._cosmos_url import Settings

# Another write of the same document is under way. The refused one was not done, and azure-cosmos leaves it at that.
_BUSY = 449

# Statuses that are judged here: a document is there already, is not what it has to be, or is being written.
_ANSWERS = (409, 412, _BUSY)


class Account(NamedTuple):
    """What the account, as this client sees it, promises of reads."""

    level: str
    regions: int = 1
    writable_regions: int = 1

    @property
    def reads_are_strong(self) -> bool:
        """Whether a plain read gives what was written last, by whomever.

        With bounded staleness that is so where it is written: there a read asks two of the four replicas, of which
        a write has reached three. With more regions than one, a read may be sent to where it was not written.
        """
        return self.level == "Strong" or (self.level == "BoundedStaleness" and self.regions == 1)


class Wire:
    """The way to one container: for sync callers, for async ones, or for both. `colours` says for whom.

    Calls raise azure-core's own errors where a server did not answer, and Holdfast's where it refused.
    """

    unavailable = (ServiceRequestError, ServiceResponseError, CosmosClientTimeoutError)

    def __init__(
        self, client: Any, *, timeout: float, on_charge: Callable[[str, float], None] | None
    ) -> None:
        """Over a ready container, or over clients of its own, as the settings say. Raises `ConfigError`."""
        self._timeout = timeout
        self._on_charge = on_charge
        self._settings = client if isinstance(client, Settings) else None
        self._ready: Any = None
        self._blocking: Any = None
        self._credential: Any = None
        self._owner_pid = os.getpid()
        self._lock = Lock()
        self._loops: _colour.PerLoop[LoopClient] | None = None
        self._account: Account | None = None
        self._heard: Any = None
        self.charged = 0.0
        if self._settings is not None:
            settings = self._settings
            self.colours = frozenset({"sync", "async"})
            self._loops = _colour.PerLoop(lambda: LoopClient(settings), LoopClient.abandon)
        elif isinstance(client, ContainerProxy):
            self.colours = frozenset({"sync"})
            self._ready = client
        elif (aio := sys.modules.get("azure.cosmos.aio")) is not None and isinstance(
            client, aio.ContainerProxy
        ):
            self.colours = frozenset({"async"})
            self._ready = client
        else:
            kind = f"{type(client).__module__}.{type(client).__qualname__}"
            raise ConfigError(
                f"CosmosStore takes an azure.cosmos or azure.cosmos.aio ContainerProxy, not a {kind}"
            )

    @contextmanager
    def call(self, name: str, *, seconds: float | None = None, probing: bool = False) -> Iterator[None]:
        """Everything within it is one call to the store, with one time limit and one charge.

        `probing` asks for what may not be there, so that a missing container is no error.
        """
        blocking = self._is_blocking()
        if not blocking:
            # Before the time is counted: on a small instance the first import takes much of what a call may take.
            import azure.cosmos.aio  # noqa: F401
        limit = deadline.limit(self._timeout) if seconds is None else seconds
        call = Call(time.monotonic() + limit, blocking, probing)
        mark = current.set(call)
        try:
            yield
        finally:
            with suppress(
                ValueError
            ):  # a call that nobody finished is cleared away from wherever that is done
                current.reset(mark)
            self.charged += call.charge
            if self._on_charge is not None:
                self._on_charge(name, call.charge)

    async def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What the method of the container returns. Raises CosmosHttpResponseError only for 404, 409 and 412.

        Cosmos DB does one write of a document at a time, and refuses those that come meanwhile: they are sent again.
        """

        async def attempt() -> tuple[Any] | None:
            try:
                return (
                    await self.work(
                        lambda container: getattr(container, method)(*arguments, **options, **OPTIONS)
                    ),
                )
            except CosmosHttpResponseError as error:
                if error.status_code == _BUSY:
                    return None
                raise

        return (await settle(attempt))[0]

    async def query(self, text: str, **parameters: Any) -> list[Any]:
        """All that a query finds, in every partition. `parameters` are those of the text, without the @."""
        listed = [{"name": f"@{name}", "value": value} for name, value in parameters.items()]

        def find(container: Any) -> Any:
            if not self._is_blocking():
                return _all(container.query_items(text, parameters=listed, **OPTIONS))
            found = container.query_items(
                text, parameters=listed, enable_cross_partition_query=True, **OPTIONS
            )
            return list(found)

        return await self.work(find)  # type: ignore[no-any-return]  # as `find` has it

    async def account(self) -> Account:
        """What is known of the account. Asked once."""
        if self._account is None:
            await self.work(lambda _: None if self._is_blocking() else _nothing(), opening=True)
        assert self._account is not None  # noqa: S101 - to open a client has set it; for the type checker
        return self._account

    async def work(self, work: Callable[[Any], Any], *, opening: bool = False) -> Any:
        """Do some work with the container, in the colour of the caller, within the running call.

        `opening` works on a container that may not be there yet.
        """
        call = current.get()
        assert call is not None  # noqa: S101 - every method of the store begins with one; for the type checker
        try:
            if self._is_blocking():
                return work(self._blocking_container(call, opening))
            async with asyncio.timeout(call.left):
                return await work(await self._async_container(opening))
        except CosmosHttpResponseError as error:
            if error.status_code in _ANSWERS or is_missing(error):
                raise
            status = error.status_code or 503  # without one, nobody has answered
            refuse(status, str(error.message), error, sub_status=error.sub_status)

    async def aclose(self) -> None:
        """Close clients of its own: the running loop's, if it is awaited, and the one for sync callers."""
        self.close()
        if self._loops is not None and not _colour.by_hand() and (client := self._loops.pop()) is not None:
            await client.aclose()

    def close(self) -> None:
        """Close the client of its own for sync callers."""
        if self._settings is not None and self._blocking is not None and self._owner_pid == os.getpid():
            client, credential = self._blocking, self._credential
            self._blocking = self._credential = None
            client.client_connection.pipeline_client.close()
            if credential is not None:
                credential.close()

    def _is_blocking(self) -> bool:
        return "async" not in self.colours or (_colour.by_hand() and self._settings is not None)

    def _blocking_container(self, call: Call, opening: bool) -> Any:
        if self._settings is None:
            container = self._ready
        else:
            if self._owner_pid != os.getpid():
                # Connections of the parent must not be used here, nor their locks.
                self._blocking, self._lock, self._owner_pid = None, Lock(), os.getpid()
            container = self._blocking
            if container is None:
                if not self._lock.acquire(timeout=call.left):
                    raise TimeoutError("Cosmos DB did not answer in time")
                try:
                    if self._blocking is None:
                        client, self._credential = self._settings.blocking_client()
                        self._blocking = self._container_of(client)
                    container = self._blocking
                finally:
                    self._lock.release()
        connection = container.client_connection
        if not self._learn(connection):
            self._learn(connection, connection.GetDatabaseAccount(**OPTIONS))
        if not opening and container.container_link not in connection._container_properties_cache:
            container.read(**OPTIONS)
        return container

    async def _async_container(self, opening: bool) -> Any:
        if self._loops is None:
            container = self._ready
        else:
            assert self._settings is not None  # noqa: S101 - for the type checker
            container = self._container_of(await self._loops.get().entered())
        connection = container.client_connection
        if not self._learn(connection):
            self._learn(connection, await connection.GetDatabaseAccount(**OPTIONS))
        if not opening and container.container_link not in connection._container_properties_cache:
            await container.read(**OPTIONS)
        return container

    def _learn(self, connection: Any, told: Any = None) -> bool:
        """Whether the account is known: as it was `told`, or as the client last heard, which asks now and then."""
        manager = getattr(connection, "_global_endpoint_manager", None)
        heard = told or getattr(manager, "_database_account_cache", None)
        if heard is not None and heard is not self._heard:
            self._account, self._heard = _seen(connection, heard), heard
        return self._account is not None

    def _container_of(self, client: Any) -> Any:
        assert self._settings is not None  # noqa: S101 - for the type checker
        return client.get_database_client(self._settings.database).get_container_client(
            self._settings.container
        )


async def _all(found: Any) -> list[dict[str, Any]]:
    return [item async for item in found]


async def _nothing() -> None:
    return None


def _seen(connection: Any, account: Any) -> Account:
    """The account as a client sees it, which may have chosen a weaker level for itself."""
    policy = account.ConsistencyPolicy or {}
    level = connection.default_headers.get("x-ms-consistency-level") or policy.get("defaultConsistencyLevel")
    several = account._EnableMultipleWritableLocations
    return Account(
        level or "Session",
        regions=max(len(account.ReadableLocations), 1),
        writable_regions=max(len(account.WritableLocations), 1) if several else 1,
    )
