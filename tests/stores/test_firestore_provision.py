"""What the store in Firestore needs of its database: checked, made, and printed as code."""

from __future__ import annotations

import asyncio
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import grpc
import hcl2
import pytest
from google.cloud import firestore
from google.cloud.firestore_admin_v1 import types
from google.cloud.firestore_admin_v1.services.firestore_admin import FirestoreAdminClient
from google.cloud.firestore_admin_v1.services.firestore_admin.transports import FirestoreAdminGrpcTransport
from records import new_change, new_key, new_record

from holdfast._colour import run
from holdfast.errors import ConfigError
from holdfast.stores import Provisions, Scans, from_url
from holdfast.stores.firestore import FirestoreStore
from servers.firestore import PROJECT, FirestoreServer
from servers.process import BUSY_SECONDS

Driver = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Driver:
    """Runs a call of the store by hand, or on an event loop."""
    return run if request.param == "sync" else asyncio.run


def states(parts: Any) -> set[str]:
    """The states that the parts are in."""
    return {part.state for part in parts}


def resources(code: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The kind, the name and the body of each resource in Terraform's language."""
    for item in hcl2.loads(code)["resource"]:
        for kind, named in item.items():
            for name, body in named.items():
                yield kind.strip('"'), name.strip('"'), body


def field(server: FirestoreServer, **settings: Any) -> None:
    """Change a field's settings behind the store's back."""
    with grpc.insecure_channel(server.address) as channel:
        admin = FirestoreAdminClient(transport=FirestoreAdminGrpcTransport(channel=channel))
        request = types.UpdateFieldRequest(
            field=types.Field(**settings), update_mask={"paths": ["index_config"]}
        )
        admin._transport.update_field(request)


def test_what_is_missing_is_told_and_made_once(counting_firestore: FirestoreServer, drive: Driver) -> None:
    """A check changes nothing; after it was made, all of it is there."""
    collection = f"c-{secrets.token_hex(8)}"
    store = from_url(counting_firestore.url(collection))
    assert isinstance(store, Provisions)
    assert isinstance(store, Scans)
    for _ in range(2):
        found = drive(store.provision(create=False))
        assert states(found) == {"there", "missing"}
    made = drive(store.provision(create=True))
    assert [part.name for part in made] == [part.name for part in found]
    assert states(made) == {"there", "made"}
    names = {part.name for part in made if part.state == "made"}
    assert {f"ttl {collection}.ttl", f"ttl {collection}-ended.ttl", f"exemption {collection}.d"} <= names
    assert states(drive(store.provision(create=True))) == {"there"}
    assert states(drive(store.provision(create=False))) == {"there"}


def test_what_people_have_set_is_left_alone(counting_firestore: FirestoreServer) -> None:
    """An index that somebody has put on a field that needs none, or taken from one that does, is told as wrong."""
    store = from_url(counting_firestore.url("set"))
    root = f"projects/{PROJECT}/databases/(default)/collectionGroups/set/fields"
    index = types.Index(query_scope=1, fields=[types.Index.IndexField(field_path="x", order=1)])
    field(counting_firestore, name=f"{root}/x", index_config=types.Field.IndexConfig(indexes=[index]))
    field(counting_firestore, name=f"{root}/o", index_config=types.Field.IndexConfig())
    for create in (False, True, False):
        wrong = {part.name for part in run(store.provision(create=create)) if part.state == "wrong"}
        assert wrong == {"exemption set.x", "index set.o"}


def test_a_database_is_for_people_to_make(counting_firestore: FirestoreServer, drive: Driver) -> None:
    """Where it is cannot be changed later: it is told as missing, with the command."""
    parts = drive(from_url(counting_firestore.url(database="missing")).provision(create=True))
    assert [part.state for part in parts] == ["missing"]
    assert "gcloud firestore databases create" in parts[0].detail


def test_a_ready_client_provisions_too(
    counting_firestore: FirestoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over its own connection and rights."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", counting_firestore.address)
    store = FirestoreStore(firestore.Client(project=PROJECT), "ready")
    assert states(run(store.provision(create=True))) == {"there", "made"}

    async def scenario() -> set[str]:
        return states(
            await FirestoreStore(firestore.AsyncClient(project=PROJECT), "ready").provision(create=True)
        )

    assert asyncio.run(scenario()) == {"there"}


def test_provisioned_fields_take_no_index_entries(counting_firestore: FirestoreServer) -> None:
    """With the exemptions a session may have more values than indexes could take."""
    store, key = from_url(counting_firestore.url("many")), new_key()
    run(store.provision(create=True))
    run(store.create(key, new_record()))
    many = {f"k{number}": b"" for number in range(20_001)}
    assert len(run(store.commit(key, new_change(set=many))).values) == 20_002


def test_provisioning_has_a_time_limit(firestore_server: FirestoreServer, drive: Driver) -> None:
    """A server that does not answer is given up in time here too."""
    store = from_url(firestore_server.url(timeout=0.3))
    firestore_server.freeze()
    began = time.monotonic()
    with pytest.raises(FirestoreStore.unavailable):
        drive(store.provision(create=False))
    assert time.monotonic() - began < 0.3 + BUSY_SECONDS


def test_the_shell_script_is_one() -> None:
    """It parses, quotes what it has to, and grants reading and writing of documents and nothing else."""
    store = from_url("firestore://my-project/user-sessions?database=shop")
    script = store.as_code("gcloud")
    for shell in ("bash", "sh"):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)
    assert script.count("--database=shop") == 18
    (granted,) = re.findall(r"--permissions=(\S+)", script)
    assert set(granted.split(",")) == {
        f"datastore.entities.{verb}" for verb in ("create", "delete", "get", "list", "update")
    }
    assert 'resource.name=="projects/my-project/databases/shop"' in script
    assert "--database='(default)'" in from_url("firestore://my-project/s").as_code("gcloud")


