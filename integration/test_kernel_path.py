"""Paths on the kernel's WireGuard: relays, bad lines, two families, and an end that leaves nothing."""

import time

import pytest

from .conftest import Labs
from .kinds import KINDS
from .lab import Lab
from .mesh import peer_of, traffic, wait_connected, wait_data
from .waiting import patiently

pytestmark = pytest.mark.executors("uml")

BOTH = ("alice", "bob")

DELAY_MS, JITTER_MS, LOSS_PERCENT = 70, 30, 2

BAD_LINE_SECONDS = 3.0
"""Until the direct path stands on such a line."""

SETTLE_SECONDS = 30.0


def test_a_bad_line_of_the_kernels_own_making_has_a_path_as_fast(labs: Labs) -> None:
    lab = labs.up("pair.yaml", KINDS["MQ"].settings("A") | KINDS["FC"].settings("B"))
    for node in BOTH:
        lab.stop(node)
    netem = ["delay", f"{DELAY_MS}ms", f"{JITTER_MS}ms", "loss", f"{LOSS_PERCENT}%"]
    for interface in ("eth0", "eth1"):
        lab.exec("internet", ["tc", "qdisc", "add", "dev", interface, "root", "netem", *netem])
    for node in BOTH:
        lab.start(node)
    lab.wait_for(lambda: all(lab.status(node).peers for node in BOTH), 20, "they are introduced")
    began = time.monotonic()
    wait_connected(lab, BOTH)
    assert time.monotonic() - began < patiently(BAD_LINE_SECONDS)

    wait_data(lab, BOTH)
    with traffic(lab, *BOTH) as flow:
        time.sleep(10)
        report = flow.stop()
    sent = report.a_to_b.sent + report.b_to_a.sent
    assert report.lost_count / sent < 3 * LOSS_PERCENT / 100, "no more is lost than the line loses"
    assert report.lost_count > 0, "and the line is as bad as it should be"
    assert report.a_to_b.reordered + report.b_to_a.reordered > 0


def test_peers_of_both_families_lose_nothing(labs: Labs) -> None:
    """Where wireguard-go loses a quarter (`userspace-two-families` in its health)."""
    lab = labs.up("ipv6.yaml", services=("alice", "carol", "erin"))
    for other in ("carol", "erin"):
        lab.wait_for(
            lambda other=other: _connected(lab, other),  # type: ignore[misc]
            SETTLE_SECONDS,
            f"alice is connected to {other}",
        )
    for pair in (("alice", "carol"), ("alice", "erin")):
        wait_data(lab, pair)
    path = peer_of(lab.status("alice"), "carol").path
    assert path is not None
    assert path.remote.address.startswith("[2001:db8:c::10]")
    with traffic(lab, "alice", "carol") as six, traffic(lab, "alice", "erin", port=7008) as four:
        time.sleep(5)
        lost = six.stop().lost_count + four.stop().lost_count
    assert lost == 0
    assert not [entry for entry in lab.status("alice").health if "two-families" in entry.code]


def test_an_agent_that_keeps_its_interface_is_upgraded_without_a_loss(labs: Labs) -> None:
    lab = labs.up("pair.yaml", {"KEEP_ON_STOP": "1"})
    wait_connected(lab, BOTH)
    wait_data(lab, BOTH)
    with traffic(lab, *BOTH) as flow:
        assert lab.stop("bob") == 0
        time.sleep(60)
        assert lab.status("alice").peers, "no farewell was said"
        lab.start("bob")
        wait_connected(lab, BOTH)
        report = flow.stop()
    assert report.a_to_b.sent > 60 * 50
    assert report.lost_count == 0
    lab.exec("bob", ["kbwg", "down"])
    assert _left(lab, "bob") == ["lo", "eth0"]


def _connected(lab: Lab, other: str) -> bool:
    peers = lab.status("alice").peers
    return any(peer.username == other and peer.state == "connected" for peer in peers)


def _left(lab: Lab, node: str) -> list[str]:
    assert "kbwg" not in lab.exec(node, ["nft", "list", "ruleset"]).stdout
    assert "proto 107" not in lab.exec(node, ["ip", "rule"]).stdout
    lines = lab.exec(node, ["ip", "-o", "link"]).stdout.splitlines()
    return [line.split(":")[1].strip().partition("@")[0] for line in lines]
