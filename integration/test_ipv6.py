"""IPv6 below the tunnel: hosts with both families, with one only, and with one that is dead."""

import pytest

from sidecar.status import PathStatus

from .conftest import Labs
from .lab import Lab
from .mesh import TEAM, TOPIC, peer_of, ping_all, simulator, traffic, wait_connected

DUAL = ("alice", "bob")
V6_ONLY = ("carol", "dave")
V4_ONLY = "erin"

SETTLE_SECONDS = 30.0
"""Until each pair that can has met: five agents start at once."""

FAILOVER_SECONDS = 20.0
"""Until a dead family has been left, on a loaded machine; exact times are unit tests'."""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Lab:
    lab = module_labs.up("ipv6.yaml")
    pairs = [(one, other) for one in DUAL for other in (*DUAL, *V6_ONLY, V4_ONLY) if one != other]
    for one, other in (*pairs, V6_ONLY):
        lab.wait_for(
            lambda one=one, other=other: _connected(lab, one, other),  # type: ignore[misc]
            SETTLE_SECONDS,
            f"{one} is connected to {other}",
        )
    return lab


def _connected(lab: Lab, one: str, other: str) -> bool:
    peers = lab.status(one).peers
    return any(peer.username == other and peer.state == "connected" for peer in peers)


def _path(lab: Lab, one: str, other: str) -> PathStatus:
    path = peer_of(lab.status(one), other).path
    assert path is not None, f"{one} has a path to {other}"
    return path


def test_firewalled_hosts_with_ipv6_meet_over_it_without_translation(lab: Lab) -> None:
    lab.wait_for(
        lambda: _path(lab, "alice", "bob").remote.address.startswith("[2001:db8:b::10]"),
        FAILOVER_SECONDS,
        "the shared family without translation is preferred",
    )
    for one, other in (DUAL, V6_ONLY, ("alice", "carol"), ("dave", "bob")):
        here, there = _path(lab, one, other), _path(lab, other, one)
        assert here.kind == there.kind == "host"
        assert here.remote.address == there.local.address
        assert here.remote.address.startswith("[2001:db8:")
    ping_all(lab, DUAL)
    ping_all(lab, V6_ONLY)


def test_a_host_without_ipv4_announces_no_endpoint_of_the_predecessors(lab: Lab) -> None:
    lines = {
        message["sender"].partition("/")[0]: message["content"]["text"]["body"]
        for message in simulator(lab).messages(TEAM, TOPIC)
        if message["content"]["type"] == "text"
    }
    assert lines["carol"].startswith("KBWG2 ")
    assert "2001:db8:c::10" in lines["carol"]
    assert lines["erin"].startswith("ANNOUNCE 198.18.5.2:")
    assert lines["alice"].startswith("ANNOUNCE 198.18.100.2:")


def test_without_a_common_family_only_a_relay_would_help(lab: Lab) -> None:
    for one, other in (("carol", V4_ONLY), (V4_ONLY, "dave")):
        peer = peer_of(lab.status(one), other)
        assert peer.path is None
        assert peer.state == "checking"
    assert _path(lab, "alice", V4_ONLY).kind == "srflx"


def test_a_family_that_dies_is_left_for_the_other_and_taken_again(lab: Lab) -> None:
    with traffic(lab, *DUAL) as flow:
        drop = lab.drop("internet", "meta nfproto ipv6")
        lab.wait_for(
            lambda: _path(lab, "alice", "bob").remote.address.startswith("198.18.113.2:"),
            FAILOVER_SECONDS,
            "IPv4 takes over",
        )
        assert drop.packets > 0
        drop.remove()
        lab.wait_for(
            lambda: _path(lab, "alice", "bob").remote.address.startswith("[2001:db8:b::10]"),
            60,
            "IPv6 is taken again",
        )
        report = flow.stop()
    gap = max(report.a_to_b.longest_gap, report.b_to_a.longest_gap)
    assert gap < FAILOVER_SECONDS


@pytest.mark.parametrize(
    ("dead", "remote"), [("ipv4", "[2001:db8:b::10]:"), ("ipv6", "198.18.113.2:")]
)
def test_a_family_that_is_dead_from_the_start_delays_nobody(
    labs: Labs, dead: str, remote: str
) -> None:
    network = ("internet", "router-a", "router-b", "stun", "keybase")
    lab = labs.up("ipv6.yaml", services=network)
    lab.drop("internet", f"meta nfproto {dead}")
    for service in DUAL:
        lab.start(service)
    wait_connected(lab, DUAL)
    assert _path(lab, "alice", "bob").remote.address.startswith(remote)
    ping_all(lab, DUAL)
