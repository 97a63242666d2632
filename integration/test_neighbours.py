"""Hosts that share a NAT: one home, or two homes of a carrier that translates."""

import pytest

from .behaviour import Filtering, Mapping, Nat
from .conftest import Labs
from .expectation import Ends
from .kinds import ROUTED
from .lab import Lab
from .mesh import expect_no_path, path_between, ping_all, wait_connected, wait_for_path

BOTH = ("alice", "bob")
HOST, SRFLX = Ends("host", "host"), Ends("srflx", "srflx")

OPEN = Filtering.ENDPOINT_INDEPENDENT
SYMMETRIC = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT)

ONE_PORT = "4711"

TURN_SERVER = "turn:198.18.0.20?transport=udp"


@pytest.mark.parametrize(
    "nat", [ROUTED, Nat(filtering=OPEN), Nat(), SYMMETRIC], ids=["PUB", "FC", "MQ", "SY"]
)
def test_hosts_of_one_network_meet_in_it_whatever_their_router_is(labs: Labs, nat: Nat) -> None:
    lab = labs.up("same-lan.yaml", nat.settings("NAT_A"), services=BOTH)
    wait_for_path(lab, *BOTH, HOST)
    ping_all(lab, BOTH)


def test_isolated_hosts_of_one_network_meet_through_a_router_that_hairpins(labs: Labs) -> None:
    settings = {"ISOLATION": "on", "NAT_A_HAIRPINNING": "on"}
    lab = labs.up("same-lan.yaml", settings, services=BOTH)
    wait_for_path(lab, *BOTH, SRFLX)
    ping_all(lab, BOTH)


def test_isolated_hosts_behind_a_router_that_does_not_hairpin_need_a_relay(labs: Labs) -> None:
    lab = labs.up("same-lan.yaml", {"ISOLATION": "on"}, services=BOTH)
    expect_no_path(lab, *BOTH)


@pytest.mark.parametrize(
    ("file", "settings"),
    [("same-lan.yaml", {"ISOLATION": "on"}), ("cgnat.yaml", {})],
    ids=["isolated hosts", "two homes of a carrier"],
)
def test_who_shares_a_nat_that_does_not_hairpin_meets_at_a_relay(
    labs: Labs, file: str, settings: dict[str, str]
) -> None:
    lab = labs.up(file, {**settings, "TURN_SERVERS": TURN_SERVER}, services=BOTH)
    wait_for_path(lab, *BOTH, Ends("relay", "srflx"), Ends("srflx", "relay"))
    ping_all(lab, BOTH)


def test_two_homes_of_a_carrier_meet_at_its_address_if_it_hairpins(labs: Labs) -> None:
    lab = labs.up("cgnat.yaml", {"NAT_CARRIER_HAIRPINNING": "on"})
    wait_for_path(lab, *BOTH, SRFLX)
    ping_all(lab, BOTH)


def test_two_homes_of_a_carrier_that_does_not_hairpin_need_a_relay(labs: Labs) -> None:
    lab = labs.up("cgnat.yaml")
    expect_no_path(lab, *BOTH)


@pytest.fixture
def one_port(labs: Labs) -> Lab:
    """Two hosts of one home that use the same port, and a third whom everybody reaches."""
    return labs.up("same-lan.yaml", {"LISTEN_PORT": ONE_PORT, **ROUTED.settings("NAT_B")})


def test_two_hosts_with_one_port_both_get_through_their_router(one_port: Lab) -> None:
    lab = one_port
    wait_connected(lab, (*BOTH, "carol"))
    ping_all(lab, (*BOTH, "carol"))
    paths = {node: path_between(lab, node, "carol") for node in BOTH}
    # Who comes second is seen at a port that its router has made up: found by the STUN server,
    # or, where the router makes up another for carol, only by her.
    assert Ends("srflx", "host") in paths.values()
    assert set(paths.values()) <= {Ends("srflx", "host"), Ends("prflx", "host")}
    ports = {
        peer.endpoint.rpartition(":")[2]
        for peer in lab.status("carol").peers
        if peer.endpoint is not None
    }
    assert ONE_PORT in ports, "the router has kept the port of the first"
    assert len(ports) == 2, "and given the second another"