def test_the_shell_script_runs(tmp_path: Any) -> None:
    """Every command reaches gcloud as it is meant, shown by one that only writes down what it is given."""
    log = tmp_path / "log"
    gcloud = tmp_path / "gcloud"
    gcloud.write_text(f'#!/bin/sh\nprintf "%s|" "$@" >> {log}\necho >> {log}\n[ "$3" != describe ]\n')
    gcloud.chmod(0o755)
    script = from_url("firestore://my-project/sessions").as_code("gcloud")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "LOCATION": "eur3", "MEMBER": "user:ann@example.com"}
    subprocess.run(["sh"], input=script, text=True, check=True, env=environment)
    lines = log.read_text().splitlines()
    assert lines[1].startswith(
        "firestore|databases|create|--project=my-project|--database=(default)|--location=eur3"
    )
    assert sum("--disable-indexes" in line for line in lines) == 14
    assert sum("--enable-ttl" in line for line in lines) == 2
    assert "--member=user:ann@example.com|" in lines[-1]


def test_the_terraform_is_one() -> None:
    """It parses, has each field once, and grants the same as the shell script."""
    plain = list(resources(from_url("firestore://my-project/sessions?database=shop").as_code("terraform")))
    fields = [body for kind, _, body in plain if kind == "google_firestore_field"]
    assert len({(body["collection"], body["field"]) for body in fields}) == len(fields) == 14
    assert len({(kind, name) for kind, name, _ in plain}) == len(plain) == 17
    assert all("index_config" in body for body in fields)
    assert [body["field"].strip('"') for body in fields if "ttl_config" in body] == ["ttl", "ttl"]
    (role,) = [body for kind, _, body in plain if kind == "google_project_iam_custom_role"]
    assert {permission.strip('"') for permission in role["permissions"]} == {
        f"datastore.entities.{verb}" for verb in ("create", "delete", "get", "list", "update")
    }


def test_names_are_quoted() -> None:
    """A collection's name is never taken for code."""
    store = from_url("firestore://my-project/a%22b%0Ac%24%7Bd%7D%25%7Be%7D%5C")
    fields = [
        body for kind, _, body in resources(store.as_code("terraform")) if kind == "google_firestore_field"
    ]
    assert len(fields) == 14
    assert 'collection = "a\\"b\\nc$${d}%%{e}\\\\"\n' in store.as_code("terraform")


def test_each_store_has_a_role_of_its_own() -> None:
    """A project has one role of an id: a second application's code would be refused there, or would share it."""
    urls = ["s", "s2", "s?database=shop", "s?database=crm", "s?database=shop-a", "s__a?database=shop"]
    urls += ["a__s?database=shop", "é", "x" * 80, "x" * 81]
    roles = []
    for url in urls:
        store = from_url(f"firestore://my-project/{url}")
        plain = list(resources(store.as_code("terraform")))
        (role,) = [body for kind, _, body in plain if kind == "google_project_iam_custom_role"]
        roles.append(role["role_id"].strip('"'))
        assert f"gcloud iam roles create {roles[-1]} " in store.as_code("gcloud")
        assert f"/roles/{roles[-1]} " in store.as_code("gcloud")
    assert len(set(roles)) == len(urls)
    assert roles[2] == "holdfast__shop__s"
    # What Google takes as the id of a role.
    assert all(re.fullmatch(r"[a-zA-Z0-9_.]{3,64}", role) for role in roles)


def test_another_form_is_refused() -> None:
    """With the forms that there are."""
    with pytest.raises(ConfigError, match="gcloud and terraform"):
        from_url("firestore://my-project/sessions").as_code("cloudformation")
