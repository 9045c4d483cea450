"""The Firestore that the tests start keeps Firestore's documented law, as Google's own client meets it.

With FIRESTORE_EMULATOR_HOST set, the same is asked of the official emulator, and the rest of the server's own.
"""

from __future__ import annotations

import datetime
import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1 import types

from servers.firestore import PROJECT

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


def test_what_is_put_is_got(collection: Any) -> None:
    """Every type comes back as it was, integers with 64 bits and bytes with all of theirs."""
    now = datetime.datetime.now(datetime.UTC)
    held = {
        "i": 2**63 - 1,
        "f": 0.1 + 0.2,
        "b": bytes(range(256)),
        "s": "a\0b🛒",
        "t": now,
        "n": None,
        "y": True,
        "m": {"x": {"y": 1}, "e": {}},
        "l": [1, "2"],
    }
    document = collection.document("a")
    assert not document.get().exists
    document.set(held)
    assert document.get().to_dict() == held


def test_a_merge_changes_what_its_mask_names(collection: Any) -> None:
    """An update by field paths leaves the rest, removes what it names without a value, and makes maps on the way."""
    document = collection.document("a")
    document.set({"d": {"a": 1, "b": 2, "odd.name`": 3}, "k": 1})
    document.update({"d.a": 5, "d.b": firestore.DELETE_FIELD, "new.x.y": 1, "d.`odd.name\\``": 4})
    assert document.get().to_dict() == {
        "d": {"a": 5, "odd.name`": 4},
        "k": 1,
        "new": {"x": {"y": 1}},
    }
    document.update({"nothing.there": firestore.DELETE_FIELD})
    assert "nothing" not in document.get().to_dict()


def test_a_field_outside_of_the_mask_is_ignored(client: firestore.Client, collection: Any) -> None:
    """What an update carries beyond its mask is not stored."""
    document = collection.document("a")
    fields = {"a": integer(1), "b": integer(2)}
    commit(
        client, {"update": {"name": name(document), "fields": fields}, "update_mask": {"field_paths": ["a"]}}
    )
    assert document.get().to_dict() == {"a": 1}


def test_preconditions(client: firestore.Client, collection: Any) -> None:
    """exists and update_time hold a write up, each with the code that is documented."""
    document = collection.document("a")
    update = {"update": {"name": name(document), "fields": {"a": integer(1)}}}
    with pytest.raises(exceptions.NotFound):
        commit(client, {**update, "current_document": {"exists": True}})
    with pytest.raises(exceptions.NotFound):
        commit(client, {"delete": name(document), "current_document": {"exists": True}})
    assert not document.get().exists
    (made,) = commit(client, {**update, "current_document": {"exists": False}}).write_results
    with pytest.raises(exceptions.AlreadyExists):
        commit(client, {**update, "current_document": {"exists": False}})
    with pytest.raises(exceptions.AlreadyExists):
        document.create({"a": 2})
    changed = {"update": {"name": name(document), "fields": {"a": integer(2)}}}
    commit(client, {**changed, "current_document": {"update_time": made.update_time}})
    for stale in (changed, {"delete": name(document)}):
        with pytest.raises(exceptions.FailedPrecondition):
            commit(client, {**stale, "current_document": {"update_time": made.update_time}})
    assert document.get().to_dict() == {"a": 2}
    last = types.Document.pb(client._firestore_api.get_document(request={"name": name(document)})).update_time
    commit(client, {"delete": name(document), "current_document": {"update_time": last}})
    with pytest.raises((exceptions.NotFound, exceptions.FailedPrecondition)):
        commit(client, {**changed, "current_document": {"update_time": last}})


def test_a_delete_that_nothing_is_there_for_is_a_condition(client: firestore.Client, collection: Any) -> None:
    """Deleting on condition that there is nothing does nothing, or holds the whole commit up."""
    one, other = collection.document("one"), collection.document("other")
    put = {"update": {"name": name(one), "fields": {}}, "current_document": {"exists": False}}
    condition = {"delete": name(other), "current_document": {"exists": False}}
    other.set({})
    with pytest.raises((exceptions.AlreadyExists, exceptions.FailedPrecondition)):
        commit(client, put, condition)
    assert not one.get().exists
    other.delete()
    commit(client, put, condition)
    assert one.get().exists


def test_a_commit_is_all_or_nothing(client: firestore.Client, collection: Any) -> None:
    """A write that is refused takes the others with it."""
    batch = client.batch()
    batch.set(collection.document("a"), {"a": 1})
    batch.update(collection.document("missing"), {"a": 1})
    with pytest.raises(exceptions.NotFound):
        batch.commit()
    assert not collection.document("a").get().exists


