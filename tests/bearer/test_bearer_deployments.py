"""Sessions of a Bearer that do not fit their token any more: refreshing, changing and ending them goes on."""

from __future__ import annotations

import asyncio
import sys
from datetime import date
from typing import Any

import pytest

from holdfast import BadToken, Bearer, Change, Event, Keyring, Record, SessionTooLarge, Token, codec
from holdfast.stores.memory import MemoryStore
from holdfast.testing import FakeClock
from holdfast.tokens import Secrecy
from holdfast.tokens.pairs import Pair, Pairs
from recording import RecordingStore

KEYS = Keyring.generate()

FORMATS: dict[str, dict[str, Any]] = {
    "jwe": {},
    "jwe-json": {"text": "json"},
    "jws": {"format": "jws", "public": {"a", "b", "role"}},
    "paseto-local": {"format": "paseto"},
    "paseto-public": {"format": "paseto", "algorithm": "v4.public", "public": {"a", "b", "role"}},
}


class App:
    """A deployment of the application on a store that outlives it."""

    def __init__(self, store: MemoryStore, clock: FakeClock, token: Token | None = None) -> None:
        self.events: list[Event] = []
        self.bearer = Bearer(store, token, keys=KEYS, clock=clock, on_event=self.events.append)
        self.sync = self.bearer.sync

    def told(self, pair: Pair) -> dict[str, Any]:
        return dict(self.bearer.open(f"Bearer {pair.access}").values)

    def handle(self, pair: Pair) -> str:
        return self.bearer.open(f"Bearer {pair.access}").handle

    def left_out(self) -> list[str]:
        return [event.detail for event in self.events if event.kind == "value left out"]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


class Meeting(RecordingStore):
    """Two changes read before either writes."""

    def __init__(self) -> None:
        super().__init__()
        self.both: asyncio.Barrier | None = None

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        record = await super().load(key, weak=weak)
        if self.both is not None:
            await self.both.wait()
        return record


@pytest.mark.parametrize("name", FORMATS)
async def test_two_changes_that_do_not_fit_together(name: str, clock: FakeClock) -> None:
    """Each fits alone: one is kept, the other is told, and the refresh has nothing to leave out."""
    store = Meeting()
    app = App(store, clock, Token(**FORMATS[name], max_bytes=2048))
    pair = await app.bearer.issue("user-42", {"role": "reader"})
    handle = app.handle(pair)
    store.both = asyncio.Barrier(2)
    changes = [app.bearer.change(handle, {key: key * 700}) for key in ("a", "b")]
    results = await asyncio.gather(*changes, return_exceptions=True)
    store.both = None
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "SessionTooLarge"]
    kept = "ab"[results.index(None)]
    told = app.told(await app.bearer.refresh(pair.refresh))
    assert told == {"role": "reader", kept: kept * 700}
    assert app.left_out() == []


def test_two_changes_that_do_not_fit_together_from_sync_callers(clock: FakeClock) -> None:
    """The same, where the other one comes between this one's read and its write."""
    store = RecordingStore()
    app = App(store, clock, Token(max_bytes=2048))
    pair = app.sync.issue("user-42", {})
    handle = app.handle(pair)
    store.before_commit = lambda: app.sync.change(handle, {"a": "x" * 700})
    with pytest.raises(SessionTooLarge, match=r"'a' .*'b' |'b' .*'a' "):
        app.sync.change(handle, {"b": "y" * 700})
    assert app.told(app.sync.refresh(pair.refresh)) == {"a": "x" * 700}


async def test_many_changes_at_once_are_all_kept(store: MemoryStore, clock: FakeClock) -> None:
    """That each is based on what it has seen costs rounds, and no change that fits."""
    app = App(store, clock)
    pair = await app.bearer.issue("user-42")
    handle = app.handle(pair)
    await asyncio.gather(*(app.bearer.change(handle, {f"seen {number}": number}) for number in range(40)))
    assert len((await app.bearer.load(handle)).values) == 40


@pytest.mark.parametrize("name", FORMATS)
def test_max_bytes_is_lowered(name: str, store: MemoryStore, clock: FakeClock) -> None:
    """The largest values are left out of the access token, with an event; they stay in the store, and can shrink."""
    before = App(store, clock, Token(**FORMATS[name], max_bytes=6000))
    pair = before.sync.issue("user-42", {"role": "admin", "a": "x" * 1500, "b": "y" * 100})
    handle = before.handle(pair)
    after = App(store, clock, Token(**FORMATS[name], max_bytes=1300))
    lost = pair
    for _ in range(2):
        lost, pair = pair, after.sync.refresh(pair.refresh)
        assert after.told(pair) == {"role": "admin", "b": "y" * 100}
    assert after.told(after.sync.refresh(lost.refresh)) == {"role": "admin", "b": "y" * 100}, (
        "a lost response"
    )
    assert after.left_out() == ["1 cannot stand in the access token any more: 'a'"] * 2
    assert after.sync.load(handle).values["a"] == "x" * 1500
    after.sync.change(handle, {"a": "short"})
    assert after.told(after.sync.refresh(pair.refresh)) == {"role": "admin", "b": "y" * 100, "a": "short"}
    assert len(after.left_out()) == 2


