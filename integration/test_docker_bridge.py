"""A container in an engine's bridge network, with its port published and without."""

import pytest

from .behaviour import Filtering, Mapping, Nat
from .conftest import Labs
from .expectation import Ends
from .mesh import peer_of, ping_all, wait_for_path

pytestmark = pytest.mark.executors("namespaces", "docker")

BOTH = ("alice", "bob")

SYMMETRIC = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT)
FULL_CONE = Nat(filtering=Filtering.ENDPOINT_INDEPENDENT)

BRIDGE_SECONDS = 60.0
"""Until the path stands where an engine makes a dozen containers beside other work."""

PUBLISHED = {"PUBLISHED": "4711", "LISTEN_PORT": "4711"}


def test_published_it_is_reached_through_the_worst_nat(labs: Labs) -> None:
    lab = labs.up("docker-bridge.yaml", {**PUBLISHED, **SYMMETRIC.settings("NAT_B")})

    wait_for_path(lab, *BOTH, Ends("srflx", "prflx"), seconds=BRIDGE_SECONDS)
    assert peer_of(lab.status("bob"), "alice").endpoint == "198.18.100.2:4711"
    ping_all(lab, BOTH)


def test_unpublished_it_gets_out_to_whoever_lets_strangers_in(labs: Labs) -> None:
    lab = labs.up("docker-bridge.yaml", FULL_CONE.settings("NAT_B"))

    # The engine's host changes the port if bob's check has come first.
    wait_for_path(
        lab, *BOTH, Ends("prflx", "srflx"), Ends("srflx", "srflx"), seconds=BRIDGE_SECONDS
    )
    ping_all(lab, BOTH)
