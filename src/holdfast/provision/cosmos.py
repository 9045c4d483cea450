"""What a `CosmosStore` needs of Cosmos DB: the database, the container with its settings, and an account that fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from azure.cosmos.exceptions import CosmosHttpResponseError

from ..errors import ConfigError
from ..stores import Part
from ..stores._cosmos_call import OPTIONS
from ..stores._cosmos_wire import Account, Wire
from ._cosmos_code import bicep, terraform

# To make a container takes some seconds.
_SECONDS = 60.0

# What is asked for is the owner, and the id by which pages are ordered. The rest is never searched for.
_INDEXED, _NOT_INDEXED = ("/id/?", "/o/?"), "/*"
_INDEXING = {
    "indexingMode": "consistent",
    "automatic": True,
    "includedPaths": [{"path": path} for path in _INDEXED],
    "excludedPaths": [{"path": _NOT_INDEXED}],
}

_FORMS: dict[str, Callable[[str, str, str], str]] = {"bicep": bicep, "terraform": terraform}


async def provision(wire: Wire, database: str, container: str, *, create: bool) -> list[Part]:
    """The parts and their states; with `create` the database and the container are made if they are missing."""
    with wire.call("provision", seconds=_SECONDS, probing=True):
        parts = [_account(await wire.account())]
        link = f"dbs/{database}"
        there = await _is_there(wire, lambda connection: connection.ReadDatabase(link, **OPTIONS))
        if there is None and create:
            await wire.work(
                lambda c: c.client_connection.CreateDatabase({"id": database}, **OPTIONS), opening=True
            )
        parts.append(_part(f"database {database}", there is not None, create))
        settings = await _is_there(
            wire, lambda connection: connection.ReadContainer(f"{link}/colls/{container}", **OPTIONS)
        )
        if settings is None and create:
            wanted = {
                "id": container,
                "partitionKey": {"paths": ["/id"], "kind": "Hash", "version": 2},
                "defaultTtl": -1,
                "indexingPolicy": _INDEXING,
            }
            await wire.work(
                lambda c: c.client_connection.CreateContainer(link, wanted, **OPTIONS), opening=True
            )
        parts.append(_part(f"container {container}", settings is not None, create))
    if settings is not None:
        parts += [_partition_key(settings), _time_to_live(settings), _indexing(settings)]
    return parts


def as_code(form: str, account: str, database: str, container: str) -> str:
    """The code. Raises `ConfigError` for a form that there is not."""
    if form not in _FORMS:
        raise ConfigError(f"Cosmos DB's parts can be printed as {' or '.join(_FORMS)}, not as {form!r}")
    return _FORMS[form](account, database, container)


async def _is_there(wire: Wire, read: Callable[[Any], Any]) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = await wire.work(lambda c: read(c.client_connection), opening=True)
    except CosmosHttpResponseError as error:
        if error.status_code == 404:
            return None
        raise
    return found


def _part(name: str, is_there: bool, create: bool) -> Part:
    return Part(name, "there" if is_there else "made" if create else "missing")


def _account(account: Account) -> Part:
    name = f"account with {account.level} consistency"
    if account.writable_regions > 1:
        return Part(name, "wrong", "it takes writes in several regions: turn off multi-region writes")
    if account.reads_are_strong:
        return Part(name, "there")
    return Part(
        name,
        "there",
        "loading takes a write here: set it to Strong, or with one region to BoundedStaleness, to load for 2 RU",
    )


def _partition_key(settings: dict[str, Any]) -> Part:
    paths = settings.get("partitionKey", {}).get("paths")
    return Part("partition key", "there" if paths == ["/id"] else "wrong", "/id")


def _time_to_live(settings: dict[str, Any]) -> Part:
    state = "there" if settings.get("defaultTtl") is not None else "wrong"
    return Part("time to live", state, "on, with no default (-1)")  # type: ignore[arg-type]  # both are states


def _indexing(settings: dict[str, Any]) -> Part:
    policy = settings.get("indexingPolicy") or {}
    included = {entry["path"] for entry in policy.get("includedPaths") or ()}
    excluded = {entry["path"] for entry in policy.get("excludedPaths") or ()}
    indexed = policy.get("indexingMode", "consistent") == "consistent" and set(_INDEXED) <= included
    if indexed and _NOT_INDEXED in excluded:
        return Part("index", "there")
    wanted = f"consistent, of {' and '.join(_INDEXED)} alone"
    everything = "/*" in included and "/*" not in excluded
    return Part(
        "index",
        "there" if everything else "wrong",
        f"{wanted}: writes would take fewer RU" if everything else wanted,
    )
