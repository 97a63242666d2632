"""What a line does to packets."""

import random
from itertools import pairwise

import pytest

from integration.errors import TopologyError
from integration.impairment import Impairment, Line

PACKETS = [bytes([number]) for number in range(200)]


def sent(impairment: Impairment) -> list[tuple[float, bytes]]:
    """Send a packet each 10 ms; returns when which arrive."""
    line = Line(impairment, random.Random(1))
    arrived = []
    for step in range(400):
        now = step / 100
        if step < len(PACKETS):
            line.enter(PACKETS[step], now)
        arrived += [(now, packet) for packet in line.leave(now)]
    assert line.next_at() is None
    return arrived


def test_a_delay_holds_every_packet_for_as_long() -> None:
    arrived = sent(Impairment(delay=0.045))
    assert [packet for _, packet in arrived] == PACKETS
    assert [at for at, _ in arrived] == pytest.approx([0.05 + n / 100 for n in range(200)])


def test_jitter_lets_packets_overtake_each_other_and_loses_none() -> None:
    order = [packet for _, packet in sent(Impairment(delay=0.05, jitter=0.05))]
    assert sorted(order) == sorted(PACKETS)
    assert any(one > other for one, other in pairwise(order))


def test_loss_takes_its_share() -> None:
    assert 1 <= len(PACKETS) - len(sent(Impairment(loss=0.02))) <= 12
    assert sent(Impairment(loss=1.0)) == []


def test_without_variables_nothing_happens() -> None:
    assert Impairment.from_environment({"DELAY_MS": "0"}).is_none
    assert Impairment.from_environment(
        {"DELAY_MS": "70", "JITTER_MS": "2.5", "LOSS_PERCENT": "2"}
    ) == Impairment(delay=0.07, jitter=0.0025, loss=0.02)


@pytest.mark.parametrize(
    ("name", "value"), [("DELAY_MS", "-1"), ("LOSS_PERCENT", "101"), ("JITTER_MS", "much")]
)
def test_nonsense_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(TopologyError, match=name):
        Impairment.from_environment({name: value})
