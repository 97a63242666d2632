"""Two traversals over minutes and hours: what they cost, and that they never give up."""

from nat.candidate import CandidateType
from nat.path.events import (
    Activity,
)
from nat.stun.message import MessageClass, parse
from tests.support.nat_kinds import assert_both_on, peers_behind
from tests.support.network import endpoint
from tests.support.peers import (
    STUN_SERVER,
    Peers,
)


def test_a_path_that_appears_after_two_hours_is_found_within_30_seconds() -> None:
    peers = Peers()
    lift = peers.network.block(lambda d: STUN_SERVER not in (d.source, d.destination))
    peers.meet()

    peers.run(until=7200.0)
    assert peers.paths == (None, None)
    lift()
    peers.run(until=7230.0)

    assert_both_on(peers, CandidateType.HOST)


def test_an_idle_peer_costs_eight_packets_a_minute_at_most() -> None:
    """Both directions; with WireGuard's keepalives (6.07) that stays under 15."""
    bases = (endpoint("192.0.2.10"), endpoint("192.0.2.11"), endpoint("192.0.2.12"))
    peers = Peers(a=bases)
    peers.meet()
    peers.run(until=120.0)

    for minute in range(2, 32):
        peers.run(until=60.0 * minute + 60.0)
        between = [
            sent
            for sent in peers.network.sent
            if sent.at >= 60.0 * minute
            and sent.datagram.destination != STUN_SERVER
            and sent.datagram.source != STUN_SERVER
        ]
        assert len(between) <= 8

    between = [
        sent
        for sent in peers.network.sent
        if 120.0 <= sent.at < 120.0 + 30 * 60.0
        and STUN_SERVER not in (sent.datagram.source, sent.datagram.destination)
    ]
    # Each minute one exchange of the selected pair and two of the others.
    assert len(between) == 30 * (2 + 2 * 2)


def test_the_controlled_side_of_an_idle_peer_only_answers() -> None:
    peers = Peers()
    peers.meet()
    peers.run(until=1800.0)

    requests = [
        sent.host
        for sent in peers.network.sent
        if sent.at > 120.0
        and STUN_SERVER not in (sent.datagram.source, sent.datagram.destination)
        and parse(sent.datagram.payload).message_class is MessageClass.REQUEST
    ]

    assert requests == [peers.a.host] * 28


def test_the_controlled_side_takes_over_when_the_controlling_agent_dies() -> None:
    peers = Peers()
    peers.meet()
    peers.run(until=120.0)

    peers.a.host.online = False
    peers.run(until=300.0)

    assert peers.b.report(300.0).activity is Activity.LOST


def test_nats_that_show_a_new_address_to_each_answer_do_not_make_agents_chase_each_other() -> None:
    """Two symmetric NATs without filtering: every answer to a check comes from elsewhere."""
    peers, _, _ = peers_behind(
        "address-and-port-dependent/endpoint-independent",
        "address-and-port-dependent/endpoint-independent",
    )
    peers.meet()
    peers.run(until=60.0)

    peers.run(until=660.0)

    between = [
        sent
        for sent in peers.network.sent
        if sent.at >= 60.0 and STUN_SERVER not in (sent.datagram.source, sent.datagram.destination)
    ]
    assert len(between) < 10 * 400
    assert peers.paths == (None, None)
