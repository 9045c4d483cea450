"""What is special about sessions in Cosmos DB: consistency levels, errors, and what its documents hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from records import new_change, new_key, new_record

from holdfast._colour import run
from holdfast.errors import (
    Conflict,
    SessionGone,
    SessionTooLarge,
    StoreError,
    StoreThrottled,
    StoreUnavailable,
)
from holdfast.stores import from_url
from holdfast.stores.cosmos import CosmosStore
from holdfast.stores.guard import Guard
from servers.cosmos import CONTAINER, DATABASE, CosmosServer
from servers.process import BUSY_SECONDS, PATIENCE_SECONDS

Driver = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Any:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


@pytest.mark.parametrize("level", ["Session", "ConsistentPrefix", "Eventual"])
def test_a_strong_load_does_not_believe_a_replica(
    cosmos_account: CosmosServer, drive: Driver, level: str
) -> None:
    """At a level below strong, what another instance has acknowledged is loaded whatever a replica still holds."""
    cosmos_account.set(level=level)
    one, other, key = from_url(cosmos_account.url), from_url(cosmos_account.url), new_key()
    drive(one.create(key, new_record()))
    cosmos_account.set(behind=True)
    newer = drive(one.commit(key, new_change(set={"n": b"1"})))
    late = new_key()
    drive(one.create(late, new_record()))
    assert drive(other.load(key)) == newer
    assert drive(other.load(late)) is not None
    assert drive(other.load(key, weak=True)).version == 1  # as the replica has it
    assert drive(other.load(late, weak=True)) is None
    drive(one.end(key, new_record(version=3, values={}, ended=True)))
    assert drive(other.load(key)).ended


def test_a_verdict_on_a_change_does_not_believe_a_replica(
    cosmos_account: CosmosServer, drive: Driver
) -> None:
    """Conflict, Gone and repeats are judged by the newest record, for changes that a patch cannot express too."""
    one, other, key, late = from_url(cosmos_account.url), from_url(cosmos_account.url), new_key(), new_key()
    many = {f"v{number}": b"x" for number in range(20)}
    drive(one.create(key, new_record()))
    cosmos_account.set(behind=True)
    newer = drive(one.commit(key, new_change(set={"n": b"1"})))
    drive(one.create(late, new_record()))
    for values in ({"n": b"2"}, many):
        with pytest.raises(Conflict) as conflict:
            drive(other.commit(key, new_change(set=values, base=1)))
        assert conflict.value.current == newer
        assert drive(other.commit(late, new_change(set=values))).values.items() >= values.items()
    drive(one.end(key, new_record(version=3, values={}, ended=True)))
    for values in ({"n": b"2"}, many):
        with pytest.raises(SessionGone):
            drive(other.commit(key, new_change(set=values)))


def test_how_to_read_can_be_chosen(cosmos_account: CosmosServer) -> None:
    """`reads=plain` reads plainly at any level, `reads=write` never does."""
    key = new_key()
    for level, reads, method in (("Session", "plain", "GET"), ("Strong", "write", "PATCH")):
        cosmos_account.set(level=level)
        store = from_url(f"{cosmos_account.url}&reads={reads}")
        run(store.create(key, new_record()))
        cosmos_account.requests()
        run(store.load(key))
        assert [entry[0] for entry in cosmos_account.requests() if entry[1].endswith(f"{key}/")] == [method]


def test_a_client_that_asks_for_less_than_its_account_gives(cosmos_account: CosmosServer) -> None:
    """A ready client with a weaker level of its own gets strong loads all the same."""
    cosmos_account.set(level="Strong")
    with cosmos_account.client(consistency_level="Eventual") as client:
        store = CosmosStore(client.get_database_client(DATABASE).get_container_client(CONTAINER))
        cosmos_account.requests()
        assert run(store.load("x")) is None
        assert ("PATCH", "Eventual") in [(method, level) for method, _, level in cosmos_account.requests()]


def test_writes_in_several_regions_are_refused(cosmos_account: CosmosServer, drive: Driver) -> None:
    """Where each region accepts changes that the others do not know, nothing is read or written."""
    cosmos_account.set(multiple=True, regions=2)
    store = from_url(cosmos_account.url)
    for call in (store.load("x"), store.create("x", new_record()), store.commit("x", new_change())):
        with pytest.raises(StoreError, match="turn off multi-region writes"):
            drive(call)


@pytest.mark.parametrize(
    ("refusal", "error", "says"),
    [
        ({"status": 429}, StoreThrottled, "slow down"),
        ({"status": 503}, StoreUnavailable, "503"),
        ({"status": 500}, StoreUnavailable, "500"),
        ({"status": 408}, StoreUnavailable, "408"),
        ({"status": 413}, SessionTooLarge, "2 MB"),
        ({"status": 401}, StoreError, "check the key or the role"),
        ({"status": 401, "message": "The token has expired"}, StoreUnavailable, "credentials have expired"),
        ({"status": 403}, StoreError, "role assignment"),
        ({"status": 403, "substatus": 3}, StoreError, "403|slow|available"),
        ({"status": 404, "substatus": 1003}, StoreError, "404"),
        ({"status": 404, "substatus": 1002}, StoreUnavailable, "404"),
        ({"status": 400}, StoreError, "400"),
    ],
)
def test_what_a_refusal_means(
    cosmos_account: CosmosServer, drive: Driver, refusal: dict[str, Any], error: type[Exception], says: str
) -> None:
    """Each refusal is told as what it is, in time, and not tried again for half a minute as the SDK would."""
    store = Guard(from_url(cosmos_account.url))
    drive(store.load("x"))
    cosmos_account.set(refuse={**refusal, "times": 1000})
    calls = (
        store.load("x"),
        store.load("x", weak=True),
        store.commit("x", new_change(set={"n": b"1"})),
        store.create("x", new_record()),
        store.end("x", new_record(ended=True)),
    )
    for call in calls:
        began = time.monotonic()
        with pytest.raises(error, match=says) as raised:
            drive(call)
        assert type(raised.value) is error or "substatus" in refusal
        assert time.monotonic() - began < 2 + BUSY_SECONDS
    cosmos_account.set(refuse=None)
    assert drive(store.load("x")) is None


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, StoreError), (403, StoreError), (429, StoreThrottled), (503, StoreUnavailable)],
)
def test_a_refusal_of_the_very_first_request(
    cosmos_account: CosmosServer, drive: Driver, status: int, error: type[Exception]
) -> None:
    """A wrong key, say, is told as what it is: the SDK would ask for the account again until the time is over."""
    store = Guard(from_url(f"{cosmos_account.url}&timeout=1"))
    cosmos_account.set(refuse={"status": status, "times": 1000, "everywhere": True})
    for _ in range(2):
        with pytest.raises(error) as raised:
            drive(store.load("x"))
        assert type(raised.value) is error
    cosmos_account.set(refuse=None)
    assert drive(store.load("x")) is None


def test_a_container_that_is_not_there(cosmos_account: CosmosServer, drive: Driver) -> None:
    """It is an error that says what to do, and never "no session"."""
    absent = cosmos_account.container_url("absent"), cosmos_account.container_url("sessions", "absent")
    for url in (f"{url}&timeout={PATIENCE_SECONDS}" for url in absent):
        for call in (from_url(url).load("x"), from_url(url).commit("x", new_change())):
            with pytest.raises(StoreError, match="holdfast provision"):
                drive(call)


def test_a_throttled_change_was_not_made(cosmos_account: CosmosServer) -> None:
    """Nothing of a change is kept that the store refused for its load."""
    store, key = from_url(cosmos_account.url), new_key()
    run(store.create(key, new_record()))
    cosmos_account.set(refuse={"status": 429, "times": 1, "method": "PATCH"})
    with pytest.raises(StoreThrottled):
        run(store.commit(key, new_change(set={"n": b"1"})))
    record = run(store.load(key))
    assert record is not None
    assert (record.version, record.values) == (1, {"n": b"0"})


def test_a_change_that_meets_another_is_sent_again(cosmos_account: CosmosServer, drive: Driver) -> None:
    """Cosmos DB does one write of a document at a time, and leaves it to us to repeat those that it refuses (449)."""
    store, key = from_url(cosmos_account.url), new_key()
    busy = {"status": 449, "times": 3}

    def through(call: Coroutine[Any, Any, Any]) -> Any:
        cosmos_account.set(refuse=busy)
        cosmos_account.requests()
        done = drive(call)
        assert len([path for _, path, _ in cosmos_account.requests() if "/docs" in path]) == 4
        return done

    drive(store.load(key))
    assert through(store.create(key, new_record())) is True
    assert through(store.commit(key, new_change(set={"n": b"1"}))).version == 2
    assert through(store.load(key)).version == 2  # by a write, at the level that accounts have at first
    through(store.end(key, new_record(version=3, values={}, ended=True)))
    assert drive(store.load(key)).ended


def test_a_document_that_stays_busy_is_given_up_in_time(cosmos_account: CosmosServer, drive: Driver) -> None:
    """What is refused again and again is an error that means "later", within the time limit."""
    store = Guard(from_url(f"{cosmos_account.url}&timeout=0.5"))
    drive(store.load("x"))
    cosmos_account.set(refuse={"status": 449, "times": 1_000_000})
    began = time.monotonic()
    with pytest.raises((StoreThrottled, StoreUnavailable)):
        drive(store.commit("x", new_change(set={"n": b"1"})))
    assert time.monotonic() - began < 0.5 + BUSY_SECONDS


def test_what_a_document_holds(cosmos_account: CosmosServer) -> None:
    """Names are readable where they are plain; Cosmos DB deletes the document a minute after the record's expiry."""
    store, key, now = from_url(cosmos_account.url), new_key(), time.time()
    record = new_record(
        values={"cart": b"tea", "a/b": b""}, owner="ann", created_at=now, expires_at=now + 100.5
    )
    run(store.create(key, record))
    with cosmos_account.client() as client:
        container = client.get_database_client(DATABASE).get_container_client(CONTAINER)

        def stored() -> dict[str, Any]:
            document = container.read_item(key, key)
            return {name: value for name, value in document.items() if not name.startswith("_")}

        assert stored() == {
            "id": key,
            "v": 1,
            "t": record.tag.hex(),
            "d": {"ncart": "dGVh", "bYS9i": ""},
            "o": "ann",
            "c": now,
            "x": now + 100.5,
            "e": False,
            "ttl": 161,
        }
        run(store.commit(key, new_change(now=now + 50, expires_at=now + 150)))
        assert stored()["ttl"] == 160
        run(store.commit(key, new_change(now=now + 60, set={f"v{number}": b"" for number in range(20)})))
        assert stored()["ttl"] == 160
        run(store.commit(key, new_change(now=now + 70, expires_at=-now - 70)))  # as a rotation seals it
        assert stored()["ttl"] == 60
        run(store.end(key, new_record(created_at=now, expires_at=now + 30, ended=True)))
        assert stored()["ttl"] == 90


