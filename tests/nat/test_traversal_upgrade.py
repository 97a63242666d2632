"""From a relay to a direct path while an address comes and goes, on hosts that are busy just then."""

from collections.abc import Callable
from random import Random

import pytest

from nat.candidate import CandidateType
from nat.gathering import HostAddress
from nat.machine import Datagram
from nat.path.events import PathLost, PathSelected
from tests.support.nat import Nat
from tests.support.network import endpoint
from tests.support.peers import MEETING, Node, Peers
from tests.support.relays import turn_server
from tests.support.traffic import lost, send_data, stop_data

SERVER = "203.0.113.50"
TRAFFIC = 0.005
"""Seconds between data packets, each way: those of a busy call."""

LIFTED = MEETING + 3.0
"""When the direct path becomes possible, and everything else happens."""

BUSY = 0.12
"""Seconds for which both hosts answer late: interfaces, routes and candidates are being looked at."""

HERE, FURTHER = endpoint("192.168.1.2"), endpoint("192.168.1.77")


def busy_at_first(seed: int) -> Callable[[Peers], Callable[[Datagram], float]]:
    """Give a way that takes 1 ms, and up to 30 ms more while the hosts are busy."""
    rng = Random(seed)

    def of(peers: Peers) -> Callable[[Datagram], float]:
        def latency(datagram: Datagram) -> float:
            by_relay = SERVER in (str(datagram.source.ip), str(datagram.destination.ip))
            busy = 0.0 <= peers.network.now - LIFTED < BUSY and not by_relay
            return 0.001 + (rng.uniform(0.005, 0.015) if busy else 0.0)

        return latency

    return of


def addresses(peers: Peers, *bases: str) -> None:
    """Give A these addresses, as netlink tells them, and tell B of the candidates by chat."""
    a, now = peers.a, peers.network.now
    ends = [endpoint(ip) for ip in bases]
    ports = [e for e in a.host.addresses if e.port != HERE.port]
    a.host.addresses = (*ends, *ports)
    a.traversal.set_host_addresses(
        [HostAddress(e, "eth0", 65535 - i) for i, e in enumerate(ends)], now
    )
    a.traversal.network_changed(now)
    peers.network.at(now + 0.03, lambda: peers.introduce(peers.b, a))


def bases(node: Node, since: float) -> list[str]:
    """Whence the data of a node has left since a moment."""
    events = zip(node.host.events_at, node.host.events, strict=True)
    return [str(e.path.base.ip) for at, e in events if at >= since and isinstance(e, PathSelected)]


@pytest.mark.parametrize("removed_after", [None, 0.3, 0.6])
@pytest.mark.parametrize("seed", range(4))
def test_an_address_that_comes_and_goes_costs_nothing(
    removed_after: float | None, seed: int
) -> None:
    peers = Peers(
        Nat("198.51.100.1"),
        Nat("198.51.100.2"),
        turn=(SERVER,),
        a_turn=(turn_server(SERVER),),
        data=True,
        seed=seed,
    )
    peers.network.latency = busy_at_first(seed)(peers)
    peers.meet()
    servers = {"203.0.113.1", SERVER}
    lift = peers.network.block(lambda d: not {str(d.source.ip), str(d.destination.ip)} & servers)
    send_data(peers, TRAFFIC, MEETING + 2.0)
    peers.run(LIFTED)
    assert [path and path.kind for path in peers.paths] == [CandidateType.RELAYED] * 2

    lift()
    addresses(peers, str(HERE.ip), str(FURTHER.ip))
    if removed_after is not None:
        peers.run(LIFTED + removed_after)
        addresses(peers, str(HERE.ip))
    peers.run(LIFTED + 6.0)
    stop_data(peers)

    assert [path and path.kind for path in peers.paths] == [CandidateType.SERVER_REFLEXIVE] * 2
    assert bases(peers.a, LIFTED) == [str(HERE.ip)], "no reason to move to what is no better"
    assert [e for node in (peers.a, peers.b) for e in node.host.events_of(PathLost)] == []
    assert lost(peers) == 0