@pytest.mark.parametrize("name", ["jws", "paseto-public"])
def test_a_stored_value_is_made_public_later(name: str, store: MemoryStore, clock: FakeClock) -> None:
    """One that JSON does not know is left out, with an event, and the refresh goes on for ever after."""
    settings = {**FORMATS[name], "public": {"role"}}
    before = App(store, clock, Token(**settings))
    pair = before.sync.issue("user-42", {"role": "admin", "since": date(2026, 1, 1)})
    after = App(store, clock, Token(**{**settings, "public": {"role", "since"}}))
    for _ in range(2):
        pair = after.sync.refresh(pair.refresh)
        assert after.told(pair) == {"role": "admin"}
    assert after.left_out() == ["1 cannot stand in the access token any more: 'since'"] * 2
    handle = after.handle(pair)
    with pytest.raises(TypeError, match="since"):
        after.sync.change(handle, {"since": date(2026, 1, 2)})
    after.sync.change(handle, {"since": "2026-01-02"})
    assert after.told(after.sync.refresh(pair.refresh)) == {"role": "admin", "since": "2026-01-02"}


def test_a_value_of_a_newer_holdfast(store: MemoryStore, clock: FakeClock) -> None:
    """A type that this release cannot read is not told, and costs nobody the session."""
    app = App(store, clock, Token("jws", public={"role", "odd"}))
    pair = app.sync.issue("user-42", {"role": "admin"})
    (key,) = store._records
    record = store._records[key]
    store._records[key] = record._replace(values={**record.values, "odd": b"\xc7\x01\x63\x00"})
    assert app.told(app.sync.refresh(pair.refresh)) == {"role": "admin"}
    assert app.left_out() == ["1 cannot stand in the access token any more: 'odd'"]


def test_a_role_can_be_taken_away_all_the_same(store: MemoryStore, clock: FakeClock) -> None:
    """Of a session that today's settings leave no room for, or whose values cannot be told today."""
    before = App(store, clock, Token("jws", public={"role", "a"}, max_bytes=6000))
    pair = before.sync.issue("user-42", {"role": "admin", "a": "x" * 1500, "since": date(2026, 1, 1)})
    after = App(store, clock, Token("jws", public={"role", "a", "since"}, max_bytes=1300))
    handle = before.handle(pair)
    after.sync.change(handle, {"role": "mere reader"})
    pair = after.sync.refresh(pair.refresh)
    assert after.told(pair) == {"role": "mere reader"}
    after.sync.change(handle, {}, unset=["role"])
    assert after.told(after.sync.refresh(pair.refresh)) == {}


def test_not_even_an_empty_token_fits(store: MemoryStore, clock: FakeClock) -> None:
    """The user signs in again, as after any end; the session is there still, for settings that have room for it."""
    owner = "u" * 900
    before = App(store, clock, Token(max_bytes=6000))
    pair = before.sync.issue(owner, {"role": "admin"})
    after = App(store, clock, Token(max_bytes=1024))
    for _ in range(2):
        with pytest.raises(BadToken, match="ended"):
            after.sync.refresh(pair.refresh)
    assert (
        after.left_out() == ["not even an access token without values is as short as max_bytes= wants it"] * 2
    )
    with pytest.raises(SessionTooLarge):
        after.sync.issue(owner)
    assert before.told(before.sync.refresh(pair.refresh)) == {"role": "admin"}


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_issued_at_the_limit_fits_for_life(name: str, clock: FakeClock) -> None:
    """A version of many digits and a time with a fraction make the token longer than the first one was."""
    token = Token(**FORMATS[name], max_bytes=2048)
    pairs = Pairs(token, KEYS, "api", private=Secrecy((), "private"), life=300.0)
    now = float(int(clock.now))
    longest = None
    for length in range(700, 1500):
        values = {"a": codec.encode("x" * length, "a")}
        record = Record(1, b"\x01" * 8, values, "user-42", now, now + 86400)
        try:
            pairs.make(bytes(32), record, 1, now)
        except SessionTooLarge:
            break
        longest = record
    assert longest is not None
    later = longest._replace(version=sys.maxsize)
    pair, left_out = pairs.renew(bytes(32), later, 2**63, now + 0.1234567)
    assert left_out == []
    assert pairs.open(f"Bearer {pair.access}", now + 1).values == {"a": codec.decode(longest.values["a"])}


def test_a_change_that_is_overtaken_stores_nothing_it_has_not_seen(clock: FakeClock) -> None:
    """Each attempt names the version that was looked at."""
    bases: list[int | None] = []

    class Noting(MemoryStore):
        async def commit(self, key: str, change: Change) -> Record:
            bases.append(change.base)
            return await super().commit(key, change)

    app = App(Noting(), clock)
    handle = app.handle(app.sync.issue("user-42"))
    app.sync.change(handle, {"role": "admin"})
    app.sync.change(handle, {}, unset=["role"])
    assert bases == [1, 2]
