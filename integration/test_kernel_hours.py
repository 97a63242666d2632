"""Hours of a pair on the kernel's WireGuard, in virtual time: timers that no other lab waits for."""

import time

import pytest

from .conftest import Labs
from .lab import Lab
from .mesh import traffic, wait_connected, wait_data

pytestmark = pytest.mark.executors("uml")

BOTH = ("alice", "bob")
DAY = 86_400.0

NAT_SECONDS = "30"
"""After which the routers forget an idle mapping: the least that is common; RFC 4787 wants 120."""

REJECT_AFTER = 180.0
"""Seconds after which WireGuard does not use a session any more."""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Lab:
    lab = module_labs.up("pair.yaml")
    for router in ("router-a", "router-b"):
        for timeout in ("udp_timeout", "udp_timeout_stream"):
            lab.exec(
                router, ["sysctl", "-qw", f"net.netfilter.nf_conntrack_{timeout}={NAT_SECONDS}"]
            )
    wait_connected(lab, BOTH)
    return lab


def handshake(lab: Lab, node: str) -> int:
    """When WireGuard last agreed on a session, in seconds of the wall clock."""
    return int(lab.exec(node, ["wg", "show", "kbwg0", "latest-handshakes"]).stdout.split()[1])


def test_an_agents_death_across_a_rekey_loses_no_packet(lab: Lab) -> None:
    wait_data(lab, BOTH)
    with traffic(lab, *BOTH) as flow:
        lab.kill("bob")
        before = handshake(lab, "bob")
        time.sleep(REJECT_AFTER)
        assert not lab.running("bob")
        assert handshake(lab, "bob") > before, "a new session, without the agent"
        lab.start("bob")
        wait_connected(lab, BOTH)
        time.sleep(2)
        report = flow.stop()
    assert report.a_to_b.sent > REJECT_AFTER * 50
    assert report.lost_count == 0


def test_a_clock_that_is_set_back_a_day_ends_no_tunnel(lab: Lab) -> None:
    wait_data(lab, BOTH)
    time.sleep(3)
    time.clock_settime(time.CLOCK_REALTIME, time.time() - DAY)
    try:
        with traffic(lab, *BOTH, rate=2) as flow:
            time.sleep(240)
            report = flow.stop()
        wait_connected(lab, BOTH)
        assert report.lost_count == 0
    finally:
        time.clock_settime(time.CLOCK_REALTIME, time.time() + DAY)