def test_transforms_and_their_results(client: firestore.Client, collection: Any) -> None:
    """Increment, maximum, minimum and server time: in order, with results, on top of the mask's own work."""
    document = collection.document("a")
    document.set({"v": 2**53, "x": 0.1, "m": 5, "l": 5, "top": 2**63 - 1, "word": "x"})
    transforms = [
        {"field_path": "v", "increment": integer(1)},
        {"field_path": "x", "increment": {"double_value": 0.0}},
        {"field_path": "m", "maximum": integer(3)},
        {"field_path": "l", "minimum": integer(4)},
        {"field_path": "top", "increment": integer(1)},
        {"field_path": "word", "increment": integer(7)},
        {"field_path": "fresh", "increment": integer(1)},
        {"field_path": "at", "set_to_server_value": 1},
    ]
    update = {"update": {"name": name(document)}, "update_mask": {}, "update_transforms": transforms}
    (result,) = commit(client, {**update, "current_document": {"exists": True}}).write_results
    results = [types.Value.pb(value) for value in result.transform_results]
    assert [value.integer_value for value in results[:1] + results[2:7]] == [2**53 + 1, 5, 4, 2**63 - 1, 7, 1]
    assert results[1].double_value == 0.1
    assert abs(results[7].timestamp_value.ToSeconds() - time.time()) < 60
    got = document.get().to_dict()
    assert (got["v"], got["x"], got["m"], got["l"], got["top"]) == (2**53 + 1, 0.1, 5, 4, 2**63 - 1)


def test_update_times_grow_and_a_write_that_changes_nothing_has_none(
    client: firestore.Client, collection: Any
) -> None:
    """No two states of a document have the same time; a write without effect keeps the old one."""
    document = collection.document("a")
    times = [document.set({"n": n}).update_time for n in range(20)]
    assert sorted(set(times)) == times
    assert document.set({"n": 19}).update_time == times[-1]
    assert document.get().update_time == times[-1]


def test_a_read_at_an_earlier_time(client: firestore.Client, collection: Any) -> None:
    """A document as it was right after a commit, also when it was deleted since; not from before an hour ago."""
    document = collection.document("a")
    first = document.set({"n": 1}).update_time
    second = document.set({"n": 2}).update_time
    document.delete()
    assert document.get(read_time=first).to_dict() == {"n": 1}
    assert document.get(read_time=second).to_dict() == {"n": 2}
    assert not document.get().exists
    with pytest.raises((exceptions.InvalidArgument, exceptions.FailedPrecondition)):
        document.get(read_time=first - datetime.timedelta(hours=2))


@pytest.mark.parametrize(
    "path", ["", "a..b", ".a", "a.", "1a", "a-b", "`a", "__a__", "a.__b__", "``", "a" * 1_501]
)
def test_a_field_path_that_is_none_is_refused(client: firestore.Client, collection: Any, path: str) -> None:
    """Names that need quotes have none, are empty, reserved or too long."""
    document = {"name": name(collection.document("a")), "fields": {}}
    with pytest.raises(exceptions.InvalidArgument):
        commit(client, {"update": document, "update_mask": {"field_paths": [path]}})


def test_field_paths_may_not_overlap(client: firestore.Client, collection: Any) -> None:
    """A mask names a field once, and none within another."""
    document = {"name": name(collection.document("a")), "fields": {}}
    for paths in (["a", "a"], ["a", "a.b"]):
        with pytest.raises(exceptions.InvalidArgument):
            commit(client, {"update": document, "update_mask": {"field_paths": paths}})


@pytest.mark.parametrize("last", [".", "..", "__a__", "a" * 1_501])
def test_a_document_name_that_is_none_is_refused(
    client: firestore.Client, collection: Any, last: str
) -> None:
    """By the constraints on document ids."""
    with pytest.raises(exceptions.InvalidArgument):
        commit(client, {"update": {"name": f"{name(collection.document('a'))[:-1]}{last}", "fields": {}}})


def test_limits(collection: Any) -> None:
    """A document has a mebibyte, 20 levels, and 40,000 index entries; what is more is refused, and nothing stored."""
    document, deep = collection.document("a"), {}
    for _ in range(20):
        deep = {"m": deep}
    for fields in ({"a": bytes(1_048_577)}, {"m": deep}, {f"k{n}": n for n in range(20_001)}):
        with pytest.raises(exceptions.InvalidArgument):
            document.set(fields)
    assert not document.get().exists
    document.set({"a": bytes(1_000_000)})
