"""The router's public address changes, or it forgets its mappings: the host itself sees nothing."""

from ipaddress import ip_address

import pytest

from nat.machine import Datagram
from nat.path.events import CandidatesChanged
from nat.stun.message import MessageClass, is_stun, parse
from tests.support.chat import announce
from tests.support.nat import Filtering, Mapping, Nat
from tests.support.peers import MEETING, STUN_SERVER, Node, Peers
from tests.support.traffic import longest_gap, send_data

TRAFFIC = 0.02
"""Seconds between data packets, each way."""

SETTLED = 12.0
GOAL = 2.0
"""Seconds for which data may stand still where a new path exists."""

NEW = ip_address("198.51.100.77")
PHASES = [SETTLED + 0.87 * phase for phase in range(6)]
"""Moments of the change, in every relation to our timers."""


def peers_behind(filtering: Filtering | None, *, a_moves: bool) -> tuple[Peers, Node, Nat]:
    """One behind the NAT that will be another; its peer lets in only what `filtering` says."""
    moving = Nat("198.51.100.1")
    still = None if filtering is None else Nat("198.51.100.2", filtering=filtering)
    nats = (moving, still) if a_moves else (still, moving)
    peers = Peers(*nats, data=True)
    peers.meet()
    mover, other = (peers.a, peers.b) if a_moves else (peers.b, peers.a)
    announce(peers, mover, other)
    send_data(peers, TRAFFIC, MEETING + 1.0)
    return peers, mover, moving


def asks_stun(datagram: Datagram) -> bool:
    if datagram.destination != STUN_SERVER or not is_stun(datagram.payload):
        return False
    return parse(datagram.payload).message_class is MessageClass.REQUEST


@pytest.mark.parametrize("a_moves", [True, False])
@pytest.mark.parametrize(
    "filtering", [None, Filtering.ADDRESS_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT]
)
def test_data_follows_a_router_to_its_new_public_address(
    filtering: Filtering | None, a_moves: bool
) -> None:
    gaps = []
    for moment in PHASES:
        peers, _, nat = peers_behind(filtering, a_moves=a_moves)
        peers.run(moment)

        nat.rebind(NEW)
        peers.run(moment + 5.0)

        gaps += [longest_gap(node, moment, moment + 5.0) for node in (peers.a, peers.b)]

    assert max(gaps) <= GOAL


def test_a_new_mapping_that_an_answer_shows_has_the_servers_asked_at_once() -> None:
    # The peer lets everybody in, so it hears of the new mapping from the checks themselves.
    peers, mover, nat = peers_behind(None, a_moves=True)
    peers.run(SETTLED)

    nat.rebind(NEW)
    peers.run(SETTLED + 1.0)

    changes = mover.host.events_of(CandidatesChanged)
    assert str(NEW) in {str(candidate.endpoint.ip) for candidate in changes[-1].candidates}


def test_a_peer_that_dies_does_not_have_the_servers_asked_again_and_again() -> None:
    peers, mover, _ = peers_behind(Filtering.ADDRESS_AND_PORT_DEPENDENT, a_moves=True)
    peers.run(SETTLED)
    other = peers.b if mover is peers.a else peers.a

    other.host.online = False
    peers.run(SETTLED + 60.0)

    asked = [s for s in peers.network.sent_by(mover.host, SETTLED) if asks_stun(s.datagram)]
    # Each 20 to 26 seconds as ever, and twice for the doubts.
    assert len(asked) <= 5


def test_a_symmetric_nat_does_not_have_the_servers_asked_for_every_other_mapping() -> None:
    # Each answer shows another mapping than the servers do: that is how it is, not a change.
    peers = Peers(Nat("198.51.100.1", Mapping.ADDRESS_AND_PORT_DEPENDENT), None, data=True)
    peers.meet()
    send_data(peers, TRAFFIC, MEETING + 1.0)

    peers.run(SETTLED + 60.0)

    asked = [s for s in peers.network.sent_by(peers.a.host, SETTLED) if asks_stun(s.datagram)]
    assert len(asked) <= 3
