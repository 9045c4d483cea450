"""What is held on the server for a session that travels: one record, which ends with it."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from holdfast import Record, SessionGone, SessionTooLarge
from holdfast._colour import run
from holdfast.stores.guard import Guard
from holdfast.tokens.held import Held
from recording import RecordingStore

KEY = "a" * 64
SESSION = Record(1, b"12345678", {}, "ann", 1_000.0, 2_000.0)


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore()


def keep(
    store: RecordingStore,
    before: Record | None,
    values: dict[str, bytes],
    seen: Collection[str] = (),
    session: Record = SESSION,
    now: float = 1_500.0,
) -> Record | None:
    return run(Held(Guard(store)).keep(KEY, before, values, seen, session, now))


def test_nothing_to_hold_is_nothing_to_do(store: RecordingStore) -> None:
    """Sessions that travel whole cost no command."""
    assert keep(store, None, {}) is None
    assert store.taken() == []


def test_what_is_held(store: RecordingStore) -> None:
    """The values, the owner, and the session's own times; the same again is no command."""
    held = keep(store, None, {"a": b"1"})
    assert held is not None
    assert (held.values, held.owner, held.created_at, held.expires_at) == (
        {"a": b"1"},
        "ann",
        1_000.0,
        2_000.0,
    )
    assert store.taken() == ["create"]
    assert keep(store, held, {"a": b"1"}, {"a"}) is held
    assert store.taken() == []


def test_what_travels_here_may_be_held_for_another_tab(store: RecordingStore) -> None:
    """It has spilled there meanwhile, and that tab's token counts on it: whoever knew of no record removes nothing."""
    keep(store, None, {"big": b"1"})
    kept = keep(store, None, {"mine": b"2"}, {"big"})
    assert kept is not None
    assert kept.values == {"big": b"1", "mine": b"2"}


def test_only_what_was_shown_is_removed(store: RecordingStore) -> None:
    """Another tab's value, which this one has never seen, stays."""
    first = keep(store, None, {"a": b"1"})
    keep(store, first, {"a": b"1", "theirs": b"2"}, {"a"})
    kept = keep(store, first, {"mine": b"3"}, {"a"})
    assert kept is not None
    assert kept.values == {"theirs": b"2", "mine": b"3"}


def test_held_before_by_an_earlier_token(store: RecordingStore) -> None:
    """A token that knows of nothing held meets what is left of an earlier one, and goes on from it."""
    held = keep(store, None, {"a": b"1"})
    keep(store, held, {}, {"a"})
    again = keep(store, None, {"a": b"2"})
    assert again is not None
    assert again.values == {"a": b"2"}


@pytest.mark.parametrize("knows", [False, True])
def test_an_ended_session_is_not_brought_back(store: RecordingStore, knows: bool) -> None:
    """By a late request, whether it had loaded what was held or not (CVE-2025-46336)."""
    held = keep(store, None, {"a": b"1"})
    assert held is not None
    run(Held(Guard(store)).end(KEY, held, 1_500.0, moves=False))
    with pytest.raises(SessionGone):
        keep(store, held if knows else None, {"b": b"2"})
    ended = run(Held(Guard(store)).load(KEY))
    assert ended is not None
    assert (ended.ended, ended.values) == (True, {})


def test_deadlines_only_grow(store: RecordingStore) -> None:
    """A slow tab's earlier deadline does not take back what another has put off."""
    held = keep(store, None, {"a": b"1"}, session=SESSION._replace(expires_at=3_000.0))
    later = keep(store, held, {"a": b"2"}, {"a"})
    assert later is not None
    assert later.expires_at == 3_000.0


@pytest.mark.parametrize("before", [False, True])
def test_too_large_for_the_store(store: RecordingStore, before: bool) -> None:
    """Refused before the store is asked."""
    store.max_bytes = 100
    held = keep(store, None, {"a": b"1"}) if before else None
    store.taken()
    with pytest.raises(SessionTooLarge, match="'big'"):
        keep(store, held, {"big": b"x" * 101})
    assert store.taken() == []
