"""The two sides of a campaign by themselves: what the mathematics says, and who does what."""

from itertools import pairwise
from math import prod
from random import Random

import pytest

from nat.candidate import Candidate, CandidateType, local_candidate
from nat.machine import Datagram, Endpoint
from nat.path.credentials import Role
from nat.prediction.easy import PORTS, PROBE_RATE, PROBES, EasyCampaign
from nat.prediction.hard import FIRST_TTL, HARD_DURATION, OPENER_RATE, SOCKETS, HardCampaign
from nat.prediction.plan import EasyPlan, End, HardPlan, plan_for
from nat.prediction.side import Side, public_addresses, side_of, target_of
from nat.stun.message import MessageClass, parse
from tests.support.network import endpoint
from tests.support.peers import credentials_of

BASE = endpoint("192.168.1.2", 20000)
HARD_IP = endpoint("198.51.100.1").ip
TARGET = endpoint("198.51.100.2", 42000)

TRIES = 150


def chance(sockets: int, probes: int) -> float:
    """Probability that distinct random probes meet one of as many distinct random ports."""
    free = len(PORTS) - sockets
    return 1.0 - prod((free - i) / (len(PORTS) - i) for i in range(probes))


def easy(seed: int, probes: int = PROBES, addresses: int = 1) -> EasyCampaign:
    return EasyCampaign(
        credentials=credentials_of(Role.CONTROLLED),
        role=Role.CONTROLLED,
        base=BASE,
        addresses=[endpoint(f"198.51.100.{1 + i}").ip for i in range(addresses)],
        probes=probes,
        rng=Random(seed),
        now=0.0,
    )


def run(campaign: EasyCampaign | HardCampaign) -> list[tuple[float, Datagram]]:
    """Drive a campaign to its end by its own timers."""
    now, sent = 0.0, [(0.0, d) for d in campaign.datagrams_to_send()]
    while now < campaign.ends_at:
        now = campaign.next_timeout()
        campaign.handle_timeout(now)
        sent += [(now, d) for d in campaign.datagrams_to_send()]
    return sent


def test_the_numbers_are_those_of_the_birthday_paradox() -> None:
    assert 0.98 < chance(SOCKETS, 1024) < 0.985
    assert 0.9997 < chance(SOCKETS, PROBES) < 0.9998


def test_as_many_campaigns_succeed_as_the_mathematics_says() -> None:
    first_hits = []
    for seed in range(TRIES):
        opened = set(Random(-seed - 1).sample(PORTS, SOCKETS))
        ports = [d.destination.port for _, d in run(easy(seed))]
        hit = next((i for i, port in enumerate(ports) if port in opened), None)
        first_hits.append(PROBES if hit is None else hit)

    assert sum(hit < PROBES for hit in first_hits) >= 0.98 * TRIES
    # A binomial's four standard deviations around the expected share.
    for probes in (128, 256, 1024):
        expected = chance(SOCKETS, probes)
        spread = 4.0 * (expected * (1.0 - expected) / TRIES) ** 0.5
        share = sum(hit < probes for hit in first_hits) / TRIES
        assert abs(share - expected) <= spread, (probes, share, expected)


def test_the_easy_side_sends_each_port_once_at_its_pace_and_ends() -> None:
    sent = run(easy(1))

    assert len({d.destination for _, d in sent}) == len(sent) == PROBES
    assert all(d.destination.port in PORTS for _, d in sent)
    assert sent[-1][0] == pytest.approx((PROBES - 1) / PROBE_RATE)
    assert all(sum(at <= t < at + 1.0 for t, _ in sent) <= PROBE_RATE + 1 for at in range(21))


def test_several_addresses_share_the_probes() -> None:
    sent = run(easy(1, addresses=2))

    assert len(sent) == PROBES
    assert [str(d.destination.ip) for _, d in sent[:4]] == ["198.51.100.1", "198.51.100.2"] * 2


def test_a_late_timer_makes_no_flood() -> None:
    campaign = easy(1)
    campaign.datagrams_to_send()

    campaign.handle_timeout(15.0)
    burst = len(campaign.datagrams_to_send())
    campaign.handle_timeout(15.0)
    again = len(campaign.datagrams_to_send())

    assert burst == 10
    assert again <= 1


