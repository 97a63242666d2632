"""What counters prove, and what they do not."""

import math

import pytest

from nat.path.events import DataReport
from nat.path.evidence import DataEvidence
from tests.support.network import endpoint

PEER, OTHER = endpoint("192.0.2.20"), endpoint("192.0.2.21")


class Counters:
    """A data plane by hand, reported each second."""

    def __init__(self) -> None:
        self.evidence = DataEvidence()
        self.now = 0.0
        self.received = 1000
        self.sent = 1000
        self.handshake_at: float | None = None
        self.endpoint = PEER
        self.tick()

    def tick(self, *, received: int = 0, sent: int = 0, seconds: float = 1.0) -> None:
        self.now += seconds
        self.received += received
        self.sent += sent
        age = None if self.handshake_at is None else self.now - self.handshake_at
        self.evidence.report(DataReport(self.endpoint, self.received, self.sent, age), self.now)


def test_traffic_makes_a_peer_active_for_a_minute() -> None:
    counters = Counters()
    assert not counters.evidence.active(counters.now)

    counters.tick(sent=128)

    assert counters.evidence.active(counters.now + 59.9)
    assert not counters.evidence.active(counters.now + 60.0)


def test_keepalives_and_rekeys_do_not_make_a_peer_active() -> None:
    counters = Counters()

    for second in range(600):
        if second % 120 == 0:
            counters.handshake_at = counters.now + 1.0
            counters.tick(sent=148 + 32, received=92 + 32)
        elif second % 25 == 0:
            counters.tick(sent=32, received=32)
        else:
            counters.tick()
        assert not counters.evidence.active(counters.now)


def test_rare_polls_do_not_make_keepalives_look_like_traffic() -> None:
    counters = Counters()

    counters.tick(sent=32 * 12, received=32 * 12, seconds=300.0)

    assert not counters.evidence.active(counters.now)


def test_received_bytes_prove_the_endpoint_while_they_are_fresh() -> None:
    counters = Counters()
    since = counters.now

    counters.tick(received=100)

    assert counters.evidence.proves(PEER, since, counters.now)
    assert not counters.evidence.proves(OTHER, since, counters.now)
    assert not counters.evidence.proves(PEER, since + 0.1, counters.now), "it came in before, maybe"
    assert counters.evidence.proves(PEER, since, counters.now + 2.4)
    assert not counters.evidence.proves(PEER, since, counters.now + 2.5)


def test_a_report_without_growth_proves_nothing_any_more() -> None:
    counters = Counters()
    since = counters.now
    counters.tick(received=100)

    counters.tick()

    assert not counters.evidence.proves(PEER, since, counters.now)


def test_reports_in_quick_succession_do_not_hide_what_comes_in() -> None:
    counters = Counters()
    counters.tick(received=100)

    counters.tick(seconds=0.02)

    assert counters.evidence.delivers(PEER)


def test_data_that_only_leaves_all_of_a_sudden_stalls() -> None:
    counters = Counters()
    counters.tick(sent=1000, received=1000)
    assert not counters.evidence.stalls(PEER)

    counters.tick(sent=1000)
    assert counters.evidence.stalls(PEER)
    assert not counters.evidence.stalls(OTHER)

    counters.tick(sent=1000)
    assert not counters.evidence.stalls(PEER), "it is told once"


def test_a_keepalive_after_data_stalls_nothing() -> None:
    counters = Counters()
    counters.tick(sent=1000, received=1000)

    counters.tick(sent=32)

    assert not counters.evidence.stalls(PEER)


def test_sent_bytes_prove_nothing() -> None:
    counters = Counters()

    counters.tick(sent=10_000)

    assert not counters.evidence.proves(PEER, 0.0, counters.now)
    assert not counters.evidence.supports(PEER, counters.now)


def test_a_quiet_path_is_supported_for_35_seconds_and_an_owing_one_for_15() -> None:
    quiet, owing = Counters(), Counters()
    for counters in (quiet, owing):
        counters.tick(received=100)
    received_at = quiet.now

    owing.tick(sent=128)

    assert quiet.evidence.supports(PEER, received_at + 34.9)
    assert not quiet.evidence.supports(PEER, received_at + 35.0)
    assert owing.evidence.supports(PEER, received_at + 14.9)
    assert not owing.evidence.supports(PEER, received_at + 15.0)
    assert owing.evidence.changes_after(received_at + 1.0) == pytest.approx(received_at + 3.5)
    assert owing.evidence.changes_after(received_at + 4.0) == pytest.approx(received_at + 15.0)
    assert owing.evidence.changes_after(received_at + 15.0) == math.inf


def test_data_is_unanswered_15_seconds_after_it_was_sent() -> None:
    counters = Counters()

    counters.tick(sent=128)
    sent_at = counters.now
    for _ in range(20):
        counters.tick(sent=128)

    assert counters.evidence.unanswered_at() == sent_at + 15.0


@pytest.mark.parametrize("answer", ["bytes", "handshake"])
def test_anything_received_is_an_answer(answer: str) -> None:
    counters = Counters()
    counters.tick(sent=128)

    if answer == "handshake":
        counters.handshake_at = counters.now
    counters.tick(sent=128, received=32 if answer == "bytes" else 0)

    assert counters.evidence.unanswered_at() == math.inf


def test_handshake_initiations_that_nobody_answers_are_unanswered_data() -> None:
    counters = Counters()

    counters.tick(sent=148)

    assert counters.evidence.unanswered_at() == counters.now + 15.0


def test_keepalives_need_no_answer_however_long_none_comes() -> None:
    counters = Counters()

    for second in range(3600):
        counters.tick(sent=32 if second % 25 == 0 else 0)

    assert counters.evidence.unanswered_at() == math.inf


def test_counters_that_go_back_begin_anew() -> None:
    counters = Counters()
    counters.tick(sent=128)

    counters.received, counters.sent = 0, 0
    counters.tick()

    assert counters.evidence.unanswered_at() == math.inf
    assert not counters.evidence.arriving
    counters.tick(received=100)
    assert counters.evidence.arriving


def test_the_first_report_proves_nothing() -> None:
    evidence = DataEvidence()

    evidence.report(DataReport(PEER, 10**9, 10**9, 5.0), 1.0)

    assert not evidence.arriving
    assert not evidence.active(1.0)
    assert evidence.endpoint == PEER
