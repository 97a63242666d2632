"""Who goes is gone and may come back; who is there twice is told so."""

import pytest

from .conftest import Labs
from .disturbances import in_wireguard
from .lab import Lab
from .mesh import TEAM, peer_of, ping_all, simulator, wait_connected

BOTH = ("alice", "bob")

GONE_SECONDS = 60.0
"""Until who may not be in is no peer any more; these agents look every 5 s."""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Lab:
    lab = module_labs.up("pair.yaml", {"MEMBERSHIP_SECONDS": "5"})
    wait_connected(lab, BOTH, 60.0)
    return lab


def key_of_bob(lab: Lab) -> str:
    key = peer_of(lab.status("alice"), "bob").public_key
    assert key is not None
    return key


def test_a_demoted_member_is_gone_from_wireguard_within_a_minute_and_may_come_back(
    lab: Lab,
) -> None:
    key = key_of_bob(lab)
    assert in_wireguard(lab, "alice", key)

    simulator(lab).set_role(TEAM, "bob", "restrictedbot")

    lab.wait_for(lambda: not in_wireguard(lab, "alice", key), GONE_SECONDS, "bob is no peer")
    simulator(lab).set_role(TEAM, "bob", "writer")
    wait_connected(lab, BOTH, 60.0)
    ping_all(lab, BOTH)


def test_two_agents_as_one_device_both_say_so(labs: Labs) -> None:
    lab = labs.up("pair.yaml", {"DEVICE_B": "alice/laptop"})

    for node in BOTH:
        lab.wait_for(
            lambda node=node: (
                "duplicate-device"  # type: ignore[misc]
                in {entry.code for entry in lab.status(node).health}
            ),
            40,
            f"{node} says that it is there twice",
        )
