"""A pair on the kernel's WireGuard: what every Linux host does first."""

import pytest

from .conftest import Labs
from .expectation import Ends
from .lab import Lab
from .mesh import traffic, wait_connected, wait_data, wait_for_path

BOTH = ("alice", "bob")

SERVICES = ("internet", "carrier-a", "carrier-b", "router-a", "router-b", "stun", "turn", "keybase")
"""What a pair takes whose NATs let it meet; the relay only has the certificate that is named."""


@pytest.mark.executors("qemu", "uml")
def test_a_pair_meets_on_the_kernels_wireguard_and_its_agents_may_die(labs: Labs) -> None:
    lab = labs.up("pair.yaml", services=SERVICES)
    for node in BOTH:
        lab.start(node)
    wait_connected(lab, BOTH)
    wait_for_path(lab, *BOTH, Ends("srflx", "srflx"))
    assert {lab.status(node).self_.backend for node in BOTH} == {"kernel"}
    assert "wireguard" in lab.exec("alice", ["ip", "-d", "link", "show", "kbwg0"]).stdout
    wait_data(lab, BOTH)

    with traffic(lab, *BOTH) as flow:
        for node in BOTH:
            _replace(lab, node)
        wait_connected(lab, BOTH)
        report = flow.stop()
    assert report.lost_count == 0


def _replace(lab: Lab, node: str) -> None:
    """Kill an agent and start it again, which finds its interface as it left it."""
    lab.kill(node)
    lab.wait_for(lambda: not lab.running(node), 5, "it died")
    lab.start(node)
