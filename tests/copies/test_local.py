"""An instance's own copies, by themselves: what is kept, what goes first, and what is never handed out."""

from __future__ import annotations

import os
from hashlib import sha256

import pytest

from holdfast.copies.local import LocalCopies, Moment
from holdfast.record import Record

AGE = 5.0


def key(number: int) -> str:
    return sha256(b"%d" % number).hexdigest()


def record(version: int = 1, tag: bytes = b"12345678", size: int = 3) -> Record:
    return Record(version, tag, {"n": b"x" * size}, "ann", 1.0, 9e9)


def at(seconds: float) -> Moment:
    return Moment(seconds, seconds)


@pytest.fixture
def copies() -> LocalCopies:
    return LocalCopies(2**20)


def test_a_copy_says_what_was_put(copies: LocalCopies) -> None:
    """However often it is asked for, and whatever else there is."""
    copies.put(key(1), record(), at(0))
    copies.put(key(2), record(9), at(0))
    for _ in range(3):
        assert copies.get(key(1), AGE, at(1)) == record()
    assert copies.get(key(3), AGE, at(1)) is None


@pytest.mark.parametrize("now", [at(5.1), at(-0.1), Moment(1, 5.1), Moment(5.1, 1)])
def test_its_age_is_judged_each_time(copies: LocalCopies, now: Moment) -> None:
    """By both clocks, whether it has been read before or not; also while it is too old, it stays."""
    copies.put(key(1), record(), at(0))
    assert copies.get(key(1), AGE, now) is None
    assert copies.get(key(1), AGE, at(5)) == record()
    assert copies.get(key(1), AGE, now) is None
    assert copies.get(key(1), AGE, at(5)) == record()


def test_the_same_record_again_is_younger(copies: LocalCopies) -> None:
    """Read from the store once more: it is as old as that reading."""
    copies.put(key(1), record(), at(0))
    assert copies.get(key(1), AGE, at(1)) == record()
    copies.put(key(1), record(), at(4))
    assert copies.get(key(1), AGE, at(9)) == record()
    assert copies.get(key(1), AGE, at(9.1)) is None
    assert copies.get(key(1), AGE, at(3)) is None


@pytest.mark.parametrize("was_read", [False, True])
def test_the_newer_version_stays(copies: LocalCopies, was_read: bool) -> None:
    """A slow reader does not put an older record into its place; of one version, the later word counts."""
    for version in (255, 256, 2**40):
        copies.put(key(1), record(version), at(0))
        if was_read:
            assert copies.get(key(1), AGE, at(1)) == record(version)
        copies.put(key(1), record(version - 1), at(1))
        assert copies.get(key(1), AGE, at(1)) == record(version)
    copies.put(key(1), record(2**40, b"87654321"), at(1))
    assert copies.get(key(1), AGE, at(1)) == record(2**40, b"87654321")


def test_a_dropped_copy_is_gone(copies: LocalCopies) -> None:
    """Although it has been read a moment ago."""
    copies.put(key(1), record(), at(0))
    assert copies.get(key(1), AGE, at(0)) == record()
    copies.drop(key(1))
    copies.drop(key(2))
    assert copies.get(key(1), AGE, at(0)) is None
    assert len(copies) == 0


def test_what_is_used_stays_when_others_have_to_go() -> None:
    """Of those that nobody reads, the oldest ones go."""
    copies = LocalCopies(100_000)
    for number in range(1000):
        copies.put(key(number), record(size=500), at(0))
        assert copies.get(key(0), AGE, at(0)) == record(size=500)
        assert len(copies) <= 110
    assert copies.get(key(1), AGE, at(0)) is None
    assert copies.get(key(999), AGE, at(0)) == record(size=500)


def test_what_is_read_takes_little_more_memory() -> None:
    """Copies that were read are kept unpacked besides: few of them, however many are read."""
    copies = LocalCopies(10 * 2**20)
    for number in range(2000):
        copies.put(key(number), record(size=500), at(0))
        copies.get(key(number), AGE, at(0))
    assert len(copies) == 2000
    kept = [one for one, _, _ in copies._unpacked.values()]
    assert 0 < sum(len(one.values["n"]) for one in kept) <= 10 * 2**20 // 64
    copies.put(key(1), record(2, size=300_000), at(1))
    assert copies.get(key(1), AGE, at(1)) == record(2, size=300_000)
    assert key(1) not in copies._unpacked


def test_a_forked_child_begins_empty(copies: LocalCopies) -> None:
    """What the parent writes from then on, it would not hear of. The parent keeps what it has."""
    copies.put(key(1), record(), at(0))
    assert copies.get(key(1), AGE, at(0)) == record()
    if (child := os.fork()) == 0:
        seen = (copies.get(key(1), AGE, at(0)), len(copies))
        copies.put(key(2), record(), at(0))
        os._exit(0 if seen == (None, 0) and copies.get(key(2), AGE, at(0)) == record() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert copies.get(key(1), AGE, at(0)) == record()
