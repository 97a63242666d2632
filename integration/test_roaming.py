"""A host moves while data flows: another address, no network for a while, another NAT mapping."""

import json
import time

import pytest

from .conftest import Labs
from .kinds import KINDS
from .lab import Lab
from .mesh import TEAM, TOPIC, peer_of, simulator, traffic, wait_connected
from .traffic import Report

BOTH = ("alice", "bob")

SERVER = "198.18.0.20"

ROAM_SECONDS = 2.0
"""How long data may stand still where a new path exists."""

BUSY_SECONDS = 2.0
"""What a machine that runs other labs may add to that."""

BEFORE, AFTER = 1.5, 5.0
"""Seconds of traffic before and after the event."""


def up(labs: Labs, theirs: str, ours: str = "MQ") -> Lab:
    lab = labs.up("pair.yaml", {**KINDS[ours].settings("A"), **KINDS[theirs].settings("B")})
    wait_connected(lab, BOTH)
    return lab


def change_address(lab: Lab, node: str, device: str, old: str, new: str) -> None:
    """Give a node another address in the same network, as a new lease does."""
    (route,) = json.loads(lab.exec(node, ["ip", "-j", "route", "show", "default"]).stdout)
    # The route goes with the address.
    script = (
        f"ip address del {old}/24 dev {device}; ip address add {new}/24 dev {device}; "
        f"ip route add default via {route['gateway']}"
    )
    lab.exec(node, ["sh", "-ec", script])


def move_alice(lab: Lab) -> None:
    change_address(lab, "alice", "eth0", "192.168.1.10", "192.168.1.20")


def gap(report: Report) -> float:
    return max(report.a_to_b.longest_gap, report.b_to_a.longest_gap)


def assert_short(report: Report, silence: float = 0.0) -> None:
    assert gap(report) < silence + ROAM_SECONDS + BUSY_SECONDS
    for direction in (report.a_to_b, report.b_to_a):
        last = max((run.stop for run in direction.lost), default=0)
        assert last < direction.sent, "and then data flows"


@pytest.mark.parametrize("theirs", ["PUB", "FC", "MQ", "CG(MQ:MQ)"])
def test_data_follows_a_host_to_its_new_address(labs: Labs, theirs: str) -> None:
    lab = up(labs, theirs)
    with traffic(lab, *BOTH) as flow:
        time.sleep(BEFORE)
        move_alice(lab)
        time.sleep(AFTER)
        report = flow.stop()
    assert_short(report)
    addresses = {candidate.split()[4] for candidate in lab.status("alice").self_.candidates}
    assert "192.168.1.20" in addresses
    assert "192.168.1.10" not in addresses


def test_data_follows_a_host_while_chat_is_down(labs: Labs) -> None:
    lab = up(labs, "FC")
    admin = simulator(lab)
    for device in ("alice/laptop", "bob/desktop"):
        admin.stop_service(device)
    with traffic(lab, *BOTH) as flow:
        time.sleep(BEFORE)
        move_alice(lab)
        time.sleep(AFTER)
        report = flow.stop()
    assert_short(report)
    for device in ("alice/laptop", "bob/desktop"):
        admin.start_service(device)
    lab.wait_for(
        lambda: any(
            "192.168.1.20" in message["content"].get("text", {}).get("body", "")
            for message in admin.messages(TEAM, TOPIC)
        ),
        30,
        "alice announces her new address when chat is back",
    )


def test_a_cable_that_was_pulled_for_some_seconds_carries_data_soon_after(labs: Labs) -> None:
    lab = up(labs, "MQ")
    silence = 4.0
    with traffic(lab, *BOTH) as flow:
        time.sleep(BEFORE)
        lab.set_link("alice", "home-a", up=False)
        time.sleep(silence)
        lab.set_link("alice", "home-a", up=True)
        time.sleep(AFTER)
        report = flow.stop()
    assert_short(report, silence)


RELAYED = {
    "UDP": ({"NAT_A_MAPPING": "address-and-port-dependent"}, f"turn:{SERVER}?transport=udp"),
    "TLS": ({"NAT_A_UDP": "blocked"}, f"turns:{SERVER}:443?transport=tcp"),
}
"""What keeps alice from direct paths, and the server that carries her data."""


@pytest.mark.parametrize("transport", RELAYED)
def test_data_by_a_relay_follows_a_host_to_its_new_address(labs: Labs, transport: str) -> None:
    nat, server = RELAYED[transport]
    lab = labs.up("pair.yaml", {**nat, "TURN_SERVERS": server, "PORT_PREDICTION": "off"})
    wait_connected(lab, BOTH)
    path = peer_of(lab.status("bob"), "alice").path
    assert path is not None
    assert path.relayed
    with traffic(lab, *BOTH) as flow:
        time.sleep(BEFORE)
        move_alice(lab)
        time.sleep(AFTER)
        report = flow.stop()
    assert_short(report)


@pytest.mark.parametrize("theirs", ["PUB", "AR", "MQ"])
def test_data_follows_a_router_to_its_new_public_address(labs: Labs, theirs: str) -> None:
    """Where bob filters, his own check must open the way, so he has to read of the address first."""
    lab = up(labs, theirs)
    with traffic(lab, *BOTH) as flow:
        time.sleep(BEFORE)
        # The host sees nothing of it but that nobody answers any more.
        change_address(lab, "router-a", "eth1", "198.18.100.2", "198.18.100.3")
        lab.wait_for(
            lambda: (peer_of(lab.status("bob"), "alice").endpoint or "").startswith("198.18.100.3"),
            ROAM_SECONDS + BUSY_SECONDS,
            "bob sends to the new address",
        )
        wait_connected(lab, BOTH)
        time.sleep(BEFORE)
        report = flow.stop()
    assert_short(report)