def hard() -> HardCampaign:
    return HardCampaign(
        credentials=credentials_of(Role.CONTROLLING),
        role=Role.CONTROLLING,
        base=BASE,
        target=TARGET,
        rng=Random(1),
        now=0.0,
    )


def test_the_hard_side_opens_every_port_at_once_and_keeps_it_open() -> None:
    campaign = hard()
    campaign.opened(range(40000, 40000 + SOCKETS), 0.0)

    sent = run(campaign)

    first = {d.source.port: at for at, d in reversed(sent)}
    assert len(first) == SOCKETS
    assert max(first.values()) <= SOCKETS / OPENER_RATE
    for port in first:
        times = [at for at, d in sent if d.source.port == port]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert len(times) == 3
        assert max([*gaps, HARD_DURATION - times[-1]]) < 30.0, "no mapping is forgotten meanwhile"


def test_the_first_openers_do_not_live_long_enough_to_meet_the_other_gateway() -> None:
    campaign = hard()
    campaign.opened(range(40000, 40000 + SOCKETS), 0.0)

    sent = [d for _, d in run(campaign)]

    assert {d.ttl for d in sent[:SOCKETS]} == {FIRST_TTL}
    assert {d.ttl for d in sent[SOCKETS:]} == {None}


def test_openers_are_checks_with_ids_of_their_own() -> None:
    campaign = hard()
    campaign.opened(range(40000, 40032), 0.0)

    messages = [parse(d.payload) for _, d in run(campaign)]

    assert all(m.message_class is MessageClass.REQUEST for m in messages)
    assert all(m.is_authentic(credentials_of(Role.CONTROLLING).remote_password) for m in messages)
    assert not any(m.use_candidate for m in messages)
    assert len({m.transaction_id for m in messages}) == len(messages)


def test_a_campaign_without_ports_only_waits_for_its_end() -> None:
    campaign = hard()

    assert run(campaign) == []


# Who does what --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "peer", "side"),
    [
        (True, False, Side.HARD),
        (False, True, Side.EASY),
        (True, True, None),
        (False, False, None),
    ],
)
def test_exactly_one_side_must_vary(own: bool, peer: bool, side: Side | None) -> None:
    assert side_of(own_varies=own, peer_varies=peer) is side


def candidate(kind: CandidateType, at: Endpoint, preference: int = 65535) -> Candidate:
    return local_candidate(kind, at, BASE, preference)


def test_the_target_is_what_probes_come_from() -> None:
    host = candidate(CandidateType.HOST, endpoint("192.168.7.3"))
    better = candidate(CandidateType.SERVER_REFLEXIVE, TARGET)
    worse = candidate(CandidateType.SERVER_REFLEXIVE, endpoint("198.51.100.2", 9), 255)
    v6 = candidate(CandidateType.SERVER_REFLEXIVE, endpoint("2001:db8::1"))

    assert target_of([v6, host, worse, better]) == better
    assert target_of([v6, host]) == host
    assert target_of([v6]) is None


def test_only_announced_reflexive_addresses_are_probed() -> None:
    candidates = [
        candidate(CandidateType.HOST, endpoint("192.168.7.3")),
        candidate(CandidateType.RELAYED, endpoint("198.51.100.9")),
        *(
            candidate(CandidateType.SERVER_REFLEXIVE, endpoint(f"198.51.100.{i}"), 100 - i)
            for i in range(1, 5)
        ),
    ]

    assert [str(ip) for ip in public_addresses(candidates)] == ["198.51.100.1", "198.51.100.2"]


def test_both_ends_plan_the_same_campaign() -> None:
    symmetric = End((candidate(CandidateType.SERVER_REFLEXIVE, Endpoint(HARD_IP, 5000)),), True)
    restricted = End((candidate(CandidateType.SERVER_REFLEXIVE, TARGET),), False)

    assert plan_for(symmetric, restricted, lambda _: True) == HardPlan(BASE, TARGET)
    assert plan_for(restricted, symmetric, lambda _: True) == EasyPlan(BASE, (HARD_IP,))
    assert plan_for(restricted, symmetric, lambda ip: ip != HARD_IP) is None
    assert plan_for(symmetric, restricted, lambda ip: ip != TARGET.ip) is None
