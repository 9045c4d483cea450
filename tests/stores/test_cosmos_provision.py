"""What `holdfast provision` makes and checks on Cosmos DB, and what it prints as code."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any

import hcl2
import pytest
from azure.cosmos import PartitionKey
from azure.cosmos.aio import CosmosClient as AsyncCosmosClient
from records import new_change, new_key, new_record

from holdfast._colour import run
from holdfast.errors import ConfigError, StoreError
from holdfast.stores import Part, Provisions
from holdfast.stores.cosmos import CosmosStore
from servers.cosmos import DATABASE, KEY, CosmosServer

Driver = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Any:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


def states(parts: list[Part]) -> dict[str, str]:
    """The state of each part by the first word of its name."""
    return {part.name.split()[0]: part.state for part in parts}


def test_what_is_missing_is_told_then_made_then_there(cosmos_server: CosmosServer, drive: Driver) -> None:
    """A check makes nothing; what is made then works, and making it again finds it there."""
    store = CosmosStore.from_url(cosmos_server.container_url("logins", "shop"))
    assert isinstance(store, Provisions)
    missing = {"account": "there", "database": "missing", "container": "missing"}
    for _ in range(2):
        assert states(drive(store.provision(create=False))) == missing
    made = {"account": "there", "database": "made", "container": "made"}
    assert states(drive(store.provision(create=True))) == made
    there = dict.fromkeys(("account", "database", "container", "partition", "time", "index"), "there")
    for create in (True, False):
        parts = drive(store.provision(create=create))
        assert states(parts) == there
        assert [part for part in parts if part.detail and not part.name.startswith("account")] == [
            part for part in parts if part.name in ("partition key", "time to live")
        ]
    key = new_key()
    drive(store.create(key, new_record(owner="ann")))
    assert drive(store.commit(key, new_change())).version == 2
    assert list(drive(store.of("ann"))) == [key]


def test_a_container_is_made_in_a_database_that_is_there(cosmos_account: CosmosServer, drive: Driver) -> None:
    """Only what is missing is made."""
    store = CosmosStore.from_url(cosmos_account.container_url(new_key()))
    parts = states(drive(store.provision(create=True)))
    assert parts == {"account": "there", "database": "there", "container": "made"}


def test_what_is_wrong_is_told_and_left(cosmos_account: CosmosServer, drive: Driver) -> None:
    """Settings that do not fit are named, and not changed."""
    name = new_key()
    with cosmos_account.client() as client:
        excluded = {"includedPaths": [], "excludedPaths": [{"path": "/*"}]}
        database = client.get_database_client(DATABASE)
        container = database.create_container(name, PartitionKey("/user"), indexing_policy=excluded)
        store = CosmosStore.from_url(cosmos_account.container_url(name))
        before = container.read()
        for create in (False, True):
            parts = drive(store.provision(create=create))
            assert states(parts) == {
                "account": "there",
                "database": "there",
                "container": "there",
                "partition": "wrong",
                "time": "wrong",
                "index": "wrong",
            }
            assert all(part.detail for part in parts if part.state == "wrong")
        assert container.read() == before


def test_an_index_of_everything_is_dear_but_not_wrong(cosmos_account: CosmosServer) -> None:
    """Cosmos DB's default policy serves, and the part says what it costs."""
    name = new_key()
    with cosmos_account.client() as client:
        everything = {"includedPaths": [{"path": "/*"}], "excludedPaths": [{"path": '/"_etag"/?'}]}
        client.get_database_client(DATABASE).create_container(
            name, PartitionKey("/id"), indexing_policy=everything, default_ttl=3600
        )
    parts = run(CosmosStore.from_url(cosmos_account.container_url(name)).provision(create=False))
    assert states(parts)["index"] == "there"
    assert "fewer RU" in parts[-1].detail
    assert states(parts)["time"] == "there"


@pytest.mark.parametrize(
    ("level", "regions", "detail"),
    [
        ("Strong", 3, ""),
        ("BoundedStaleness", 1, ""),
        ("BoundedStaleness", 2, "loading takes a write"),
        ("Session", 1, "loading takes a write"),
    ],
)
def test_the_account_is_told_as_it_is(
    cosmos_account: CosmosServer, drive: Driver, level: str, regions: int, detail: str
) -> None:
    """The check names the consistency level, and says where loading is dear."""
    cosmos_account.set(level=level, regions=regions)
    account = drive(CosmosStore.from_url(cosmos_account.url).provision(create=False))[0]
    assert account.name == f"account with {level} consistency"
    assert account.state == "there"
    assert account.detail.startswith(detail)
    assert bool(account.detail) == bool(detail)


def test_an_account_that_cannot_be_used_is_wrong(cosmos_account: CosmosServer, drive: Driver) -> None:
    """Writes in several regions are told as wrong, with what to do."""
    cosmos_account.set(multiple=True, regions=2)
    account = drive(CosmosStore.from_url(cosmos_account.url).provision(create=False))[0]
    assert (account.state, "turn off multi-region writes" in account.detail) == ("wrong", True)


