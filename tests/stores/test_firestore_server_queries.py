"""The Firestore that the tests start queries, counts and has transactions as Firestore does.

With FIRESTORE_EMULATOR_HOST set, the same is asked of the official emulator, and the rest of the server's own.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import And, FieldFilter, Or

from servers.firestore import PROJECT, FirestoreServer

ROOT = f"projects/{PROJECT}/databases/(default)/documents"


@pytest.fixture
def client(firestore_address: str, monkeypatch: pytest.MonkeyPatch) -> firestore.Client:
    """Google's client."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_address)
    return firestore.Client(project=PROJECT)


@pytest.fixture
def collection(client: firestore.Client) -> Iterator[Any]:
    """A collection that nobody has used."""
    return client.collection(f"c-{secrets.token_hex(8)}")


def commit(client: Any, *writes: dict[str, Any], **more: Any) -> Any:
    """Commit writes as they go over the wire."""
    request = {"database": client._database_string, "writes": list(writes), **more}
    return client._firestore_api.commit(request=request, metadata=client._rpc_metadata, timeout=5)


def name(document: Any) -> str:
    """The document's full name."""
    return f"{ROOT}/{'/'.join(document._path)}"


def integer(number: int) -> dict[str, Any]:
    """A value of the wire."""
    return {"integer_value": number}


def test_queries(client: firestore.Client, collection: Any) -> None:
    """Filters, order, cursors, limits and counting."""
    for number in range(6):
        collection.document(f"{number}").set({"n": number, "even": number % 2 == 0, "who": "ann"})
    collection.document("x").set({"other": 1})
    collection.document("0").collection("below").document("b").set({"n": 0})

    def ids(query: Any) -> str:
        return "".join(found.id for found in query.stream())

    assert ids(collection) == "012345x"
    assert ids(collection.where(filter=FieldFilter("n", ">=", 3))) == "345"
    assert ids(collection.where(filter=FieldFilter("who", "==", "ann")).limit(2)) == "01"
    both = And([FieldFilter("even", "==", True), FieldFilter("who", "==", "ann")])
    assert ids(collection.where(filter=both)) == "024"
    either = Or([FieldFilter("n", "==", 1), FieldFilter("n", "==", 4)])
    assert ids(collection.where(filter=either)) == "14"
    assert ids(collection.order_by("n", direction="DESCENDING").limit(3)) == "543"
    assert ids(collection.order_by("n").start_at({"n": 4})) == "45"
    by_name = collection.order_by("__name__")
    assert ids(by_name.start_after({"__name__": collection.document("2")}).limit(3)) == "345"
    assert ids(by_name.end_before({"__name__": collection.document("2")})) == "01"
    assert ids(collection.where(filter=FieldFilter("n", "==", 9))) == ""
    assert collection.count().get()[0][0].value == 7


def test_transactions(client: firestore.Client, collection: Any) -> None:
    """A transaction that has read what was changed since is aborted; one that was rolled back is over."""
    document, api = collection.document("a"), client._firestore_api
    document.set({"n": 1})
    database = client._database_string

    def begin() -> bytes:
        begun = api.begin_transaction(request={"database": database}, metadata=client._rpc_metadata)
        return bytes(begun.transaction)

    def read(transaction: bytes) -> None:
        request = {"database": database, "documents": [name(document)], "transaction": transaction}
        list(api.batch_get_documents(request=request, metadata=client._rpc_metadata))

    put = {"update": {"name": name(document), "fields": {"n": integer(2)}}}
    good = begin()
    read(good)
    commit(client, put, transaction=good)
    assert document.get().to_dict() == {"n": 2}
    over = begin()
    api.rollback(request={"database": database, "transaction": over}, metadata=client._rpc_metadata)
    with pytest.raises(exceptions.InvalidArgument):
        commit(client, put, transaction=over)


def test_a_transaction_that_was_overtaken_is_aborted(
    counting_firestore: FirestoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google's client then tries it again: no increment is lost. (The emulator makes the other writer wait.)"""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", counting_firestore.address)
    client = firestore.Client(project=PROJECT)
    document, tries = client.document("t/a"), []
    document.set({"n": 1})

    @firestore.transactional
    def count(transaction: Any) -> None:
        tries.append(document.get(transaction=transaction).get("n"))
        if len(tries) == 1:
            document.update({"n": 10})
        transaction.update(document, {"n": tries[-1] + 1})

    count(client.transaction())
    assert tries == [1, 10]
    assert document.get().get("n") == 11


def test_a_batch_of_writes_has_a_status_each(client: firestore.Client, collection: Any) -> None:
    """BatchWrite is not atomic: each write says how it went."""
    writes = [
        {"update": {"name": name(collection.document("a")), "fields": {"a": integer(1)}}},
        {"delete": name(collection.document("b")), "current_document": {"exists": True}},
    ]
    request = {"database": client._database_string, "writes": writes}
    done = client._firestore_api.batch_write(request=request, metadata=client._rpc_metadata)
    assert [status.code for status in done.status] == [0, 5]
    assert collection.document("a").get().exists


def test_what_firestore_charges_for_is_counted(
    counting_firestore: FirestoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read of what is missing, a query without an answer and a delete of nothing count like others."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", counting_firestore.address)
    client = firestore.Client(project=PROJECT)
    document = client.document("counted/a")
    before = counting_firestore.units()
    document.get()
    document.set({"a": 1})
    list(client.collection("counted").stream())
    list(client.collection("empty").stream())
    document.delete()
    document.delete()
    with pytest.raises(exceptions.NotFound):
        document.update({"a": 1})
    spent = {unit: count - before.get(unit, 0) for unit, count in counting_firestore.units().items()}
    assert spent == {"reads": 3, "writes": 1, "deletes": 2}


def test_a_database_that_is_not_there(
    counting_firestore: FirestoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is NOT_FOUND, like a document that was to be there, with another text."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", counting_firestore.address)
    document = firestore.Client(project=PROJECT, database="wrong").document("a/b")
    for call in (document.get, lambda: document.set({})):
        with pytest.raises(exceptions.NotFound, match="database wrong does not exist"):
            call()
