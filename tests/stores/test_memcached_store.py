"""The store in memcached: what it costs, what it keeps to, and what it refuses."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pymemcache.exceptions import MemcacheError
from records import new_change, new_key, new_record

from holdfast._colour import run
from holdfast.errors import ConfigError, SessionGone, SessionTooLarge
from holdfast.stores import from_url
from holdfast.stores.memcached import MemcachedStore
from servers.memcached import MemcachedServer
from servers.process import BUSY_SECONDS

Driver = Callable[[Coroutine[Any, Any, Any]], Any]

DOWN = (OSError, MemcacheError)


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Any:
    """Runs a coroutine to its end in one colour; all of a test's on the same event loop."""
    if request.param == "sync":
        yield run
    else:
        with asyncio.Runner() as runner:
            yield runner.run


def commands(server: MemcachedServer) -> tuple[int, int]:
    """How many reads and how many writes the server has been asked for."""
    lines = [line.split() for line in server.ask(b"stats\r\n").splitlines()]
    stats = {
        line[1]: int(line[2]) for line in lines if len(line) == 3 and line[1] in (b"cmd_get", b"cmd_set")
    }
    return stats[b"cmd_get"], stats[b"cmd_set"]


def test_what_each_call_costs(memcached_server: MemcachedServer, drive: Driver) -> None:
    """Loading is one read, and creating, ending and changing one write each; what copies cost.

    A change is a read more if this process has not loaded or changed the session just before, or another one has since.
    """
    store, other = (MemcachedStore.from_url(memcached_server.url) for _ in range(2))
    key, counts = new_key(), []

    def cost(call: Coroutine[Any, Any, Any]) -> tuple[int, int]:
        reads, writes = commands(memcached_server)
        drive(call)
        now = commands(memcached_server)
        return now[0] - reads, now[1] - writes

    counts.append(cost(store.create(key, new_record())))
    counts.append(cost(store.load(key)))
    counts.append(cost(store.commit(key, new_change(set={"a": b"1"}))))
    counts.append(cost(store.commit(key, new_change(set={"a": b"2"}))))
    counts.append(cost(other.commit(key, new_change(set={"b": b"1"}))))
    counts.append(cost(store.commit(key, new_change(set={"a": b"3"}))))
    assert drive(other.load(key)).values == {"n": b"0", "a": b"3", "b": b"1"}
    counts.append(cost(store.end(key, new_record(ended=True))))
    counts.append(cost(store.claim_copy(key, b"claim", 60.0)))
    counts.append(cost(store.fill_copy(key, b"claim", 1, b"copy", 60.0)))
    counts.append(cost(store.put_copy(key, 2, b"copy", 60.0)))
    counts.append(cost(store.get_copy(key)))
    sessions = [(0, 1), (1, 0), (0, 1), (0, 1), (1, 1), (1, 2), (0, 1)]
    assert counts == [*sessions, (0, 1), (1, 1), (1, 1), (1, 0)]


