"""Candidate pairs: priority, time measured, loss, veto."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.candidate import CandidateType, compute_priority
from nat.path.events import Outcome, PairState
from nat.path.pair import (
    ANSWER_WITHIN,
    DENSE_TRIGGERS,
    FIRST_VETO,
    LAST_TRIGGER,
    LAST_VETO,
    LOST_AFTER,
    pair_priority,
)
from tests.support.network import endpoint
from tests.support.pairs import pair_to

MAPPED = endpoint("192.0.2.1")
PRIORITIES = st.integers(0, 2**32 - 1)


def test_priority_is_that_of_rfc_8445_section_6_1_2_3() -> None:
    host, srflx = (
        compute_priority(kind) for kind in (CandidateType.HOST, CandidateType.SERVER_REFLEXIVE)
    )

    assert pair_priority(host, srflx) == (srflx << 32) + 2 * host + 1
    assert pair_priority(srflx, host) == (srflx << 32) + 2 * host
    assert pair_priority(host, host) == (host << 32) + 2 * host


@given(PRIORITIES, PRIORITIES)
def test_the_worse_end_decides_the_priority(controlling: int, controlled: int) -> None:
    assert pair_priority(controlling, controlled) >> 32 in (
        min(controlling, controlled),
        min(controlling, controlled) + 1,  # twice the larger may carry over
    )


def test_the_round_trip_time_is_a_median_that_forgets_the_first_answer() -> None:
    pair = pair_to()
    assert pair.rtt is None

    for i, rtt in enumerate([1.0, 0.02, 0.03, 0.02, 0.5]):
        pair.answered(MAPPED, rtt, float(i))

    assert pair.rtt == 0.03
    pair.answered(MAPPED, 0.02, 5.0)
    assert pair.rtt == 0.02


def test_is_overdue_after_three_checks_and_the_time_of_an_answer() -> None:
    pair = pair_to()
    pair.answered(MAPPED, 0.02, 0.0)

    for at in (10.0, 10.2):
        pair.sent(0.0, at)
        assert pair.overdue_at() is None
    pair.sent(0.0, 10.4)

    assert pair.overdue_at() == pytest.approx(10.55)
    assert not pair.overdue(10.54)
    assert pair.overdue(10.56)
    pair.answered(MAPPED, 0.02, 10.56)
    assert not pair.overdue(10.56)


def test_is_not_overdue_before_half_a_second_has_passed() -> None:
    pair = pair_to()
    pair.answered(MAPPED, 0.02, 0.0)

    for at in (10.0, 10.15, 10.3):
        pair.sent(0.0, at)

    assert pair.overdue_at() == pytest.approx(10.0 + LOST_AFTER)


def test_a_check_has_a_round_trip_and_a_quarter_to_be_answered() -> None:
    pair = pair_to()

    pair.answered(MAPPED, 0.02, 0.0)
    assert pair.answer_time == ANSWER_WITHIN
    for at in (1.0, 2.0):
        pair.answered(MAPPED, 0.4, at)
    assert pair.answer_time == pytest.approx(0.5)


def test_late_answers_to_older_checks_measure_nothing() -> None:
    pair = pair_to()
    pair.answered(MAPPED, 0.02, 1.0)

    for at in (10.0, 10.15, 10.3):
        pair.sent(0.0, at)
    for at in (10.0, 10.15, 10.3):
        pair.answered(MAPPED, 10.5 - at, 10.5)

    assert list(pair.samples) == [0.02, pytest.approx(0.2)]


def test_knows_when_it_first_answered_after_a_moment() -> None:
    pair = pair_to()

    for at in (1.0, 2.0, 3.0):
        pair.answered(MAPPED, 0.02, at)

    assert pair.first_answer_since(1.5) == 2.0
    assert pair.first_answer_since(3.1) is None
    assert pair.first_answer_since(None) is None
    pair.fail(4.0)
    assert pair.first_answer_since(1.5) is None, "a pair that failed proves nothing"


def test_a_slow_pair_has_three_round_trips() -> None:
    pair = pair_to()
    pair.answered(MAPPED, 2.0, 0.0)

    for at in (10.0, 10.3, 10.6, 10.9):
        pair.sent(0.0, at)

    assert pair.overdue_at() == pytest.approx(16.0)


def test_a_pair_that_never_answered_is_never_overdue() -> None:
    pair = pair_to()

    for at in range(20):
        pair.sent(0.0, float(at))

    assert pair.overdue_at() is None


def test_vetoes_double_up_to_half_an_hour() -> None:
    pair = pair_to()
    pair.answered(MAPPED, 0.02, 0.0)

    lengths = []
    for _ in range(8):
        pair.veto(100.0)
        lengths.append(pair.vetoed_until - 100.0)

    assert lengths == [FIRST_VETO * 2**i for i in range(5)] + [LAST_VETO] * 3
    assert not pair.usable(100.0)
    assert pair.usable(100.0 + LAST_VETO)


def test_triggers_are_put_off_ever_longer_while_they_do_not_help() -> None:
    pair = pair_to()
    pair.sent(25.0, 0.0)
    triggered = []
    now = 0.0

    while now < 60.0:
        now += 0.005
        pair.trigger(now, densely=True)
        if pair.asked_at is not None:
            triggered.append(now)
            pair.sent(25.0, now)

    gaps = [round(after - before, 1) for before, after in pairwise(triggered)]
    assert len(triggered) < 20
    assert gaps == sorted(gaps)
    assert gaps[-1] == pytest.approx(LAST_TRIGGER, abs=0.02)


def test_only_the_first_triggers_begin_a_hunt_anew() -> None:
    pair = pair_to()
    attempts = []

    for i in range(DENSE_TRIGGERS + 2):
        pair.trigger(100.0 * i, densely=True)
        pair.sent(1.0, 100.0 * i)
        attempts.append(pair.attempt)

    assert attempts == [1] * DENSE_TRIGGERS + [2, 3]
    pair.hunt(1000.0)
    pair.sent(1.0, 1000.0)
    assert pair.attempt == 1


def test_its_state_is_told_in_the_words_of_rfc_8445() -> None:
    pair = pair_to()
    states = [pair.report(0.0).state]

    pair.sent(0.05, 0.0)
    states.append(pair.report(0.0).state)
    for _ in range(10):
        pair.sent(0.05, 1.0)
    states.append(pair.report(1.0).state)
    pair.answered(MAPPED, 0.02, 2.0)
    states.append(pair.report(2.0).state)
    pair.veto(3.0)
    states.append(pair.report(3.0).state)

    assert states == [
        PairState.WAITING,
        PairState.IN_PROGRESS,
        PairState.FAILED,
        PairState.VALID,
        PairState.VETOED,
    ]
    assert pair.report(5.0).last_answer_age == 3.0


def test_what_became_of_it_last_is_told_with_its_age() -> None:
    pair = pair_to()

    def outcome(now: float) -> tuple[Outcome, float | None]:
        report = pair.report(now)
        return report.outcome, report.outcome_age

    assert outcome(1.0) == (Outcome.UNTRIED, None)
    pair.sent(0.05, 2.0)
    assert outcome(2.5) == (Outcome.PENDING, 0.5)
    assert outcome(5.0) == (Outcome.NO_ANSWER, 3.0)
    pair.answered(endpoint("192.0.2.1"), 0.02, 6.0)
    assert outcome(8.0) == (Outcome.ANSWERED, 2.0)
    pair.sent(1.0, 9.0)
    assert outcome(9.5) == (Outcome.ANSWERED, 3.5), "the answer may still come"
    assert outcome(10.5) == (Outcome.NO_ANSWER, 1.5)
    pair.answered(endpoint("192.0.2.1"), 0.02, 11.0)
    pair.veto(12.0)
    assert outcome(15.0) == (Outcome.DATA_UNANSWERED, 3.0)
    pair.reject(16.0)
    assert outcome(18.0) == (Outcome.REFUSED, 2.0)
    pair.sent(25.0, 41.0)
    pair.send_error = "ENETUNREACH"
    assert outcome(42.0) == (Outcome.SEND_ERROR, 1.0)
    assert pair.report(42.0).error == "ENETUNREACH"
    pair.sent(25.0, 66.0)
    assert pair.report(66.0).error is None
