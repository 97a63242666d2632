"""Checks are matched and verified before anything may look at them."""

from random import Random

import pytest

from nat.candidate import CandidateType, local_candidate
from nat.machine import Datagram
from nat.path.checks import (
    ANSWER_WITHIN,
    MAX_IN_FLIGHT,
    REPLAY_MEMORY,
    Answer,
    Check,
    Checks,
    Ignored,
    Refusal,
    Rejection,
)
from nat.path.credentials import Role
from nat.path.pair import Pair
from nat.stun.message import ErrorCode, binding_indication, parse
from tests.support.pairs import pair_to
from tests.support.peers import credentials_of

PAIR = pair_to()


def checks_of(role: Role, seed: int = 1) -> Checks:
    return Checks(credentials=credentials_of(role), role=role, rng=Random(seed))


def both() -> tuple[Checks, Checks]:
    return checks_of(Role.CONTROLLING, 1), checks_of(Role.CONTROLLED, 2)


def sent(checks: Checks, *, nomination: int | None = None, now: float = 0.0) -> Datagram:
    payload = checks.request(PAIR, nomination, now)
    return Datagram(PAIR.key.base, PAIR.key.remote, payload)


def answered(checks: Checks, request: Datagram, nomination: int | None = None) -> Datagram:
    payload = checks.response(parse(request.payload), request.source, nomination)
    return Datagram(request.destination, request.source, payload)


def judged(checks: Checks, datagram: Datagram, now: float = 0.1) -> object:
    return checks.judge(parse(datagram.payload), datagram, now)


def test_two_agents_understand_each_other() -> None:
    a, b = both()

    request = sent(a, nomination=3)
    check = judged(b, request)
    answer = judged(a, answered(b, request, nomination=3), now=0.25)

    assert isinstance(check, Check)
    assert (check.key.base, check.key.remote) == (PAIR.key.remote, PAIR.key.base)
    assert (check.use_candidate, check.nomination, check.repeated) == (True, 3, False)
    assert answer == Answer(PAIR.key, PAIR.key.base, 0.25, 3)


def test_an_answer_counts_once() -> None:
    a, b = both()
    answer = answered(b, sent(a))

    assert isinstance(judged(a, answer), Answer)
    assert judged(a, answer) is Ignored.NOT_ASKED


def test_an_answer_that_is_too_late_does_not_count() -> None:
    a, b = both()
    answer = answered(b, sent(a))

    assert judged(a, answer, now=ANSWER_WITHIN + 0.1) is Ignored.NOT_ASKED


def test_a_check_that_was_seen_is_recognised_for_a_while() -> None:
    a, b = both()
    request = sent(a)
    judged(b, request)

    for _ in range(REPLAY_MEMORY - 1):
        judged(b, sent(a))
        repeated = judged(b, request)
        assert isinstance(repeated, Check)
        assert repeated.repeated


def test_an_error_is_a_rejection_of_the_pair() -> None:
    a, b = both()
    request = sent(a)
    refusal = b.refusal(parse(request.payload), Refusal(ErrorCode.FORBIDDEN))

    verdict = judged(a, Datagram(request.destination, request.source, refusal))

    assert verdict == Rejection(PAIR.key)


def test_two_agents_of_one_role_refuse_each_other() -> None:
    for role in Role:
        one = checks_of(role)
        credentials = credentials_of(
            Role.CONTROLLED if role is Role.CONTROLLING else Role.CONTROLLING
        )
        other = Checks(credentials=credentials, role=role, rng=Random(2))

        assert judged(one, sent(other)) == Refusal(ErrorCode.ROLE_CONFLICT)


def test_an_indication_is_neither_check_nor_answer() -> None:
    indication = Datagram(PAIR.key.remote, PAIR.key.base, binding_indication(bytes(12)))

    assert judged(checks_of(Role.CONTROLLING), indication) is Ignored.NOT_A_CHECK


def test_the_number_of_checks_in_flight_is_bounded() -> None:
    a, _ = both()
    requests = [sent(a, now=i / 1000) for i in range(2 * MAX_IN_FLIGHT)]

    known = [a.awaits(parse(request.payload).transaction_id) for request in requests]

    assert known == [False] * MAX_IN_FLIGHT + [True] * MAX_IN_FLIGHT


def test_checks_that_cannot_be_answered_any_more_are_forgotten() -> None:
    a, _ = both()
    request = sent(a, now=0.0)

    sent(a, now=ANSWER_WITHIN + 0.1)

    assert not a.awaits(parse(request.payload).transaction_id)


@pytest.mark.parametrize("preference", [0, 7, 65535])
def test_priority_tells_the_reflexive_candidate_that_a_check_may_reveal(preference: int) -> None:
    base = PAIR.key.base
    pair = Pair(
        key=PAIR.key,
        local=local_candidate(CandidateType.HOST, base, base, preference),
        remote=PAIR.remote,
        priority=1,
        announced=True,
        noticed_at=0.0,
        asked_at=None,
        data=PAIR.key.remote,
    )

    message = parse(checks_of(Role.CONTROLLING).request(pair, None, 0.0))

    assert message.priority == (110 << 24) + (preference << 8) + 255


def test_a_relayed_base_reveals_nothing_but_itself() -> None:
    base = PAIR.key.base
    relayed = local_candidate(CandidateType.RELAYED, base, base)
    pair = Pair(
        PAIR.key, relayed, PAIR.remote, 1, announced=True, noticed_at=0.0, asked_at=None, data=None
    )

    message = parse(checks_of(Role.CONTROLLING).request(pair, None, 0.0))

    assert message.priority == relayed.priority
