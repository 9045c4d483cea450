"""Each seeded fault does what its name says, over a real store; and each is caught in a trial on real processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from longer_trials import longer_trials

from holdfast.errors import ConfigError, SessionGone
from holdfast.lab import faults
from holdfast.lab.checker import VIOLATIONS
from holdfast.lab.strategies import Strategy
from holdfast.record import Change, Record
from holdfast.sessions import Sessions
from holdfast.stores import Store, from_url
from holdfast.testing import conformance

NOW = 1_800_000_000.0
LATER = NOW + 600


def record(**values: bytes) -> Record:
    return Record(1, b"tag-0001", values, "b3", NOW, LATER)


def change(tag: bytes, base: int | None = None, **values: bytes) -> Change:
    return Change(tag=tag, now=NOW + 1, set=values, base=base)


TOMBSTONE = Record(2, b"tag-over", {}, None, NOW + 1, LATER, ended=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return from_url(f"sqlite:///{tmp_path / 'sessions.db'}")


def test_an_unknown_fault_is_refused(store: Store) -> None:
    """The error names those that there are."""
    with pytest.raises(ValueError, match="upsert, unchecked, blob, early"):
        faults.wrap(store, "gremlin")


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_faults_are_for_async_callers(store: Store, fault: str) -> None:
    """A sync caller is told so at once."""
    with pytest.raises(ConfigError):
        _ = Sessions(faults.wrap(store, fault), keys="k" * 43).sync


def test_without_a_fault_the_store_is_as_good_as_ever(tmp_path: Path) -> None:
    """What the faults are made from adds none of its own."""
    path = tmp_path / "sessions.db"
    conformance(lambda: faults.Faultless(from_url(f"sqlite:///{path}")))


@pytest.mark.parametrize(("fault", "kept"), [("upsert", {"b": b"2"}), ("unchecked", {"a": b"1", "b": b"2"})])
async def test_ended_sessions_come_back(store: Store, fault: str, kept: dict[str, bytes]) -> None:
    """With what the slow request wrote, or with everything that it had loaded."""
    faulty = faults.wrap(store, fault)
    await faulty.create("key", record(a=b"1"))

    async def slow_request() -> None:
        await faulty.load("key")
        await faulty.end("key", TOMBSTONE)
        await faulty.commit("key", change(b"tag-slow", b=b"2"))

    await asyncio.create_task(slow_request())
    revived = await faulty.load("key")
    assert revived is not None
    assert not revived.ended
    assert dict(revived.values) == kept


@pytest.mark.parametrize("fault", ["blob", "early"])
async def test_the_other_faults_revive_nothing(store: Store, fault: str) -> None:
    """Each fault is one fault."""
    faulty = faults.wrap(store, fault)
    await faulty.create("key", record(a=b"1"))
    await faulty.load("key")
    await faulty.end("key", TOMBSTONE)
    with pytest.raises(SessionGone):
        await faulty.commit("key", change(b"tag-slow", b=b"2"))


async def test_blob_saves_what_the_request_had_loaded(store: Store) -> None:
    """Two requests at once: the slower one saves the session as it was before the other."""
    faulty = faults.wrap(store, "blob")
    await faulty.create("key", record(a=b"1"))
    loaded = asyncio.Event()
    saved = asyncio.Event()

    async def slow() -> None:
        await faulty.load("key")
        loaded.set()
        await saved.wait()
        await faulty.commit("key", change(b"tag-slow", c=b"3"))

    async def fast() -> None:
        await loaded.wait()
        await faulty.load("key")
        await faulty.commit("key", change(b"tag-fast", a=b"9", b=b"2"))
        saved.set()

    await asyncio.gather(slow(), fast())
    stored = await faulty.load("key")
    assert stored is not None
    assert dict(stored.values) == {"a": b"1", "c": b"3"}


async def test_early_answers_before_the_commit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The change is acknowledged, not there, and there a moment later."""
    monkeypatch.setattr(faults, "WRITE_BEHIND", 1.0)  # whatever else the machine does, we read before that
    faulty = faults.wrap(store, "early")
    await faulty.create("key", record(a=b"1"))
    answered = await faulty.commit("key", change(b"tag-soon", b=b"2"))
    assert dict(answered.values) == {"a": b"1", "b": b"2"}
    before = await faulty.load("key")
    assert before is not None
    assert dict(before.values) == {"a": b"1"}
    async with asyncio.timeout(60):
        while (after := await faulty.load("key")) is None or "b" not in after.values:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("upsert", "revived"),
        pytest.param("unchecked", "revived", marks=pytest.mark.proof),
        ("blob", "updates_lost"),
        ("early", "false_acks"),
        (None, ""),
    ],
)
async def test_every_fault_is_caught_on_real_processes(tmp_path: Path, fault: str | None, kind: str) -> None:
    """The same churn and the same shoppers: each fault is found in its own category, and Holdfast keeps it all."""
    strategy = Strategy(
        f"fault: {fault}", "holdfast", store=f"sqlite:///{tmp_path / 'sessions.db'}", fault=fault
    )
    seconds = 6.0 if kind == "revived" else 4.0  # nothing is revived before the first have signed out
    async for outcome in longer_trials(strategy, seconds, users=40, min_instances=1, max_instances=4):
        assert all(violation.kind in VIOLATIONS for violation in outcome.violations)
        assert fault is not None or outcome.violations == []
        row = outcome.row
        if row["instances_killed"] >= 2 and row["sessions"] >= 20 and (fault is None or row[kind] >= 3):
            break
