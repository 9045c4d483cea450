"""Nothing is lost, revived or shown twice, in whatever order the steps of some instances are taken."""

from __future__ import annotations

import itertools

import pytest

from .scenarios import CROWDS, PAIRS
from .world import Scenario, every_schedule, random_schedules

_MOST = 500  # orders of one pair, from one end; what is beyond is tried by chance


@pytest.mark.parametrize("scenario", PAIRS, ids=lambda scenario: scenario.name)
def test_orders_of_two_are_right(scenario: Scenario) -> None:
    """Two instances at the same time, in orders of their calls one after the other."""
    for order, violations in itertools.islice(every_schedule(scenario), _MOST):
        assert not violations, order


@pytest.mark.parametrize("scenario", PAIRS, ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("victim", [0, 1])
def test_an_instance_may_die_at_any_call(scenario: Scenario, victim: int) -> None:
    """The same, where one of the two dies before any of its calls."""
    for order, violations in itertools.islice(every_schedule(scenario, victim=victim), _MOST):
        assert not violations, order


@pytest.mark.parametrize("scenario", PAIRS, ids=lambda scenario: scenario.name)
def test_orders_of_two_by_chance_are_right(scenario: Scenario) -> None:
    """The same by chance, where there are too many for trying all, and where any of the two may die."""
    for order, violations in random_schedules(scenario, runs=250, seed=3):
        assert not violations, order


@pytest.mark.parametrize("scenario", CROWDS, ids=lambda scenario: scenario.name)
def test_many_orders_of_a_crowd_are_right(scenario: Scenario) -> None:
    """Three and more at the same time, with deaths, in orders by chance."""
    for order, violations in random_schedules(scenario, runs=200, seed=1):
        assert not violations, order
