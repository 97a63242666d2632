"""Who gets in: members with honest announcements, and nobody else."""

import base64
import json
import time

import pytest

from .conftest import Labs
from .lab import Lab
from .mesh import TEAM, TOPIC, peer_of, ping_all, simulator, traffic, wait_connected

BOTH = ("alice", "bob")

PEERS = [
    {"username": "alice", "device": "laptop", "ip": "100.64.7.1"},
    {"username": "bob", "device": "desktop", "ip": "100.64.7.2"},
]


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Lab:
    lab = module_labs.up("pair.yaml", {"PEERS_JSON": json.dumps(PEERS)})
    wait_connected(lab, BOTH)
    return lab


def test_listed_devices_have_the_listed_addresses(lab: Lab) -> None:
    assert str(lab.status("alice").self_.ip) == "100.64.7.1"
    assert str(lab.status("bob").self_.ip) == "100.64.7.2"
    ping_all(lab, BOTH)


def test_hostile_and_broken_messages_change_nothing(lab: Lab) -> None:
    admin = simulator(lab)
    before = peer_of(lab.status("alice"), "bob")
    assert before.public_key is not None
    strange = base64.b64encode(bytes(range(32))).decode()
    zero = base64.b64encode(bytes(32)).decode()
    here = "198.18.113.66:4000"
    flow = traffic(lab, *BOTH)
    future = 4_000_000_000_000

    # Not in the team at all.
    admin.post(TEAM, TOPIC, "mallory/pc", f"ANNOUNCE {here} {strange}")
    admin.post(TEAM, TOPIC, "mallory/pc", f'KBWG2 {strange} {{"v":2,"seq":5,"ip":"100.64.7.1"}}')
    # Somebody else's key, from a member's other device; a key of small order; a claim of ours.
    for sender, body in (
        ("alice/phone", f'ANNOUNCE {here} {before.public_key} {{"v":2,"seq":{future}}}'),
        ("alice/phone", f"ANNOUNCE {here} {before.public_key}"),
        ("alice/phone", f"ANNOUNCE {here} {zero}"),
        ("bob/desktop", f'ANNOUNCE {here} {strange} {{"v":2,"seq":{future}}}'),
        ("bob/desktop", f'ANNOUNCE {here} {strange} {{"v":2,"seq":1}}'),
        ("bob/desktop", "ANNOUNCE 999.1.1.1:99999 x"),
        ("bob/desktop", "LEAVE {}"),
        ("bob/desktop", 'LEAVE {"v":2,"seq":1}'),
        ("bob/desktop", "%s %n {{{ \x00 ANNOUNCE"),
        ("bob/desktop", "x" * 9000),
    ):
        admin.post(TEAM, TOPIC, sender, body)
    # Attested by nobody, or exploded.
    admin.post(TEAM, TOPIC, "bob/desktop", f"ANNOUNCE {here} {strange}", omit_device_name=True)
    admin.post(TEAM, TOPIC, "bob/desktop", "gone", error="This exploding message is not available")

    time.sleep(4)
    with flow:
        report = flow.stop()
    assert report.lost_count == 0
    after = peer_of(lab.status("alice"), "bob")
    assert (after.public_key, after.state, after.ip) == (before.public_key, "connected", before.ip)
    assert {peer.username for peer in lab.status("bob").peers} == {"alice"}
    for node in BOTH:
        assert "Traceback" not in lab.logs(node)