def test_rights_that_do_not_reach(cosmos_account: CosmosServer, drive: Driver) -> None:
    """An application's own role cannot make anything: that is an error that says so."""
    store = CosmosStore.from_url(cosmos_account.container_url(new_key()))
    cosmos_account.set(refuse={"status": 403, "times": 1, "method": "POST", "everywhere": True})
    with pytest.raises(StoreError, match="role assignment"):
        drive(store.provision(create=True))


def test_a_ready_container_can_be_provisioned(cosmos_account: CosmosServer) -> None:
    """A store on a ready container, blocking or not, makes and names what that stands for."""
    with cosmos_account.client() as client:
        store = CosmosStore(client.get_database_client("a").get_container_client(new_key()))
        assert states(run(store.provision(create=True)))["container"] == "made"
        assert "name: 'a'" in store.as_code("bicep")

    async def scenario() -> None:
        async with AsyncCosmosClient(cosmos_account.endpoint, KEY, enable_endpoint_discovery=False) as client:
            store = CosmosStore(client.get_database_client("a").get_container_client(new_key()))
            assert states(await store.provision(create=True))["container"] == "made"

    asyncio.run(scenario())


ACTIONS = {
    "Microsoft.DocumentDB/databaseAccounts/readMetadata",
    *(
        f"Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/{action}"
        for action in ("items/create", "items/read", "items/replace", "items/upsert", "executeQuery")
    ),
}
STORE = CosmosStore.from_url("cosmos://acme/web/sessions?key=secret-key")


def test_terraform() -> None:
    """It parses, and says the same as what is made, with a role for data alone."""
    text = STORE.as_code("terraform")
    parsed = hcl2.loads(text)
    resources = {
        kind.strip('"'): body
        for entry in parsed["resource"]
        for kind, named in entry.items()
        for body in named.values()
    }
    container = resources["azurerm_cosmosdb_sql_container"]
    assert unquoted(container["name"]) == "sessions"
    assert [unquoted(path) for path in container["partition_key_paths"]] == ["/id"]
    assert str(container["default_ttl"]).strip("${}") == "-1"
    (policy,) = container["indexing_policy"]
    assert [unquoted(entry["path"]) for entry in policy["included_path"]] == ["/id/?", "/o/?"]
    assert [unquoted(entry["path"]) for entry in policy["excluded_path"]] == ["/*"]
    assert unquoted(resources["azurerm_cosmosdb_sql_database"]["name"]) == "web"
    (permissions,) = resources["azurerm_cosmosdb_sql_role_definition"]["permissions"]
    assert {unquoted(action) for action in permissions["data_actions"]} == ACTIONS
    assert "azurerm_cosmosdb_sql_role_assignment" in resources
    assert text == STORE.as_code("terraform")
    assert "secret" not in text


def test_bicep() -> None:
    """Its brackets and quotes are balanced, and it names the same parts and rights."""
    text = STORE.as_code("bicep")
    code = re.sub(r"//.*", "", text)
    assert code.count("'") % 2 == 0
    bare = re.sub(r"'[^']*'", "''", code)
    depth = 0
    for sign in bare:
        depth += (sign in "{[(") - (sign in "}])")
        assert depth >= 0
    assert depth == 0
    kinds = re.findall(r"resource \w+ '([^@]+)@([\d-]+)'", text)
    assert [kind.removeprefix("Microsoft.DocumentDB/databaseAccounts") for kind, _ in kinds] == [
        "",
        "/sqlDatabases",
        "/sqlDatabases/containers",
        "/sqlRoleDefinitions",
        "/sqlRoleAssignments",
    ]
    assert set(re.findall(r"^ +'(Microsoft\S+)'$", text, re.MULTILINE)) == ACTIONS
    for line in (
        "param accountName string = 'acme'",
        "id: 'sessions'",
        "id: 'web'",
        "defaultTtl: -1",
        "'/id'",
    ):
        assert line in text
    assert "secret" not in text


def test_names_are_quoted() -> None:
    """A name is never taken for code."""
    store = CosmosStore.from_url("cosmos://acme/a'b/c$%7Bd%7D?key=k")
    assert "id: 'a\\'b'" in store.as_code("bicep")
    assert "id: 'c\\${d}'" in store.as_code("bicep")
    assert 'name                  = "c$${d}"' in store.as_code("terraform")


def test_other_forms_are_refused() -> None:
    """An error names the forms that there are."""
    with pytest.raises(ConfigError, match="bicep or terraform"):
        STORE.as_code("cloudformation")


def unquoted(text: str) -> str:
    """A string as it is meant, which some versions of the parser give with its quotes."""
    return text.strip('"')
