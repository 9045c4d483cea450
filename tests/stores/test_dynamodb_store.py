"""What the DynamoDB store keeps, beyond the law for all stores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from makers.dynamodb import endpoint_of
from records import add_one, new_change, new_key, new_record

from holdfast._colour import run
from holdfast.errors import Conflict, SessionGone
from holdfast.stores import Owned, Provisions, Scans, from_url
from holdfast.stores.dynamodb import DynamoDBStore
from servers.dynamodb import TABLE, client_of, with_table


@pytest.fixture(params=["moto_url", "dynalite_url"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a table in each of the emulators."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def store(url: str) -> Iterator[DynamoDBStore]:
    """A store for sync callers."""
    store = from_url(url)
    assert isinstance(store, DynamoDBStore)
    yield store
    store.close()


@pytest.fixture
def stored(url: str) -> Iterator[Callable[[str], dict[str, Any] | None]]:
    """Looks an item up, as DynamoDB has it."""
    client = client_of(endpoint_of(url))

    def look(key: str) -> dict[str, Any] | None:
        answer = client.get_item(TableName=TABLE, Key={"id": {"S": key}}, ConsistentRead=True)
        item: dict[str, Any] | None = answer.get("Item")
        return item

    yield look
    client.close()


MANY = {f"name {number}": b"%d" % number for number in range(150)}


def test_it_is_all_that_a_store_can_be(store: DynamoDBStore) -> None:
    """It lists sessions by owner, can be read from end to end, and makes what it needs."""
    assert isinstance(store, Owned)
    assert isinstance(store, Scans)
    assert isinstance(store, Provisions)


def test_the_item_can_go_some_time_after_the_session(
    store: DynamoDBStore, stored: Callable[[str], Any]
) -> None:
    """Time to live is a whole number of seconds, a minute after the end at the earliest, and moves with it."""
    key, now = new_key(), time.time()
    run(store.create(key, new_record(life=10.5)))
    assert now + 70.5 <= int(stored(key)["ttl"]["N"]) <= now + 75
    run(store.commit(key, new_change(set={"n": b"1"})))
    assert int(stored(key)["ttl"]["N"]) <= now + 75
    run(store.commit(key, new_change(expires_at=now + 1000.5)))
    assert now + 1060.5 <= int(stored(key)["ttl"]["N"]) <= now + 1065
    run(store.commit(key, new_change(expires_at=-now)))
    assert now + 60 <= int(stored(key)["ttl"]["N"]) <= now + 65, "sealed, but to be found for a minute"


def test_only_the_changed_values_are_sent(store: DynamoDBStore, stored: Callable[[str], Any]) -> None:
    """A change leaves the other values alone, whoever has written them meanwhile."""
    key = new_key()
    run(store.create(key, new_record(values={"a": b"1", "b": b"1"})))
    changes = [new_change(set={"a": b"2"}), new_change(unset=frozenset({"b", "c"}), set={"": b"3"})]
    versions = [run(store.commit(key, change)).version for change in changes]
    assert versions == [2, 3]
    assert stored(key)["d"]["M"] == {"=a": {"B": b"2"}, "=": {"B": b"3"}}


def test_an_ended_session_leaves_the_index(store: DynamoDBStore, stored: Callable[[str], Any]) -> None:
    """Only sessions that go on are in the index of owners; a tombstone still knows whose it was."""
    key, owner = new_key(), new_key()
    record = new_record(owner=owner)
    run(store.create(key, record))
    assert stored(key)["o"] == {"S": f"={owner}"}
    run(store.end(key, record._replace(version=2, values={}, ended=True)))
    assert "o" not in stored(key)
    assert run(store.of(owner)) == {}
    ended = run(store.load(key))
    assert ended is not None
    assert ended.owner == owner


@pytest.mark.parametrize("owner", ["", "\0", "=", "#", "ö" * 700, "x" * 5000], ids=repr)
def test_any_text_is_an_owner(store: DynamoDBStore, owner: str) -> None:
    """The empty one too, and one that is longer than the key of an index may be."""
    keys = new_key(), new_key()
    run(store.create(keys[0], new_record(owner=owner)))
    run(store.create(keys[1], new_record(owner="someone")))
    run(store.commit(keys[1], new_change(owner=owner)))
    assert set(run(store.of(owner))) >= set(keys)
    assert {record.owner for record in run(store.of(owner)).values()} == {owner}
    run(store.commit(keys[0], new_change(owner="bob " + keys[0])))
    assert keys[0] not in run(store.of(owner))
    assert set(run(store.of("bob " + keys[0]))) == {keys[0]}


def test_all_sessions_of_an_owner_are_listed(store: DynamoDBStore) -> None:
    """However many there are: more than a request takes."""
    owner = new_key()
    records = {new_key(): new_record(owner=owner) for _ in range(120)}
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda key: run(store.create(key, records[key])), records))
    assert run(store.of(owner)) == records


def test_a_change_of_many_names_is_a_change_like_any_other(store: DynamoDBStore) -> None:
    """With more names than an expression takes the record is replaced, under the same rules."""
    key, record = new_key(), new_record(owner="ann")
    with pytest.raises(SessionGone):
        run(store.commit(key, new_change(set=MANY)))
    run(store.create(key, record))
    change = new_change(set=MANY, unset=frozenset({"n"}), expires_at=record.expires_at + 9.25)
    changed = run(store.commit(key, change))
    assert changed == record._replace(
        version=2, tag=change.tag, values=MANY, expires_at=record.expires_at + 9.25
    )
    assert run(store.load(key)) == changed
    assert run(store.commit(key, change)) == changed, "a repeat is not applied again"
    with pytest.raises(Conflict):
        run(store.commit(key, new_change(set=MANY, base=1)))
    fewer = run(store.commit(key, new_change(unset=frozenset(MANY), base=2)))
    assert (fewer.version, fewer.values) == (3, {})
    run(store.end(key, record._replace(values={}, ended=True)))
    with pytest.raises(SessionGone):
        run(store.commit(key, new_change(set=MANY)))


def test_large_changes_side_by_side_all_survive(store: DynamoDBStore) -> None:
    """Those that replace the record lose nothing to each other, or to those that change it in place."""
    key, record = new_key(), new_record(values={})
    run(store.create(key, record))
    changes = [{f"{number} {name}": b"1" for name in MANY} for number in range(4)]
    changes += [{f"small {number}": b"1"} for number in range(4)]
    with ThreadPoolExecutor(len(changes)) as threads:
        list(threads.map(lambda values: run(store.commit(key, new_change(set=values))), changes))
    final = run(store.load(key))
    assert final is not None
    assert (final.version, len(final.values)) == (9, 604)


def test_increments_from_threads_add_up(store: DynamoDBStore) -> None:
    """A change that is based on what was read is refused when that has changed."""
    key, record = new_key(), new_record()
    run(store.create(key, record))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: add_one(store, key, record), range(12)))
    final = run(store.load(key))
    assert final is not None
    assert final.values["n"] == b"12"


def test_a_restored_record_of_the_same_version_is_another(url: str, store: DynamoDBStore) -> None:
    """A replacement is refused if the tag is another, though the version is the same."""
    from holdfast.stores import _dynamodb_items as items

    key, record = new_key(), new_record()
    run(store.create(key, record))
    client = client_of(endpoint_of(url))
    other = record._replace(tag=os.urandom(8))
    with pytest.raises(client.exceptions.ConditionalCheckFailedException):
        client.put_item(
            TableName=TABLE,
            Item=items.item_of(key, record, record.created_at),
            ConditionExpression=items.IS_SAME,
            ExpressionAttributeValues=items.identity_of(other),
        )
    client.close()


def test_a_table_is_read_from_end_to_end(url: str) -> None:
    """Page by page every record comes once, and another instance can go on where one has stopped."""
    table = f"scan-{new_key()[:8]}"
    with_table(endpoint_of(url), table)
    first = from_url(url.replace(f"//{TABLE}", f"//{table}"))
    assert isinstance(first, DynamoDBStore)
    records = {new_key(): new_record() for _ in range(23)}
    records["odd: \0 / ü?&" + new_key()] = new_record(values={}, ended=True)
    for key, record in records.items():
        run(first.create(key, record))
    met: dict[str, Any] = {}
    after, pages = None, 0
    while True:
        store = from_url(url.replace(f"//{TABLE}", f"//{table}"))
        assert isinstance(store, DynamoDBStore)
        page = run(store.scan(after, 5))
        store.close()
        assert not met.keys() & page.records.keys()
        met |= page.records
        pages += 1
        after = page.after
        if after is None:
            break
        assert after.isprintable()
    assert met == records
    assert pages >= 5
    assert run(first.count()) >= 0
    first.close()
