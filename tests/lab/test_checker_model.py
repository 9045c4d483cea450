"""The checker against the lab's own shoppers at a model server, of which it is known whether it is right."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_model import simulate

from holdfast.lab.checker import VIOLATIONS, check


@given(seed=st.integers(min_value=0), outage=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_correct_server_is_never_accused(seed: int, outage: bool) -> None:
    """Whatever is lost on the way, happens late or is refused: there is no violation to be found."""
    verdict = check(simulate(seed, users=3, mistake="outage" if outage else None))
    assert verdict.violations == []
    assert verdict.counts["sessions"] > 5


@pytest.mark.parametrize(
    ("mistake", "kind"),
    [
        ("upsert", "revived"),
        ("unchecked", "revived"),
        ("blob", "updates_lost"),
        ("forgetful", "false_acks"),
        ("stale", "stale_reads"),
        ("mixed up", "crossed"),
    ],
)
def test_a_wrong_server_is_accused_of_its_mistake(mistake: str, kind: str) -> None:
    """Every mistake is found in the category that it belongs to."""
    found: Counter[str] = Counter()
    for seed in range(5):
        found.update(check(simulate(seed, mistake=mistake)).counts)
    assert found[kind] >= 10


def test_uncertain_sessions_are_counted_and_not_held_against_the_server() -> None:
    """Where a login's answer was lost, the session may be out of reach."""
    found: Counter[str] = Counter()
    for seed in range(20):
        found.update(check(simulate(seed)).counts)
    assert found["uncertain"] > 0
    assert not any(found[kind] for kind in VIOLATIONS)


def test_the_same_seed_is_the_same_history() -> None:
    """A run can be repeated."""
    assert simulate(7) == simulate(7)
    assert simulate(7) != simulate(8)
