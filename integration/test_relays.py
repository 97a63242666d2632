"""Pairs that no NAT lets through meet at a TURN server; it is coturn's own."""

import pytest

from .conftest import Labs
from .lab import Lab
from .mesh import peer_of, ping_all, traffic, wait_connected

BOTH = ("alice", "bob")
SYMMETRIC_BOTH = {
    "NAT_A_MAPPING": "address-and-port-dependent",
    "NAT_B_MAPPING": "address-and-port-dependent",
}
UDP = "turn:198.18.0.20?transport=udp"
TCP = "turn:198.18.0.20?transport=tcp"
TLS = "turns:198.18.0.20:443?transport=tcp"


@pytest.mark.parametrize("server", [UDP, TCP, TLS], ids=["UDP", "TCP", "TLS"])
def test_two_symmetric_nats_are_joined_by_one_relay(labs: Labs, server: str) -> None:
    lab = labs.up("pair.yaml", {**SYMMETRIC_BOTH, "TURN_SERVERS": server})
    wait_connected(lab, BOTH)
    ping_all(lab, BOTH)
    with traffic(lab, *BOTH) as flow:
        lab.exec("alice", ["sleep", "3"])
        report = flow.stop()

    paths = [peer_of(lab.status(a), b).path for a, b in (BOTH, BOTH[::-1])]
    assert [path.relayed for path in paths if path is not None] == [True, True]
    kinds = [{path.local.kind, path.remote.kind} for path in paths if path is not None]
    assert kinds[0] == kinds[1]
    assert kinds[0] != {"relay"}, "one relay does"
    assert report.lost_count == 0


def test_a_home_without_udp_is_reached_by_tls_at_port_443(labs: Labs) -> None:
    lab = labs.up("pair.yaml", {"NAT_A_UDP": "blocked", "TURN_SERVERS": TLS})
    wait_connected(lab, BOTH)
    ping_all(lab, BOTH)

    path = peer_of(lab.status("alice"), "bob").path
    assert path is not None
    assert path.local.kind == "relay"


def test_a_direct_path_that_becomes_possible_is_taken_without_a_loss(labs: Labs) -> None:
    lab = labs.up("pair.yaml", {"TURN_SERVERS": UDP})
    drop = lab.drop("internet", "ip saddr 198.18.100.2 ip daddr 198.18.113.2")
    back = lab.drop("internet", "ip saddr 198.18.113.2 ip daddr 198.18.100.2")
    wait_connected(lab, BOTH, 40)
    lab.wait_for(lambda: _relayed(lab), 40, "data takes the relay")
    with traffic(lab, *BOTH) as flow:
        drop.remove()
        back.remove()
        lab.wait_for(lambda: not _relayed(lab), 60, "data takes the direct path")
        lab.exec("alice", ["sleep", "3"])
        report = flow.stop()
    assert not _relayed(lab), "and stays there"
    assert report.lost_count == 0


def _relayed(lab: Lab) -> bool:
    paths = [peer_of(lab.status(a), b).path for a, b in (BOTH, BOTH[::-1])]
    return all(path is not None and path.relayed for path in paths)
