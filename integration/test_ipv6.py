"""IPv6 below the tunnel: hosts with both families, with one only, and with one that is dead."""

import json
import time

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
    lab = module_labs.up("ipv6.yaml", services=(*DUAL, *V6_ONLY))
    pairs = [(one, other) for one in DUAL for other in (*DUAL, *V6_ONLY) if one != other]
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
    for one, other in (V6_ONLY, ("alice", "carol"), ("dave", "bob")):
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
    assert lines["alice"].startswith("ANNOUNCE 198.18.100.2:")


def test_a_family_that_dies_is_left_for_the_other(lab: Lab) -> None:
    def uses_ipv6() -> bool:
        return _path(lab, "alice", "bob").remote.address.startswith("[2001:db8:b::10]")

    with traffic(lab, *DUAL) as flow:
        time.sleep(2)  # both families are measured while there is traffic
        before = uses_ipv6()
        drop = lab.drop("internet", f"meta nfproto {'ipv6' if before else 'ipv4'}")
        lab.wait_for(lambda: uses_ipv6() != before, FAILOVER_SECONDS, "the other takes over")
        assert drop.packets > 0
        drop.remove()
        report = flow.stop()
    assert report.lost_count > 0, "the drop was felt"
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


def test_addresses_that_are_on_their_way_out_are_no_candidates(lab: Lab) -> None:
    add = ["ip", "-6", "address", "add", "dev", "eth0", "nodad"]
    lab.exec("dave", [*add, "2001:db8:d::66/64", "preferred_lft", "0"])
    lab.exec("dave", [*add, "fd12:3456:789a::10/64"])

    def announced() -> str:
        return " ".join(lab.status("dave").self_.candidates)

    lab.wait_for(lambda: "fd12:3456:789a::10" in announced(), 10, "a unique local address is one")
    assert "2001:db8:d::10" in announced()
    assert "2001:db8:d::66" not in announced(), "deprecated (RFC 4862 §5.5.4)"
    assert "fe80" not in announced()
    assert str(lab.status("dave").self_.ip6) not in announced(), "nor is the tunnel's own"


def test_the_overlay_has_ipv6_on_any_underlay(lab: Lab) -> None:
    lab.wait_for(lambda: lab.status("carol").self_.ip6, SETTLE_SECONDS, "carol has IPv6")
    for one, other in (DUAL, V6_ONLY, ("carol", "alice")):
        target = lab.status(other).self_.ip6
        assert target is not None
        assert target.is_private, "a unique local address"
        assert peer_of(lab.status(one), other).ip6 == target
        # Several: wireguard-go may lose one where IPv4 was in use (ARCHITECTURE.md).
        lab.exec(one, ["ping", "-6", "-c", "5", "-i", "0.2", "-W", "2", str(target)])


RELAY = "turn:198.18.0.20?transport=udp,turn:[2001:db8:5::20]?transport=udp"
"""One server at an address of each family: each host takes the one that it can reach."""


def test_without_a_common_family_a_relay_with_both_carries_the_data(labs: Labs) -> None:
    lab = labs.up("ipv6.yaml", {"TURN_SERVERS": RELAY}, services=("carol", V4_ONLY))
    wait_connected(lab, ("carol", V4_ONLY), SETTLE_SECONDS)
    for one, other in (("carol", V4_ONLY), (V4_ONLY, "carol")):
        path = _path(lab, one, other)
        assert path.relayed
        assert path.kind == "relay"
    ping_all(lab, ("carol", V4_ONLY))
    why = json.loads(lab.exec("carol", ["kbwg", "why", V4_ONLY, "--json"]).stdout)
    assert why["code"] == "no-common-family"


def test_without_a_common_family_only_a_relay_would_help(labs: Labs) -> None:
    lab = labs.up("ipv6.yaml", services=("alice", "carol", V4_ONLY))
    lab.exec(V4_ONLY, ["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"])
    lab.stop(V4_ONLY)
    lab.start(V4_ONLY)
    for other in ("carol", V4_ONLY):
        lab.wait_for(
            lambda other=other: _connected(lab, "alice", other),  # type: ignore[misc]
            SETTLE_SECONDS,
            f"alice is connected to {other}",
        )
    for one, other in (("carol", V4_ONLY), (V4_ONLY, "carol")):
        peer = peer_of(lab.status(one), other)
        assert peer.path is None
        assert peer.state == "checking"
    assert _path(lab, "alice", V4_ONLY).kind == "srflx"

    # Erin's host has IPv6 disabled: it does without, and without a word.
    lab.wait_for(lambda: lab.status(V4_ONLY).self_.ip, SETTLE_SECONDS, "erin has an address")
    status = lab.status(V4_ONLY)
    assert status.self_.ip6 is None
    assert not status.health
    assert "refused" not in lab.logs(V4_ONLY)
    ping_all(lab, ("alice", V4_ONLY))
