"""Both sides find the same moments, however their clocks and failures differ."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.machine import IPAddress
from nat.prediction.budget import BURST, MAX_ADDRESSES, RATE, Budget
from nat.prediction.schedule import (
    LATEST,
    MAX_LEVEL,
    MEETING_DELAY,
    MIN_GAP,
    PERIOD,
    Schedule,
)
from tests.support.network import endpoint

OFFSET = 1_780_000_000.0


def moments(schedule: Schedule, now: float, count: int, offset: float = OFFSET) -> Iterator[float]:
    """Let every try fail without becoming rarer; yield the wall-clock times of its moments."""
    for _ in range(count):
        now = max(now, schedule.next_try(now, offset, lead=0.0))
        schedule.begin(now)
        yield now + offset


def failed(times: int) -> Schedule:
    schedule = Schedule(phase=17.0)
    for _ in range(times):
        schedule.end(success=False)
    return schedule


def test_the_first_try_follows_the_meeting() -> None:
    schedule = Schedule(phase=0.0)
    schedule.meet(100.0)

    assert schedule.next_try(100.0, None, lead=0.0) == 100.0 + MEETING_DELAY
    assert schedule.next_try(100.0, None, lead=2.0) == 100.0 + MEETING_DELAY - 2.0


@given(now=st.floats(0.0, 1e6), phase=st.floats(0.0, 60.0))
def test_no_moment_comes_before_ordinary_checks_had_their_chance(now: float, phase: float) -> None:
    schedule = Schedule(phase=phase)
    schedule.meet(now)

    assert schedule.next_try(now, OFFSET, lead=0.0) >= now + MEETING_DELAY - 1e-3


def test_without_a_wall_clock_there_is_only_the_meeting() -> None:
    schedule = Schedule(phase=0.0)
    schedule.meet(0.0)
    schedule.begin(MEETING_DELAY)

    assert schedule.next_try(MEETING_DELAY, None, lead=0.0) == float("inf")


@pytest.mark.parametrize("level", range(MAX_LEVEL + 2))
def test_failures_make_tries_rarer_up_to_a_bound(level: int) -> None:
    found = list(moments(failed(level), 0.0, 4))

    step = PERIOD * 2.0 ** min(level, MAX_LEVEL)
    assert [later - earlier for earlier, later in pairwise(found)] == [step] * 3


@given(
    few=st.integers(0, MAX_LEVEL),
    more=st.integers(0, MAX_LEVEL),
    skew=st.floats(-5.0, 5.0),
    start=st.floats(0.0, 5000.0),
)
def test_the_moments_of_who_failed_more_are_among_those_of_the_other(
    few: int, more: int, skew: float, start: float
) -> None:
    few, more = sorted((few, more))
    often = list(moments(failed(few), start, 2 ** (MAX_LEVEL + 2), OFFSET + skew))
    for rare in moments(failed(more), start + LATEST, 2):
        assert min(abs(at - skew - rare) for at in often) <= abs(skew) + LATEST


def test_a_moment_that_has_just_begun_may_still_be_used() -> None:
    schedule = Schedule(phase=0.0)

    assert schedule.next_try(LATEST - 1.0, 0.0, lead=0.0) == 0.0
    assert schedule.next_try(LATEST + 1.0, 0.0, lead=0.0) == PERIOD


@given(now=st.floats(0.0, 1e5), offset=st.floats(-100.0, 100.0), met=st.booleans())
def test_tries_keep_their_distance(now: float, offset: float, met: bool) -> None:
    schedule = Schedule(phase=30.0)
    schedule.begin(now)
    if met:
        schedule.meet(now)

    assert schedule.next_try(now, offset, lead=2.0) >= now + MIN_GAP - 2.0 - 1e-3


def test_success_makes_tries_frequent_again() -> None:
    schedule = failed(3)
    schedule.end(success=True)

    assert schedule.level == 0


# Budget ---------------------------------------------------------------------------------------


def address(number: int) -> IPAddress:
    return endpoint(f"198.51.{number // 256}.{number % 256}").ip


def test_an_address_gets_what_its_budget_allows_whoever_names_it() -> None:
    budget, sent = Budget(), 0
    for second in range(0, 3600, 10):
        probes = min(2048, budget.left(address(1), second))
        budget.spend(address(1), probes, second)
        sent += probes

    assert BURST < sent <= BURST + RATE * 3600.0


def test_budgets_of_different_addresses_are_their_own() -> None:
    budget = Budget()
    budget.spend(address(1), BURST, 0.0)

    assert budget.left(address(1), 0.0) == 0
    assert budget.left(address(2), 0.0) == BURST


def test_an_address_where_a_peer_was_reached_begins_anew() -> None:
    budget = Budget()
    budget.spend(address(1), BURST, 0.0)
    budget.refill([address(1)])

    assert budget.left(address(1), 0.0) == BURST


def test_the_memory_of_addresses_is_bounded_and_keeps_the_latest() -> None:
    budget = Budget()
    for number in range(MAX_ADDRESSES + 1):
        budget.spend(address(number), BURST, float(number))

    assert budget.left(address(0), float(MAX_ADDRESSES)) == BURST
    assert budget.left(address(MAX_ADDRESSES), float(MAX_ADDRESSES)) == 0
