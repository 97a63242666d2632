"""When a pair is checked next, rule by rule."""

import math
from dataclasses import replace
from random import Random

import pytest

from nat.path.pair import Pair
from nat.path.schedule import (
    BURST_CHECKS,
    CROWD,
    HUNT_INTERVALS,
    SETTLED_SAMPLES,
    Rhythm,
    hunt_interval,
    next_check,
    next_turn,
)
from tests.support.network import endpoint
from tests.support.pairs import pair_to

LOST = Rhythm(connected=False, active=False, silent=False, drives=True)
IDLE = Rhythm(connected=True, active=False, silent=False, drives=True)
IDLE_PASSIVE = Rhythm(connected=True, active=False, silent=False, drives=False)
ACTIVE = Rhythm(connected=True, active=True, silent=False, drives=True)
SILENT = Rhythm(connected=True, active=True, silent=True, drives=True)
SILENT_IDLE = Rhythm(connected=True, active=False, silent=True, drives=True)


def settled(*, selected: bool = False) -> Pair:
    """A valid pair, checked and answered at 10 s."""
    pair = pair_to()
    for _ in range(SETTLED_SAMPLES):
        pair.sent(0.05, 10.0)
        pair.answered(endpoint("192.0.2.1"), 0.02, 10.02)
    pair.selected = selected
    return pair


def test_a_new_pair_is_due_at_once() -> None:
    assert next_check(pair_to(now=3.0), LOST) == 3.0


def test_a_pair_that_was_asked_for_is_due_at_once_whatever_the_rhythm() -> None:
    for rhythm in (LOST, IDLE, ACTIVE, SILENT):
        pair = settled()
        pair.ask(11.0)
        pair.ask(12.0)
        assert next_check(pair, rhythm) == 11.0


def test_a_hunt_goes_on_at_its_own_intervals() -> None:
    pair = pair_to()
    pair.sent(0.4, 10.0)

    assert next_check(pair, LOST) == 10.4
    assert next_check(pair, ACTIVE) == 10.4
    assert next_check(pair, IDLE) == 10.4


def test_an_idle_peer_is_spared_hunting_after_the_dense_head() -> None:
    pair = pair_to()
    for _ in range(BURST_CHECKS + 1):
        pair.sent(0.8, 10.0)

    assert next_check(pair, IDLE) == math.inf
    assert next_check(pair, ACTIVE) == 10.8
    assert next_check(pair, LOST) == 10.8


@pytest.mark.parametrize(
    ("rhythm", "selected", "due"),
    [
        (ACTIVE, True, 10.4),
        (ACTIVE, False, 15.0),
        (IDLE, True, 70.0),
        (IDLE, False, math.inf),
        (IDLE_PASSIVE, True, 70.0),
    ],
)
def test_a_valid_pair_is_measured_as_its_peer_is_busy(
    rhythm: Rhythm, selected: bool, due: float
) -> None:
    assert next_check(settled(selected=selected), rhythm) == due


def test_the_controlled_side_of_an_idle_peer_waits_to_be_checked() -> None:
    pair = settled(selected=True)
    pair.heard_at = 65.0

    assert next_check(pair, IDLE_PASSIVE) == 65.0 + 90.0
    assert next_check(pair, IDLE) == 70.0


def test_a_valid_pair_is_measured_quickly_until_its_time_is_known() -> None:
    pair = pair_to()
    pair.sent(0.05, 10.0)
    pair.answered(endpoint("192.0.2.1"), 0.02, 10.02)

    for rhythm in (IDLE, ACTIVE):
        assert next_check(pair, rhythm) == 10.1


def test_an_unanswered_check_of_a_valid_pair_is_repeated_soon() -> None:
    pair = settled(selected=True)
    pair.sent(0.05, 70.0)

    for rhythm in (IDLE, ACTIVE):
        assert next_check(pair, rhythm) == pytest.approx(70.15)


def test_an_unanswered_check_of_a_slow_pair_waits_for_its_round_trip() -> None:
    pair = settled(selected=True)
    for _ in range(5):
        pair.samples.append(0.4)
    pair.sent(0.05, 70.0)

    assert next_check(pair, ACTIVE) == pytest.approx(70.5)


def test_the_controlled_side_of_an_active_peer_waits_to_be_checked_too() -> None:
    pair = settled(selected=True)
    pair.heard_at = 10.3

    assert next_check(pair, replace(ACTIVE, drives=False)) == pytest.approx(10.9)


def test_many_active_peers_share_the_pace() -> None:
    selected, other = settled(selected=True), settled()

    for active, by in ((1, 1.0), (CROWD, 1.0), (10 * CROWD, 10.0)):
        crowded = replace(ACTIVE, active_peers=active)
        assert next_check(selected, crowded) == pytest.approx(10.0 + 0.4 * by)
        assert next_check(other, crowded) == pytest.approx(10.0 + 5.0 * by)


def test_a_silent_pair_is_asked_seldom() -> None:
    pair = settled(selected=True)
    pair.sent(0.05, 70.0)

    assert next_check(pair, SILENT) == 75.0
    assert next_check(pair, SILENT_IDLE) == 100.0


def test_turns_come_each_30_seconds_and_later_for_who_is_checked() -> None:
    assert next_turn(100.0, 120.0, IDLE) == 130.0
    assert next_turn(100.0, 120.0, IDLE_PASSIVE) == 165.0


def test_the_head_of_a_hunt_is_regular_and_the_rest_varies() -> None:
    for seed in range(50):
        intervals = [hunt_interval(attempt, Random(seed)) for attempt in range(30)]
        assert tuple(intervals[:BURST_CHECKS]) == HUNT_INTERVALS[:BURST_CHECKS]
        assert max(intervals) < 30.0
    assert len({hunt_interval(20, Random(seed)) for seed in range(50)}) == 50
