"""A host with two uplinks: data leaves by the one that was checked, in the kernel too."""

import time

import pytest

from .conftest import Labs
from .expectation import Ends
from .lab import Lab
from .mesh import peer_of, ping_all, traffic, wait_connected, wait_data, wait_for_path
from .own_network import BRIDGE_NAME
from .rules import WIREGUARD

BOTH = ("alice", "bob")
HOME, MOBILE = "198.18.100.2", "198.18.103.2"

MOBILE_ROUTE = "198.18.113.2 via 192.168.3.1 dev eth1"

FAIL_OVER_SECONDS = 30.0
"""Until the data must flow again, on a machine that is busy with other labs; the unit tests say
how fast it is."""


@pytest.fixture
def lab(labs: Labs) -> Lab:
    lab = labs.up("multihomed.yaml")
    wait_connected(lab, BOTH)
    lab.wait_for(lambda: data_flows(lab), 10, "data flows")
    return lab


def data_flows(lab: Lab) -> bool:
    """Ping both ways; an address that the interface does not have yet raises."""
    ping_all(lab, BOTH)
    return True


FAILOVER_SECONDS = 6.0
"""Longest gap in the data: 1 s on an idle machine (and 1.1 in the unit tests, at any phase)."""

VETO_SECONDS = 25.0
"""The same where checks pass and only data does not: 15 s after which WireGuard itself gives up,
and a few."""


def wait_for_uplink(lab: Lab, address: str) -> None:
    """Wait until both ends say that alice is reached at an address, and WireGuard agrees."""

    def moved() -> bool:
        alice, bob = peer_of(lab.status("alice"), "bob"), peer_of(lab.status("bob"), "alice")
        return (
            alice.path is not None
            and bob.path is not None
            and alice.path.local.address.startswith(f"{address}:")
            and bob.path.remote.address == bob.endpoint
            and bob.path.remote.address == alice.path.local.address
        )

    lab.wait_for(moved, FAIL_OVER_SECONDS, f"alice's data leaves by {address}")


def routes_of(lab: Lab) -> str:
    """Alice's marked rules and the routes that they lead to."""
    script = "ip rule show; ip route show table all"
    lines = lab.exec("alice", ["sh", "-c", script]).stdout.splitlines()
    return "\n".join(line for line in lines if "proto 107" in line)


@pytest.mark.executors("namespaces", "uml")
def test_data_leaves_by_the_uplink_that_works_and_returns(lab: Lab) -> None:
    wait_for_uplink(lab, HOME)
    assert routes_of(lab) == "", "the default route does by itself"

    with traffic(lab, *BOTH) as flow:
        silence = lab.drop("router-a")
        wait_for_uplink(lab, MOBILE)
        lab.wait_for(lambda: MOBILE_ROUTE in routes_of(lab), 5, "a route by the second uplink")
        moved = flow.stop()
    assert moved.a_to_b.received > 0

    # wireguard-go answers by the first uplink until its endpoint is set again (ARCHITECTURE.md).
    wait_data(lab, BOTH)
    with traffic(lab, *BOTH) as flow:
        time.sleep(3)
        steady = flow.stop()
    assert steady.lost_count == 0

    silence.remove()
    with traffic(lab, *BOTH):
        silence = lab.drop("router-c")
        wait_for_uplink(lab, HOME)
    lab.wait_for(lambda: not routes_of(lab), 5, "the route of the second uplink is gone")
    silence.remove()


@pytest.mark.executors("namespaces", "uml")
def test_routes_outlive_the_agent_and_are_adopted_without_loss(lab: Lab) -> None:
    silence = lab.drop("router-a", "ip daddr 198.18.113.2")
    with traffic(lab, *BOTH):
        wait_for_uplink(lab, MOBILE)

    with traffic(lab, *BOTH) as flow:
        lab.kill("alice")
        time.sleep(5)
        assert MOBILE_ROUTE in routes_of(lab)
        lab.start("alice")
        wait_connected(lab, BOTH)
        wait_for_uplink(lab, MOBILE)
        report = flow.stop()
    silence.remove()

    assert report.a_to_b.sent > 5 * 50
    assert report.lost_count == 0