def test_a_server_that_tells_no_tokens_is_asked_for_them(
    memcached_server: MemcachedServer, drive: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before memcached 1.6.18 a change after a change is a read more; it is never sent what it would not know."""
    monkeypatch.setattr("holdfast.stores._memcached_wire._TELLS_TOKENS", (99, 0, 0))
    store, key = MemcachedStore.from_url(memcached_server.url), new_key()
    drive(store.create(key, new_record()))
    drive(store.load(key))
    reads, writes = commands(memcached_server)
    for number in range(3):
        assert drive(store.commit(key, new_change(set={"a": b"%d" % number}))).version == number + 2
    now = commands(memcached_server)
    assert (now[0] - reads, now[1] - writes) == (2, 3)


def test_a_server_that_was_replaced_is_asked_anew_what_it_tells(
    memcached_server: MemcachedServer, drive: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been replaced by an older one, which would take data for commands."""
    store, key = MemcachedStore.from_url(memcached_server.url), new_key()
    drive(store.create(key, new_record()))
    drive(store.commit(key, new_change(set={"a": b"1"})))
    memcached_server.restart()
    monkeypatch.setattr("holdfast.stores._memcached_wire._TELLS_TOKENS", (99, 0, 0))
    drive(store.create(key, new_record()))
    drive(store.load(key))
    reads, writes = commands(memcached_server)
    for _ in range(2):
        drive(store.commit(key, new_change(set={"a": b"2"})))
    now = commands(memcached_server)
    assert (now[0] - reads, now[1] - writes) == (1, 2)


def test_tokens_of_before_a_restart_are_worth_nothing(
    memcached_server: MemcachedServer, drive: Driver
) -> None:
    """After a restart memcached counts its tokens anew: one that is remembered may be an ended session's by then."""
    store, key = MemcachedStore.from_url(memcached_server.url), new_key()
    drive(store.create(key, new_record()))
    drive(store.load(key))
    ((_, token),) = store._recent._held.values()
    memcached_server.restart()
    other = MemcachedStore.from_url(memcached_server.url)
    for _ in range(int(token) - 1):
        run(other.create(new_key(), new_record()))
    run(other.end(key, new_record(ended=True)))
    item = run(other._fetch(b"s", key))
    assert item is not None
    assert item.token == token
    with pytest.raises(SessionGone):
        drive(store.commit(key, new_change(set={"a": b"1"})))


def test_a_change_for_which_there_is_room_by_now_is_not_refused(memcached_url: str, drive: Driver) -> None:
    """What would not fit into the record that is remembered may fit into the one that is stored."""
    store, other = (MemcachedStore.from_url(memcached_url) for _ in range(2))
    key = new_key()
    drive(store.create(key, new_record(values={"n": bytes(60_000)})))
    drive(store.load(key))
    drive(other.commit(key, new_change(unset=frozenset({"n"}))))
    assert drive(store.commit(key, new_change(set={"m": bytes(995_000)}))).version == 3


@pytest.mark.parametrize("days", [0.001, 29.9, 30.0, 31.0, 365.0, 36500.0])
def test_memcached_keeps_a_session_for_its_whole_life(memcached_url: str, drive: Driver, days: float) -> None:
    """Also for longer than 30 days, from where on memcached takes a number for a date (in 1970, if it is small)."""
    store, key = MemcachedStore.from_url(memcached_url), new_key()
    drive(store.create(key, new_record(life=days * 86400)))
    assert drive(store.load(key)) is not None
    assert drive(store.commit(key, new_change(expires_at=time.time() + days * 86400))).version == 2
    assert drive(store.load(key)) is not None


def test_memcached_collects_what_expired_by_a_clock_that_is_not_its_own(memcached_url: str) -> None:
    """How long a record is kept follows from its own times, which a test or a wrong clock may have made up."""
    store, key = MemcachedStore.from_url(memcached_url), new_key()
    run(store.create(key, new_record(created_at=1000.0, expires_at=1600.0)))
    assert run(store.load(key)) is not None
    run(store.commit(key, new_change(now=1100.0, expires_at=2300.0)))
    assert run(store.load(key)).expires_at == 2300.0


def test_copies_go_when_their_life_is_over(memcached_url: str, drive: Driver) -> None:
    """Neither a copy nor a claim stays longer than it was told to."""
    store, copied, claimed = MemcachedStore.from_url(memcached_url), new_key(), new_key()
    began = time.monotonic()
    drive(store.put_copy(copied, 1, b"copy", 1.9))
    drive(store.claim_copy(claimed, b"claim", 1.0))
    while drive(store.get_copy(copied)) is not None or not drive(store.claim_copy(claimed, b"next", 60.0)):
        assert time.monotonic() - began < 1.9 + BUSY_SECONDS
        time.sleep(0.02)


def test_a_session_that_memcached_cannot_hold_is_refused(memcached_url: str, drive: Driver) -> None:
    """One item is 1 MiB: what does not fit is SessionTooLarge, and what was there stays as it was."""
    store, key, record = MemcachedStore.from_url(memcached_url), new_key(), new_record()
    many = {
        f"{number}": b"" for number in range(250_000)
    }  # below max_bytes, but not with what each name costs
    drive(store.create(key, record))
    with pytest.raises(SessionTooLarge, match="memcached holds"):
        drive(store.commit(key, new_change(set=many)))
    with pytest.raises(SessionTooLarge):
        drive(store.create(new_key(), new_record(values=many)))
    assert drive(store.load(key)) == record


def test_keys_that_memcached_does_not_take_are_hashed(memcached_url: str, drive: Driver) -> None:
    """Any text is a key, however long, with spaces or line ends in it; unequal ones stay apart."""
    store, stem = MemcachedStore.from_url(memcached_url), new_key()
    keys = [
        stem + end for end in ("", " ", "\r\n", "\r\nflush_all\r\n", "é", "e\u0301", "x" * 300, "x" * 301)
    ]
    for key in keys:
        assert drive(store.create(key, new_record(values={"key": key.encode()})))
    for key in keys:
        assert drive(store.load(key)).values == {"key": key.encode()}


def test_the_place_of_a_key_is_the_same_everywhere_and_mostly_stays_when_a_server_is_added() -> None:
    """The order in which the servers are named is no matter; a fourth server takes over a quarter of the keys."""
    keys = [new_key() for _ in range(2000)]
    names = ["a:1", "b:2", "c:3"]
    three, other = MemcachedStore(*names), MemcachedStore(*reversed(names))
    four = MemcachedStore(*names, "d:4")
    assert all(three.node_of(key) == 2 - other.node_of(key) for key in keys)
    moved = [key for key in keys if three.node_of(key) != four.node_of(key)]
    assert all(four.node_of(key) == 3 for key in moved)
    assert 350 < len(moved) < 650
    assert min([three.node_of(key) for key in keys].count(node) for node in range(3)) > 500


def test_the_list_of_an_owner_loses_its_expired_entries(memcached_server: MemcachedServer) -> None:
    """A list that nobody looks at does not grow: each new session of the owner takes out the expired ones."""
    store = MemcachedStore.from_url(memcached_server.url)
    sizes = []
    for start in range(10):
        created_at = 1000.0 + 4000 * start
        run(
            store.create(
                new_key(), new_record(created_at=created_at, expires_at=created_at + 1800, owner="ann")
            )
        )
        sizes.append(len(run(store._fetch(b"o", index_of("ann"))).data))
    assert sizes == [sizes[0]] * 10


def test_an_owner_with_more_sessions_than_fit_is_refused(memcached_url: str, monkeypatch: Any) -> None:
    """A session that could not be listed, and so not be ended with the others, is not created."""
    monkeypatch.setattr("holdfast.stores.memcached._ITEM_BYTES", 1000)
    store, owner = MemcachedStore.from_url(memcached_url), new_key()
    keys = [new_key() for _ in range(30)]
    try:
        for key in keys:
            run(store.create(key, new_record(owner=owner)))
    except SessionTooLarge as refusal:
        assert "the owner has" in str(refusal)  # noqa: PT017 - which of the sessions it is, is no matter
    listed = run(store.of(owner))
    assert 5 < len(listed) < 30
    assert run(store.load(keys[len(listed)])) is None


def test_a_session_that_is_used_is_listed_again(memcached_server: MemcachedServer) -> None:
    """Where memcached has thrown out an owner's list, the next renewal of a session brings its entry back."""
    store, key = MemcachedStore.from_url(memcached_server.url), new_key()
    run(store.create(key, new_record(owner="ann")))
    memcached_server.ask(b"delete holdfast:o:%b\r\n" % index_of("ann").encode())
    assert run(store.of("ann")) == {}
    renewed = run(store.commit(key, new_change(expires_at=time.time() + 7200)))
    assert run(store.of("ann")) == {key: renewed}


def test_prefixes_keep_applications_apart(memcached_url: str) -> None:
    """Two applications may share a memcached."""
    first, second = (from_url(f"{memcached_url}?prefix={name}") for name in ("a:", "b:"))
    key = new_key()
    assert run(first.create(key, new_record()))
    assert run(second.load(key)) is None


def test_it_says_that_it_forgets_unless_that_is_accepted() -> None:
    """What refuses memcached as the only home of sessions can tell, by URL and by constructor."""
    assert from_url("memcached://cache").forgets
    assert not from_url("memcached://cache?forgets=accepted").forgets
    assert MemcachedStore("cache").forgets
    assert not MemcachedStore("cache", forgets_accepted=True).forgets


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("memcached://", "is no server"),
        ("memcached://a,", "is no server"),
        ("memcached://a:x", "is no server"),
        ("memcached://a:99999", "is no server"),
        ("memcached://a,a:11211", "twice"),
        ("memcached://a/0", "names servers and options only"),
        ("memcached://user:secret@a", "names servers and options only"),
        ("memcached://a?timeout=0", "above zero"),
        ("memcached://a?timeout=x", "cannot be read"),
        ("memcached://a?connections=0", "above zero"),
        ("memcached://a?prefix=a%20b", "visible ASCII"),
        ("memcached://a?forgets=yes", "forgets=accepted"),
        ("memcached://a?colour=red", "unknown option"),
    ],
)
def test_urls_that_are_refused(url: str, hint: str) -> None:
    """A mistake in the URL is an error at construction that says what to do, without the secrets in it."""
    with pytest.raises(ConfigError, match=hint) as error:
        from_url(url)
    assert "secret" not in str(error.value)


def index_of(owner: str) -> str:
    """The name of an owner's list."""
    return hashlib.sha256(owner.encode()).hexdigest()
