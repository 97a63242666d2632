"""Hours of a pair on the kernel's WireGuard, in virtual time: timers that no other lab waits for."""

import time
from collections.abc import Iterator

import pytest

from .conftest import Labs
from .expectation import Ends
from .lab import Lab
from .mesh import TEAM, TOPIC, simulator, traffic, wait_connected, wait_data, wait_for_path

pytestmark = pytest.mark.executors("uml")

BOTH = ("alice", "bob")
ROUTERS = ("198.18.100.2", "198.18.113.2")
DIRECT = Ends("srflx", "srflx")

IDLE_SECONDS = 1800.0
"""Waiting costs nothing, but the agents look after the team meanwhile, by processes."""

CUT_SECONDS = 600.0
"""After five minutes nothing gets rarer any more."""

DAY = 86_400.0

IDLE_PER_MINUTE = 15.0
"""Datagrams of an idle peer, both ways (design D5)."""

NAT_SECONDS = "30"
"""After which the routers forget an idle mapping: the least that is common; RFC 4787 wants 120."""

REJECT_AFTER = 180.0
"""Seconds after which WireGuard does not use a session any more."""

FIND_SECONDS = 40.0
"""Until a path that has become possible is found: every pair is tried at least every 30 s."""


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


@pytest.fixture
def datagrams(lab: Lab) -> Iterator["Count"]:
    count = Count(lab)
    yield count
    count.remove()


class Count:
    """Counts the datagrams between the two homes, both ways."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        one, other = ROUTERS
        self._rules = lab.nft(
            "internet",
            "chain count { type filter hook forward priority filter; policy accept\n"
            f"ip saddr {{ {one}, {other} }} ip daddr {{ {one}, {other} }} counter\n}}",
        )

    def read(self) -> int:
        words = self._lab.exec("internet", ["nft", "list", "ruleset"]).stdout.split()
        return sum(int(words[at + 1]) for at, word in enumerate(words) if word == "packets")

    def during(self, seconds: float) -> int:
        before = self.read()
        time.sleep(seconds)
        return self.read() - before

    def remove(self) -> None:
        self._rules.remove()


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


def test_half_an_hour_of_idleness_costs_little_and_keeps_the_path(
    lab: Lab, datagrams: Count
) -> None:
    time.sleep(120)
    posts = len(simulator(lab).messages(TEAM, TOPIC))
    count = datagrams.during(IDLE_SECONDS)
    assert count / (IDLE_SECONDS / 60) <= IDLE_PER_MINUTE
    posted = len(simulator(lab).messages(TEAM, TOPIC)) - posts
    assert 1 <= posted <= 4, "leases are renewed every 25 minutes, and nothing else is said"
    wait_connected(lab, BOTH, 1)
    wait_for_path(lab, *BOTH, DIRECT, seconds=1)
    with traffic(lab, *BOTH) as flow:
        time.sleep(2)
        assert flow.stop().lost_count == 0


def test_a_path_that_is_cut_for_long_is_looked_for_ever_more_rarely_and_found(
    lab: Lab, datagrams: Count
) -> None:
    cuts = [
        lab.drop("internet", f"ip saddr {one} ip daddr {other}")
        for one, other in (ROUTERS, ROUTERS[::-1])
    ]
    time.sleep(60)
    before = sum(cut.packets for cut in cuts)
    time.sleep(CUT_SECONDS)
    per_minute = (sum(cut.packets for cut in cuts) - before) / (CUT_SECONDS / 60)
    for cut in cuts:
        cut.remove()
    assert 2 < per_minute < 30
    wait_for_path(lab, *BOTH, DIRECT, seconds=FIND_SECONDS)
    wait_data(lab, BOTH)


def test_a_clock_that_is_set_back_a_day_ends_no_tunnel(lab: Lab) -> None:
    wait_data(lab, BOTH)
    time.sleep(3)
    time.clock_settime(time.CLOCK_REALTIME, time.time() - DAY)
    try:
        with traffic(lab, *BOTH, rate=2) as flow:
            time.sleep(400)
            report = flow.stop()
        wait_connected(lab, BOTH)
        assert report.lost_count == 0
    finally:
        time.clock_settime(time.CLOCK_REALTIME, time.time() + DAY)
