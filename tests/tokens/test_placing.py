"""What travels in a token and what stays on the server: only the overflow, and what is private."""

from __future__ import annotations

import os
import random

import pytest

from holdfast import Record, SessionTooLarge
from holdfast.tokens import Secrecy
from holdfast.tokens.placing import Placed, place


def placed(
    values: dict[str, int],
    most: int,
    *,
    private: set[str] | None = None,
    beside: set[str] | None = None,
    may_spill: bool = True,
) -> Placed:
    """Place values of so many bytes; a token has a byte for each byte of a value and of a name, and one around each."""
    record = Record(1, os.urandom(8), {name: b"x" * size for name, size in values.items()}, None, 0.0, 1.0)

    def seal(travelling: Record, held: frozenset[str]) -> bytes:
        names = b"".join(name.encode() + b"," for name in sorted(held))
        return names + b"".join(name.encode() + data for name, data in travelling.values.items())

    return place(
        record,
        private=Secrecy(private or (), "private"),
        beside=beside or (),
        may_spill=may_spill,
        most=most,
        seal=seal,
        size=len,
    )


def test_what_fits_travels() -> None:
    """To the last byte."""
    assert placed({"a": 9, "b": 9}, 20).held == {}
    assert placed({"a": 9, "b": 10}, 20).held.keys() == {"b"}


def test_only_the_overflow_stays() -> None:
    """The largest values first, so that few stay behind."""
    assert placed({"a": 10, "b": 500, "c": 20, "d": 400}, 600).held.keys() == {"b"}
    assert placed({"a": 10, "b": 500, "c": 20, "d": 400}, 100).held.keys() == {"b", "d"}


def test_what_was_held_is_held_on() -> None:
    """Beside the token that it travels in again: not a value that never was, and not one that is gone."""
    found = placed({"a": 10, "b": 20, "c": 30}, 60, beside={"b", "c", "gone"})
    assert found.held.keys() == {"b", "c"}
    assert found.token.count(b"x") == 30  # and c, which is the overflow, on the server alone


def test_private_values_stay_whatever_their_size() -> None:
    """By name and by prefix; they are never handed to the sealing at all."""
    found = placed({"oauth_a": 1, "oauth_b": 1, "secret": 1, "rest": 1}, 1000, private={"oauth_*", "secret"})
    assert found.held.keys() == {"oauth_a", "oauth_b", "secret"}
    assert b"x" * 2 not in found.token


def test_too_large_names_the_largest_keys() -> None:
    """The three largest with their sizes, the limit, and what to do."""
    values = {"tiny": 1, "huge": 900, "large": 300, "medium": 200}
    with pytest.raises(SessionTooLarge) as caught:
        placed(values, 100, may_spill=False)
    text = str(caught.value)
    assert "'huge' (904 bytes), 'large' (305 bytes), 'medium' (206 bytes)" in text
    assert "tiny" not in text
    assert "100 are allowed" in text
    assert "spill=" in text


def test_names_alone_can_be_too_much() -> None:
    """What the server holds is named in the token; if even that does not fit, it is said and not looped over."""
    with pytest.raises(SessionTooLarge):
        placed({f"a very long name {number:0100}": 1 for number in range(50)}, 500)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_can_be_placed_is_placed(seed: int) -> None:
    """Sessions of many values, with guesses of sizes that are wrong: never refused while something could still go."""
    rng = random.Random(seed)
    values = {f"k{number}": rng.choice([1, 3, 30, 300]) for number in range(rng.randrange(1, 200))}
    most = sum(len(name) + 1 for name in values) + rng.randrange(0, 2000)
    sealed: list[int] = []
    record = Record(1, os.urandom(8), {name: b"x" * size for name, size in values.items()}, None, 0.0, 1.0)

    def seal(travelling: Record, held: frozenset[str]) -> bytes:
        # A byte of a value makes a tenth of a byte: four thirds are a bad guess.
        sealed.append(len(held))
        size = sum(len(name) + 1 for name in held)
        return b"." * (
            size + sum(len(name) + 1 + len(data) // 10 for name, data in travelling.values.items())
        )

    found = place(record, private=Secrecy((), "private"), may_spill=True, most=most, seal=seal, size=len)
    assert len(found.token) <= most
    assert len(sealed) <= 8  # bounded work
