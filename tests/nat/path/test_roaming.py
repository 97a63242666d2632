"""What happens when the data plane sends elsewhere than to the selected pair."""

import math

import pytest

from nat.candidate import CandidateType, is_reachable_address, local_candidate
from nat.machine import Endpoint
from nat.path.checklist import Checklist
from nat.path.credentials import Role
from nat.path.events import DataReport
from nat.path.evidence import DataEvidence
from nat.path.pair import Pair, PairKey
from nat.path.roaming import ANSWER_WITHIN, INSISTENCE, Adopt, Reassert, Roaming
from tests.support.network import endpoint

BASE = endpoint("192.0.2.1")
CHOSEN, OTHER, UNKNOWN = (endpoint(f"203.0.113.{i}") for i in (1, 2, 3))


class Scene:
    """A selected and another valid pair, and a data plane that may send anywhere."""

    def __init__(self) -> None:
        self.checklist = Checklist(role=Role.CONTROLLING, may_check=is_reachable_address)
        self.evidence = DataEvidence()
        self.roaming = Roaming(checklist=self.checklist, evidence=self.evidence)
        self.checklist.set_local([local_candidate(CandidateType.HOST, BASE, BASE)], 0.0)
        remote = [local_candidate(CandidateType.HOST, e, e) for e in (CHOSEN, OTHER)]
        self.checklist.set_remote(remote, 0.0)
        for pair in self.checklist:
            pair.answered(BASE, 0.02, 0.0)
        self.received = 0

    def pair(self, remote: Endpoint) -> Pair:
        pair = self.checklist.get(PairKey(BASE, remote))
        assert pair is not None
        return pair

    def report(self, sends_to: Endpoint | None, now: float, *, arriving: bool = False) -> None:
        self.received += 100 * arriving
        self.evidence.report(DataReport(sends_to, self.received, 0, None), now)
        self.roaming.observe(self.pair(CHOSEN), now)

    def step(self, now: float, *, drives: bool = True) -> Adopt | Reassert | None:
        return self.roaming.step(self.pair(CHOSEN), drives=drives, now=now)


@pytest.mark.parametrize("sends_to", [CHOSEN, None])
def test_nothing_is_disputed_while_data_goes_where_it_should(sends_to: Endpoint | None) -> None:
    scene = Scene()

    scene.report(sends_to, 1.0)

    assert scene.roaming.next_timeout() == math.inf
    assert scene.step(100.0) is None


def test_an_unknown_endpoint_is_checked_and_adopted_if_it_answers() -> None:
    scene = Scene()

    scene.report(UNKNOWN, 1.0)
    learned = scene.pair(UNKNOWN)
    assert learned.remote.type is CandidateType.PEER_REFLEXIVE
    assert learned.asked_at == 1.0
    assert scene.step(1.5) is None

    learned.answered(BASE, 0.02, 1.6)
    assert scene.step(1.6) == Adopt(learned, insisted=False)
    assert scene.step(9.0) is None


def test_an_unknown_endpoint_that_does_not_answer_is_called_back() -> None:
    scene = Scene()
    scene.report(UNKNOWN, 1.0)

    assert scene.roaming.next_timeout() == 1.0 + ANSWER_WITHIN
    assert scene.step(1.9) is None
    assert scene.step(2.0) == Reassert(UNKNOWN)
    assert scene.step(2.1) is None


def test_nothing_is_called_back_to_a_pair_that_is_itself_in_doubt() -> None:
    scene = Scene()
    scene.report(UNKNOWN, 1.0)

    for at in (1.5, 1.65):
        scene.pair(CHOSEN).sent(0.0, at)

    assert scene.step(2.0) is None


def test_an_endpoint_that_no_peer_can_have_is_called_back_at_once() -> None:
    scene = Scene()

    scene.report(endpoint("127.0.0.1"), 1.0)

    assert scene.step(1.0) == Reassert(endpoint("127.0.0.1"))


def test_data_that_keeps_coming_by_another_valid_pair_is_followed_by_who_nominates() -> None:
    for drives in (True, False):
        scene = Scene()
        for second in range(3):
            scene.report(OTHER, 1.0 + second, arriving=True)
            assert scene.step(1.0 + second, drives=drives) is None

        verdict = scene.step(1.0 + INSISTENCE, drives=drives)

        assert verdict == (Adopt(scene.pair(OTHER), insisted=True) if drives else None)


def test_one_late_packet_of_an_old_path_is_not_followed() -> None:
    scene = Scene()
    scene.report(CHOSEN, 0.5)
    scene.report(OTHER, 1.0, arriving=True)
    scene.report(OTHER, 2.0)
    scene.report(OTHER, 3.0)

    assert scene.step(1.0 + INSISTENCE) == Reassert(OTHER)


def test_a_dispute_ends_when_data_returns() -> None:
    scene = Scene()
    scene.report(UNKNOWN, 1.0)

    scene.report(CHOSEN, 1.5)

    assert scene.roaming.next_timeout() == math.inf
