"""The store in Firestore: what it costs, where it keeps what, and what it relies on."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from google.cloud import firestore
from records import new_change, new_key, new_record

from asgi_client import Browser
from holdfast import Keyring, Sessions
from holdfast._colour import run
from holdfast.asgi import SessionMiddleware
from holdfast.errors import Conflict, SessionGone, SessionTooLarge
from holdfast.record import Record
from holdfast.stores import from_url
from holdfast.stores._firestore_wire import Call
from holdfast.stores.firestore import FirestoreStore
from servers.firestore import PROJECT, FirestoreServer

Driver = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Driver:
    """Runs a call of the store by hand, or on an event loop."""
    return run if request.param == "sync" else asyncio.run


@pytest.fixture
def documents(counting_firestore: FirestoreServer, monkeypatch: pytest.MonkeyPatch) -> firestore.Client:
    """Google's own client for the same database, to see what is in it."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", counting_firestore.address)
    return firestore.Client(project=PROJECT)


@contextmanager
def costs(server: FirestoreServer) -> Iterator[list[int]]:
    """Reads, writes and deletes that Firestore would charge for meanwhile, filled in at the end."""
    before, spent = server.units(), list[int]()
    yield spent
    after = server.units()
    spent += [after.get(unit, 0) - before.get(unit, 0) for unit in ("reads", "writes", "deletes")]


def test_what_each_call_costs(counting_firestore: FirestoreServer, drive: Driver) -> None:
    """A load is one read, a change one write; a session that has ended costs a second read."""
    store, key, owner = from_url(counting_firestore.url()), new_key(), new_key()

    def cost(call: Coroutine[Any, Any, Any]) -> list[int]:
        with costs(counting_firestore) as spent:
            drive(call)
        return spent

    assert cost(store.create(key, new_record(owner=owner))) == [0, 1, 1]
    assert cost(store.load(key)) == [1, 0, 0]
    assert cost(store.load(key, weak=True)) == [1, 0, 0]
    assert cost(store.commit(key, new_change(set={"a": b"1"}, unset=frozenset({"n"})))) == [0, 1, 0]
    assert cost(store.commit(key, new_change(set={"a": b"2"}, base=2))) == [0, 1, 0]
    assert cost(store.commit(key, new_change(expires_at=time.time() + 7200))) == [0, 1, 0]
    assert cost(store.of(owner)) == [1, 0, 0]
    assert cost(store.end(key, new_record(ended=True))) == [0, 1, 1]
    assert cost(store.load(key)) == [2, 0, 0]
    assert cost(from_url(counting_firestore.url()).load(key)) == [2, 0, 0]


def test_a_change_of_what_was_not_loaded_costs_a_read(counting_firestore: FirestoreServer) -> None:
    """An instance that has not seen the record looks at it first."""
    key = new_key()
    run(from_url(counting_firestore.url()).create(key, new_record()))
    with costs(counting_firestore) as spent:
        changed = run(from_url(counting_firestore.url()).commit(key, new_change(set={"a": b"1"})))
    assert changed.values == {"n": b"0", "a": b"1"}
    assert spent == [1, 1, 0]