def test_the_records_of_an_owner(cosmos_url: str, drive: Driver) -> None:
    """An owner of any name has the records that are his, and nobody else's."""
    store, mark = from_url(cosmos_url), new_key()
    owners = [f"{mark} ' OR true --", f'{mark} "', f"{mark}\\", f"{mark}", f"{mark.upper()}"]
    for owner in owners:
        drive(store.create(new_key(), new_record(owner=owner)))
    for owner in owners:
        assert [record.owner for record in drive(store.of(owner)).values()] == [owner]


def test_scanning_meets_each_record_once(cosmos_server: CosmosServer, drive: Driver) -> None:
    """Pages follow each other by the id: another instance can go on where one has stopped."""
    keys = {new_key(): new_record() for _ in range(23)}
    store = from_url(cosmos_server.url)
    for key, record in keys.items():
        drive(store.create(key, record))
    assert drive(store.count()) == 23
    met: list[str] = []
    after = None
    for _ in range(9):
        page = drive(from_url(cosmos_server.url).scan(after, 5))
        assert all(record == keys[key] for key, record in page.records.items())
        met += page.records
        after = page.after
        if after is None:
            break
    assert sorted(met) == sorted(keys)
    assert len(met) == 23


def test_counting_is_cheap(cosmos_account: CosmosServer, drive: Driver) -> None:
    """Cosmos DB knows the number of documents: nothing is queried for it."""
    cosmos_account.set(documents=1_234_567)
    store = from_url(cosmos_account.url)
    assert drive(store.count()) == 1_234_567
    assert not [path for _, path, _ in cosmos_account.requests() if "/docs" in path]
