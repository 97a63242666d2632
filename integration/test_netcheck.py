"""`kbwg netcheck` names real NATs as they are, with coturn's RFC 5780, with and without an agent."""

import json
from typing import Any

import pytest

from .behaviour import Filtering, Hairpinning, Mapping, Nat, Udp
from .conftest import Labs
from .lab import Lab

SERVICES = ("alice",)

TURN = "198.18.0.20"

EIF, ADF, APDF = Filtering


def netcheck(lab: Lab, node: str = "alice") -> dict[str, Any]:
    """Ask for the report."""
    document: dict[str, Any] = json.loads(lab.exec(node, ["kbwg", "netcheck", "--json"]).stdout)
    return document


def up(labs: Labs, nat: Nat, **settings: str) -> Lab:
    """Start alice behind a NAT, alone."""
    lab = labs.up("pair.yaml", {**nat.settings("NAT_A"), **settings}, services=SERVICES)
    lab.wait_for(lambda: lab.status("alice").self_.candidates, 20, "alice's agent answers")
    return lab


@pytest.mark.parametrize(
    "nat",
    [
        Nat(mapping=Mapping.ENDPOINT_INDEPENDENT, filtering=EIF, hairpinning=Hairpinning.ON),
        Nat(mapping=Mapping.ENDPOINT_INDEPENDENT, filtering=ADF),
        Nat(mapping=Mapping.ENDPOINT_INDEPENDENT, filtering=APDF),
        Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, filtering=APDF),
        Nat(mapping=Mapping.NONE, filtering=EIF),
        Nat(mapping=Mapping.NONE, filtering=APDF),
    ],
    ids=lambda nat: f"{nat.mapping.value}/{nat.filtering.value}",
)
def test_a_running_agent_names_its_nat(labs: Labs, nat: Nat) -> None:
    found = netcheck(up(labs, nat))

    assert found["agent"]
    v4 = next(one for one in found["nat"] if ":" not in one["address"])
    assert v4["mapping"] == nat.mapping.value
    assert v4["filtering"] == nat.filtering.value
    if nat.translates:
        # Linux keeps source ports, but where it is told to draw them.
        assert v4["port_preservation"] is (nat.mapping is Mapping.ENDPOINT_INDEPENDENT)
        assert v4["hairpinning"] is (nat.hairpinning is Hairpinning.ON)
    assert any(one["rfc5780"] for one in found["stun"])
    assert len(found["verdicts"]) == len(found["nat"])


def test_a_blocked_network_is_called_that(labs: Labs) -> None:
    found = netcheck(up(labs, Nat(udp=Udp.BLOCKED)))

    assert found["udp_blocked"]
    assert "block UDP" in found["verdicts"][0]
    assert "UDP" in found["advice"][0]


def test_without_an_agent_a_fresh_port_tells_and_its_mapping_is_gone_afterwards(
    labs: Labs,
) -> None:
    servers = f"turn:{TURN}?transport=udp,turns:{TURN}:443?transport=tcp"
    lab = up(labs, Nat(), NAT_A_PORT_MAPPING="all", TURN_SERVERS=servers)
    lab.stop("alice")

    found = netcheck(lab)

    assert not found["agent"]
    assert found["nat"][0]["mapping"] == "endpoint-independent"
    mapping = found["port_mapping"][0]
    assert (mapping["state"], mapping["protocol"]) == ("mapped", "pcp")
    udp, tls = found["turn"]
    assert udp["relayed"], "UDP is nearer by rank"
    assert udp["rtt_ms"] > 0
    assert (tls["trouble"], tls["relayed"]) == (None, [])
    chain = ["nft", "list", "chain", "inet", "kbwg_miniupnpd", "prerouting_miniupnpd"]
    assert "dnat" not in lab.exec("router-a", chain).stdout


def test_it_is_made_to_be_read(labs: Labs) -> None:
    lab = up(labs, Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT))
    text = lab.exec("alice", ["kbwg", "netcheck"]).stdout

    assert "symmetric NAT" in text
    assert "mapping            address-and-port-dependent" in text
    assert "Switch on PCP, NAT-PMP or UPnP in the router" in text