def test_a_default_route_that_moves_to_the_other_uplink_interrupts_nothing(lab: Lab) -> None:
    wait_for_uplink(lab, HOME)
    with traffic(lab, *BOTH) as flow:
        time.sleep(2)
        # The one in use goes first: for a moment the host has another default route only.
        lab.exec("alice", ["ip", "route", "del", "default", "via", "192.168.1.1"])
        again = ["ip", "route", "add", "default", "via", "192.168.1.1", "metric", "300"]
        lab.exec("alice", again)
        time.sleep(5)
        report = flow.stop()

    assert max(report.a_to_b.longest_gap, report.b_to_a.longest_gap) < FAILOVER_SECONDS
    for direction in (report.a_to_b, report.b_to_a):
        assert max((run.stop for run in direction.lost), default=0) < direction.sent
    path = peer_of(lab.status("alice"), "bob").path
    assert path is not None
    mapped = path.local.address.partition(":")[0]
    assert mapped in (HOME, MOBILE)
    wait_for_uplink(lab, mapped)
    home_route = "198.18.113.2 via 192.168.1.1 dev eth0"
    assert (home_route in routes_of(lab)) is (mapped == HOME), "it is led, as the default is not"


@pytest.mark.parametrize(
    ("match", "seconds"),
    [
        pytest.param("", FAILOVER_SECONDS, id="everything"),
        pytest.param("ip saddr 198.18.113.2", FAILOVER_SECONDS, id="towards alice"),
        pytest.param("ip daddr 198.18.113.2", FAILOVER_SECONDS, id="towards bob"),
        pytest.param(WIREGUARD, VETO_SECONDS, id="WireGuard only"),
    ],
)
def test_a_silent_drop_on_a_router_is_left_in_time(lab: Lab, match: str, seconds: float) -> None:
    with traffic(lab, *BOTH) as flow:
        time.sleep(2)  # the agents see that the peer is active
        lab.drop("router-a", match)
        time.sleep(seconds + 2)
        report = flow.stop()

    wait_for_uplink(lab, MOBILE)
    assert max(report.a_to_b.longest_gap, report.b_to_a.longest_gap) < seconds


@pytest.mark.executors("namespaces", "uml")
def test_a_member_in_a_container_of_this_very_host_is_reached_by_its_bridge(labs: Labs) -> None:
    """The first answer may leave before the route that has it leave as it was checked."""
    lab = labs.up("own-bridge.yaml")
    both = ("alice", "carol")
    wait_connected(lab, both)
    wait_data(lab, both)

    with traffic(lab, *both) as flow:
        wait_for_path(lab, *both, Ends("host", "host"))
        report = flow.stop()

    assert report.lost_count == 0
    source = peer_of(lab.status("carol"), "alice").endpoint
    assert source is not None
    assert source.partition(":")[0] in ("192.168.1.10", "192.168.3.10"), "as it was checked"
    assert f"172.30.9.10 dev {BRIDGE_NAME}" in routes_of(lab)


def test_a_strict_reverse_path_filter_is_told(lab: Lab) -> None:
    lab.exec("alice", ["sysctl", "-w", "net.ipv4.conf.all.rp_filter=1"])

    def told() -> bool:
        health = lab.status("alice").health
        return any(e.code == "uplink-filtered" and "eth1" in e.text for e in health)

    lab.wait_for(told, 50, "alice says that eth1 drops what comes in")


def test_nothing_is_left_behind(lab: Lab) -> None:
    lab.drop("router-a", "ip daddr 198.18.113.2")
    with traffic(lab, *BOTH):
        wait_for_uplink(lab, MOBILE)

        lab.wait_for(lambda: MOBILE_ROUTE in routes_of(lab), 5, "a route by the second uplink")

    lab.kill("alice")
    assert MOBILE_ROUTE in routes_of(lab)
    environment = lab.topology.service("alice").environment
    lab.exec("alice", ["env", *(f"{k}={v}" for k, v in environment.items()), "kbwg", "down"])

    assert routes_of(lab) == ""
