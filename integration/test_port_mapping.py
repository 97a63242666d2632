"""A real miniupnpd on a router makes paths where no hole does, and may restart."""

import re

import pytest

from sidecar.status import PortMappingState, PortMappingStatus

from .conftest import Labs
from .lab import Lab
from .mesh import peer_of, ping_all, wait_connected
from .miniupnpd import TABLE
from .nftables import TABLE as ROUTER_TABLE

BOTH = ("alice", "bob")

SYMMETRIC = "address-and-port-dependent"

MAPPED_SECONDS = 20.0
"""Until a port is mapped on a loaded machine; by UPnP it takes two on an idle one."""

RESTART_SECONDS = 30.0
"""Until a gateway that lost its mappings has them again: up to 5 s after it says so, and more on a
loaded machine; without its announcement it would be five minutes."""


def mapping_of(lab: Lab, node: str) -> PortMappingStatus | None:
    """Find the port mapping that a node has; `None`: it has none."""
    for mapping in lab.status(node).self_.port_mapping:
        if mapping.state is PortMappingState.MAPPED:
            return mapping
    return None


def forwarded(lab: Lab, router: str) -> list[str]:
    """List what the router's miniupnpd forwards, as `outer port -> inside endpoint`."""
    argv = ["nft", "list", "chain", "inet", TABLE, "prerouting_miniupnpd"]
    listing = lab.exec(router, argv).stdout
    return [" -> ".join(found) for found in re.findall(r"dport (\d+) dnat ip to (\S+)", listing)]


@pytest.mark.parametrize(
    ("side", "protocol"), [("A", "pcp"), ("A", "nat-pmp"), ("A", "upnp"), ("B", "pcp")]
)
def test_symmetric_and_port_restricted_are_direct_where_one_router_maps(
    labs: Labs, side: str, protocol: str
) -> None:
    lab = labs.up("pair.yaml", {"NAT_A_MAPPING": SYMMETRIC, f"NAT_{side}_PORT_MAPPING": protocol})
    behind, other = BOTH if side == "A" else BOTH[::-1]
    mapping = lab.wait_for(lambda: mapping_of(lab, behind), MAPPED_SECONDS, "the port is mapped")
    wait_connected(lab, BOTH)

    def direct() -> bool:
        paths = [peer_of(lab.status(a), b).path for a, b in (BOTH, BOTH[::-1])]
        return all(path is not None and not path.relayed for path in paths)

    lab.wait_for(direct, MAPPED_SECONDS, "both have a direct path")
    ping_all(lab, BOTH)

    status = lab.status(behind).self_
    assert mapping is not None
    assert mapping.protocol == protocol
    assert mapping.external is not None
    assert any(mapping.external.rpartition(":")[0] in text for text in status.candidates)
    assert lab.status(other).self_.port_mapping[0].state is not PortMappingState.MAPPED


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Lab:
    lab = module_labs.up("pair.yaml", {"NAT_A_MAPPING": SYMMETRIC, "NAT_A_PORT_MAPPING": "all"})
    lab.wait_for(lambda: mapping_of(lab, "alice"), MAPPED_SECONDS, "alice's port is mapped")
    return lab


def test_of_all_protocols_pcp_is_used(lab: Lab) -> None:
    mapping = mapping_of(lab, "alice")

    assert mapping is not None
    assert mapping.protocol == "pcp"
    port = mapping.internal.rpartition(":")[2]
    assert forwarded(lab, "router-a") == [f"{port} -> 192.168.1.10:{port}"]
    bob = lab.wait_for(
        lambda: lab.status("bob").self_.port_mapping, MAPPED_SECONDS, "bob has asked his gateway"
    )
    assert bob[0].found == ()


def test_a_gateway_that_restarts_has_the_mapping_again(lab: Lab) -> None:
    before = forwarded(lab, "router-a")
    lab.exec("router-a", ["python", "-m", "integration.miniupnpd", "stop"])
    assert forwarded(lab, "router-a") == []

    lab.exec("router-a", ["python", "-m", "integration.miniupnpd", "start"])
    lab.wait_for(
        lambda: forwarded(lab, "router-a") == before, RESTART_SECONDS, "the port is mapped again"
    )


def test_an_agent_that_was_killed_takes_its_mapping_up_again(lab: Lab) -> None:
    before = forwarded(lab, "router-a")
    lab.kill("alice")
    lab.wait_for(lambda: not lab.running("alice"), 5, "alice's agent is dead")
    assert forwarded(lab, "router-a") == before, "a crash deletes nothing"

    lab.start("alice")
    lab.wait_for(lambda: mapping_of(lab, "alice"), MAPPED_SECONDS, "alice's port is mapped")

    assert forwarded(lab, "router-a") == before


def test_the_end_of_the_agent_deletes_its_mapping(lab: Lab) -> None:
    assert forwarded(lab, "router-a") != []
    lab.stop("alice")

    assert forwarded(lab, "router-a") == []
    lab.start("alice")


def test_without_the_setting_no_gateway_is_asked(labs: Labs) -> None:
    lab = labs.up("pair.yaml", {"NAT_A_PORT_MAPPING": "all", "PORT_MAPPING": "off"})
    wait_connected(lab, BOTH)

    assert lab.status("alice").self_.port_mapping == ()
    assert forwarded(lab, "router-a") == []


@pytest.mark.parametrize("protocol", ["pcp", "upnp"])
def test_a_firewall_for_ipv6_gets_a_pinhole_that_the_end_closes(labs: Labs, protocol: str) -> None:
    lab = labs.up("ipv6.yaml", {"NAT_A_PORT_MAPPING": protocol}, services=("alice",))

    def mapped() -> dict[str, PortMappingStatus]:
        found = lab.status("alice").self_.port_mapping
        made = {m.gateway: m for m in found if m.state is PortMappingState.MAPPED}
        return made if len(made) == 2 else {}

    made = lab.wait_for(mapped, MAPPED_SECONDS, "both gateways of alice let peers in")
    pinhole = made["2001:db8:a::1"]
    port = pinhole.internal.rpartition(":")[2]
    admitted = ["nft", "list", "chain", "inet", ROUTER_TABLE, "miniupnpd"]

    assert pinhole.protocol == protocol
    assert pinhole.external == pinhole.internal == f"[2001:db8:a::10]:{port}"
    assert lab.exec("router-a", admitted).stdout.count(f"dport {port}") == 2
    lab.stop("alice")
    assert f"dport {port}" not in lab.exec("router-a", admitted).stdout