def test_what_requests_cost(counting_firestore: FirestoreServer) -> None:
    """Through the middleware: reading is 1 read, writing one key 1 read and 1 write, and not touching nothing."""
    sessions = Sessions(from_url(counting_firestore.url()), keys=Keyring.generate())

    async def shop(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        if scope["path"] != "/about":
            await session.load()
        if scope["path"] == "/add":
            session["cart"] = [*session.get("cart", []), "tea"]
        elif scope["path"] == "/cart":
            session.get("cart")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def scenario() -> dict[str, list[int]]:
        browser, spent = Browser(SessionMiddleware(shop, sessions, lazy=True)), {}
        await browser.get("/add")
        for path in ("/about", "/cart", "/add"):
            with costs(counting_firestore) as spent[path]:
                assert (await browser.get(path)).status == 200
        return spent

    assert asyncio.run(scenario()) == {"/about": [0, 0, 0], "/cart": [1, 0, 0], "/add": [1, 1, 0]}


def test_a_writer_in_between_costs_one_read(counting_firestore: FirestoreServer, drive: Driver) -> None:
    """A change on top of somebody else's returns what both have made, as it was right after it."""
    one, other, key = from_url(counting_firestore.url()), from_url(counting_firestore.url()), new_key()
    drive(one.create(key, new_record()))
    drive(other.load(key))
    drive(other.commit(key, new_change(set={"other": b"1"})))
    with costs(counting_firestore) as spent:
        change = new_change(set={"one": b"1"})
        changed = drive(one.commit(key, change))
    assert spent == [1, 1, 0]
    assert (changed.version, changed.tag) == (3, change.tag)
    assert changed.values == {"n": b"0", "other": b"1", "one": b"1"}


def test_the_record_of_a_change_is_not_a_later_one(
    counting_firestore: FirestoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While this process asks what it has changed, another changes it again: each still gets its own version."""
    one, other, key = from_url(counting_firestore.url()), from_url(counting_firestore.url()), new_key()
    run(one.create(key, new_record()))
    run(other.commit(key, new_change(set={"n": b"1"})))
    read = Call.read

    async def late(call: Any, name: str, at: Any = None) -> Any:
        monkeypatch.undo()
        await other.commit(key, new_change(set={"n": b"3"}))
        return await read(call, name, at)

    monkeypatch.setattr(Call, "read", late)
    changed = run(one.commit(key, new_change(set={"n": b"2"})))
    assert (changed.version, changed.values) == (3, {"n": b"2"})
    assert run(one.load(key)).version == 4


def test_an_expiry_that_was_taken_back_is_noticed(counting_firestore: FirestoreServer, drive: Driver) -> None:
    """Another instance shortens the life of a session: whoever still thinks it alive is told that it is gone."""
    one, other, key = from_url(counting_firestore.url()), from_url(counting_firestore.url()), new_key()
    now = time.time()
    drive(one.create(key, new_record()))
    drive(other.commit(key, new_change(expires_at=now + 0.5)))
    late = new_change(now=now + 1, set={"n": b"late"})
    with pytest.raises(SessionGone):
        drive(one.commit(key, late))
    with pytest.raises(SessionGone):
        drive(one.commit(key, new_change(now=now + 1, expires_at=now + 3600)))
    assert drive(one.load(key)).expires_at == now + 0.5


def test_an_extension_is_seen_before_a_change_is_refused(counting_firestore: FirestoreServer) -> None:
    """What this process knows may be too old to refuse by: another instance has given the session more time."""
    one, other, key = from_url(counting_firestore.url()), from_url(counting_firestore.url()), new_key()
    now = time.time()
    run(one.create(key, new_record(life=10.0)))
    run(other.commit(key, new_change(expires_at=now + 3600)))
    assert run(one.commit(key, new_change(now=now + 60))).version == 3


def test_a_base_is_checked_by_firestore(counting_firestore: FirestoreServer, drive: Driver) -> None:
    """What this process knows may be out of date: Firestore decides, and a Conflict carries what is there."""
    one, other, key = from_url(counting_firestore.url()), from_url(counting_firestore.url()), new_key()
    drive(one.create(key, new_record()))
    newer = drive(other.commit(key, new_change(set={"n": b"other"})))
    with pytest.raises(Conflict) as conflict:
        drive(one.commit(key, new_change(set={"n": b"one"}, base=1)))
    assert conflict.value.current == newer
    assert drive(one.commit(key, new_change(set={"n": b"one"}, base=2))).version == 3


def test_a_late_change_does_not_bring_an_ended_session_back(
    counting_firestore: FirestoreServer, drive: Driver
) -> None:
    """A process that has seen the session alive sends its change without a look: it is refused all the same."""
    one, other = from_url(counting_firestore.url()), from_url(counting_firestore.url())
    for late in (new_change(set={"n": b"1"}), new_change(base=1), new_change(expires_at=time.time() + 3600)):
        key = new_key()
        drive(one.create(key, new_record()))
        grave = new_record(version=2, values={}, ended=True)
        drive(other.end(key, grave))
        with pytest.raises(SessionGone):
            drive(one.commit(key, late))
        assert drive(other.load(key)) == grave
        assert drive(one.create(key, new_record())) is False


def test_a_seal_moves_the_record(counting_firestore: FirestoreServer, documents: firestore.Client) -> None:
    """A rotation's seal, and a record that was over when it was made, are with the ended ones, loadable and kept."""
    store, key, now = from_url(counting_firestore.url("sealed")), secrets.token_hex(32), time.time()
    record = new_record(owner="ann", values={"a.b": b"1"})
    run(store.create(key, record))
    seal = new_change(now=now, base=1, expires_at=-now)
    sealed = run(store.commit(key, seal))
    assert sealed == record._replace(version=2, tag=seal.tag, expires_at=-now)
    assert run(from_url(counting_firestore.url("sealed")).load(key)) == sealed
    assert not documents.document("sealed", key).get().exists
    kept = documents.document("sealed-ended", key).get().to_dict()
    assert kept["ttl"].timestamp() >= now + 60
    assert run(store.of("ann")) == {}
    assert run(store.commit(key, seal)) == sealed  # a repeat
    for late in (new_change(), new_change(expires_at=now + 60)):
        with pytest.raises(SessionGone):
            run(store.commit(key, late))
    again = new_change(now=-2 * now, expires_at=now + 3600)
    assert run(store.commit(key, again)).version == 3  # by that clock it was alive: it is a session again
    assert documents.document("sealed", key).get().exists


def test_how_a_record_is_kept(counting_firestore: FirestoreServer, documents: firestore.Client) -> None:
    """People can read it: plain names stay as they are, others are escaped; Firestore's TTL comes a minute later."""
    store, now = from_url(counting_firestore.url("kept")), time.time()
    record = Record(5, b"12345678", {"user_id": b"1", "a.b": b"2", "_x": b"3", "": b"4"}, "ann", now, now + 9)
    run(store.create("k", record))
    kept = documents.document("kept", "k").get().to_dict()
    assert kept.pop("ttl").timestamp() == pytest.approx(now + 69, abs=1.001)
    values = {"user_id": b"1", "_a_2Eb": b"2", "__5Fx": b"3", "_": b"4"}
    assert kept == {"v": 5, "t": b"12345678", "d": values, "o": "ann", "c": now, "x": now + 9}
    run(store.commit("k", new_change(expires_at=now + 100)))
    assert documents.document("kept", "k").get().get("ttl").timestamp() == pytest.approx(now + 160, abs=1.001)


@pytest.mark.parametrize("key", ["a/b", ".", "..", "__a__", "", "%", "ä", "a b", "_", "%5Fa", "~"])
def test_any_key_is_the_name_of_a_document(counting_firestore: FirestoreServer, key: str) -> None:
    """Keys that Firestore would not take as names are escaped, and come back as they were."""
    store, owner = from_url(counting_firestore.url(f"c-{secrets.token_hex(8)}")), new_key()
    record = new_record(owner=owner)
    assert run(store.create(key, record))
    assert run(store.load(key)) == record
    assert run(store.of(owner)) == {key: record}
    assert run(store.scan(None, 10)).records == {key: record}


def test_what_is_too_large_is_told_as_that(counting_firestore: FirestoreServer, drive: Driver) -> None:
    """A document over a mebibyte, a long name, too many index entries: each says that it is too large."""
    store, key = from_url(counting_firestore.url()), new_key()
    drive(store.create(key, new_record()))
    for values in (
        {"a": bytes(1_048_576)},
        {"ä" * 300: b""},
        {f"k{number}": b"" for number in range(20_001)},
    ):
        with pytest.raises(SessionTooLarge):
            drive(store.commit(key, new_change(set=values)))
    assert drive(store.load(key)).version == 1
    name = "n" * 1_498
    assert drive(store.commit(key, new_change(set={name: b"1"}))).values[name] == b"1"
    assert drive(store.load(key)).values == {"n": b"0", name: b"1"}


def test_a_scan_meets_each_record_once(counting_firestore: FirestoreServer, drive: Driver) -> None:
    """Live, ended and sealed ones, page by page, also when another instance goes on where one has stopped."""
    url = counting_firestore.url(f"c-{secrets.token_hex(8)}")
    store = FirestoreStore.from_url(url)
    records = {f"{number:02}": new_record() for number in range(7)}
    for key, record in records.items():
        drive(store.create(key, record))
    grave = new_record(version=2, values={}, ended=True)
    for key in ("01", "04"):
        drive(store.end(key, grave))
        records[key] = grave
    met: dict[str, Record] = {}
    after, pages = None, 0
    while True:
        page = drive(FirestoreStore.from_url(url).scan(after, 2))
        assert not met.keys() & page.records.keys()
        met |= page.records
        pages, after = pages + 1, page.after
        if after is None:
            break
        assert after.isprintable()
    assert met == records
    assert pages <= 6
    assert drive(store.count()) == 7
