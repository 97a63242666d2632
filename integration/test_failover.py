"""A path falls silent while data flows, and another one exists: design's three kinds of silence."""

import time

import pytest

from .conftest import Labs
from .lab import Lab
from .mesh import peer_of, traffic, wait_connected
from .rules import WIREGUARD

BOTH = ("alice", "bob")

BOB = "198.18.113.2"

ROUTERS = {"198.18.100.2": "router-a", "198.18.103.2": "router-c"}
"""Behind which router of alice's bob sees an address."""

FAILOVER_SECONDS = 1.5
"""How long data may stand still if nothing gets through any more."""

DATA_ONLY_SECONDS = 20.0
"""The same if checks still pass: only WireGuard's own timers tell (10 s, and 5 s more)."""

BUSY_SECONDS = 2.0
"""What a machine that runs other labs may add."""


@pytest.fixture
def lab(labs: Labs) -> Lab:
    lab = labs.up("multihomed.yaml")
    wait_connected(lab, BOTH)
    return lab


def uplink(lab: Lab) -> str:
    """Find the router that bob's data comes in by."""
    endpoint = peer_of(lab.status("bob"), "alice").endpoint
    assert endpoint is not None
    return ROUTERS[endpoint.rpartition(":")[0]]


@pytest.mark.parametrize(
    ("match", "bound"),
    [
        ("", FAILOVER_SECONDS),
        (f"ip saddr {BOB}", FAILOVER_SECONDS),
        (f"ip daddr {BOB}", FAILOVER_SECONDS),
        (WIREGUARD, DATA_ONLY_SECONDS),
    ],
    ids=["everything", "to alice", "from alice", "WireGuard only"],
)
def test_data_moves_to_the_path_that_works(lab: Lab, match: str, bound: float) -> None:
    with traffic(lab, *BOTH) as flow:
        time.sleep(2)
        router = uplink(lab)
        silence = lab.drop(router, match)
        lab.wait_for(
            lambda: uplink(lab) != router, bound + BUSY_SECONDS, "data takes the other uplink"
        )
        time.sleep(2)
        report = flow.stop()

    assert silence.packets > 0
    for direction in (report.a_to_b, report.b_to_a):
        assert direction.longest_gap < bound + BUSY_SECONDS
        assert direction.lost_count < (bound + BUSY_SECONDS) * 50
        assert len(direction.lost) <= 2, "and then all is well"
