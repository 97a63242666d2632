"""What Keybase tells nobody: files, members, devices. Agents look, while data flows."""

import json
import time
from collections.abc import Iterator

import pytest

from .conftest import Labs
from .disturbances import (
    ALICE,
    BOB,
    BOTH,
    in_wireguard,
    lossless,
    posted,
    restart,
    wait_for_health,
    wait_until_well,
)
from .lab import Lab
from .mesh import TEAM, TOPIC, simulator, wait_connected
from .strangers import announcement, public_key

FILE = f"/keybase/team/{TEAM}/peers.json"

PEERS = [
    {"username": "alice", "device": "laptop", "ip": "100.64.7.1"},
    {"username": "bob", "device": "desktop", "ip": "100.64.7.2"},
]

OTHERS = ("carol", "dave")
"""Members whom we know by their announcements; nobody answers at their addresses."""

LOOK_SECONDS = 90.0
"""Until all that can only be looked for is found: a file every 30 s, a lost push every 60."""

GONE_SECONDS = 60.0
"""Until who was removed is no peer; who was revoked, as soon as the local Keybase knows."""

SCALE = 0.005
"""The client believes in a user's devices for 3 s instead of ten minutes."""

SLOW_KBFS = 3.0
"""Seconds that a file may take."""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Iterator[Lab]:
    settings = {"MEMBERSHIP_SECONDS": "5", "TIME_SCALE": f"{SCALE}"}
    lab = module_labs.up("pair.yaml", {**settings, "PEERS_JSON": json.dumps(PEERS)})
    admin = simulator(lab)
    for number, username in enumerate(OTHERS, 200):
        device = f"{username}/pc"
        admin.set_role(TEAM, username, "reader")
        admin.order("add-device", device)
        admin.order("add-device", f"{username}/paper key", "backup")
        admin.post(TEAM, TOPIC, device, announcement(device, f"100.64.7.{number}"))
    wait_for_peers(lab, *OTHERS)
    lab.wait_for(lambda: _connected(lab), 30, "alice and bob are connected")
    yield lab
    for node in BOTH:
        assert "Traceback" not in lab.logs(node)


def wait_for_peers(lab: Lab, *usernames: str) -> None:
    lab.wait_for(
        lambda: all(in_wireguard(lab, "alice", public_key(f"{name}/pc")) for name in usernames),
        30,
        f"alice's WireGuard has {', '.join(usernames)}",
    )


def _connected(lab: Lab) -> bool:
    states = [
        [peer.state for peer in lab.status(node).peers if peer.username == other]
        for node, other in (BOTH, BOTH[::-1])
    ]
    return states == [["connected"], ["connected"]]


def addresses(lab: Lab) -> list[str]:
    return [str(lab.status(node).self_.ip) for node in BOTH]


def test_files_torn_empty_doubled_and_slow_and_listeners_that_are_alive_and_hear_nothing(
    lab: Lab,
) -> None:
    admin = simulator(lab)
    with lossless(lab):
        admin.order("hold-events", True)
        last = posted(lab, BOB)[-1]
        admin.delete(TEAM, TOPIC, BOB, last)

        admin.write_file(FILE, '[{"username": "alice", "dev')
        wait_for_health(lab, "alice", "peers-file-invalid", LOOK_SECONDS)
        assert addresses(lab) == ["100.64.7.1", "100.64.7.2"]

        # Nor does an agent that starts with them know less than before.
        admin.write_file(FILE, "")
        admin.order("file-conflict", FILE, ALICE, "[]")
        admin.set(ALICE, "kbfs_delay", SLOW_KBFS)
        restart(lab, "alice")
        wait_for_health(lab, "alice", "peers-file-invalid", LOOK_SECONDS)
        wrong = wait_for_health(lab, "alice", "peers-file-conflict", LOOK_SECONDS)
        assert "peers.conflicted (alice's laptop copy " in wrong.text
        assert addresses(lab) == ["100.64.7.1", "100.64.7.2"]

        admin.set(ALICE, "kbfs_delay", 0)
        admin.write_file(FILE, json.dumps(PEERS))
        lab.wait_for(
            lambda: posted(lab, BOB)[-1] > last,
            LOOK_SECONDS,
            "bob has read that he is withdrawn, and announces himself",
        )
        admin.order("hold-events", False)
    (copy,) = [path for path in admin.order("dump")["files"] if "conflicted" in path]
    admin.order("file-remove", copy)
    restart(lab, "alice")
    wait_until_well(lab, *BOTH)


def test_a_removed_member_and_a_revoked_device_are_gone_and_nobody_else_notices(lab: Lab) -> None:
    admin = simulator(lab)
    wait_for_peers(lab, *OTHERS)
    with lossless(lab):
        admin.set_role(TEAM, "carol", "none")
        admin.revoke("dave/pc")
        began = time.monotonic()
        for username in OTHERS:
            key = public_key(f"{username}/pc")
            lab.wait_for(
                lambda key=key: not any(in_wireguard(lab, node, key) for node in BOTH),  # type: ignore[misc]
                GONE_SECONDS - (time.monotonic() - began),
                f"no WireGuard has {username}",
            )
    assert {peer.username for peer in lab.status("alice").peers} == {"bob"}
    wait_connected(lab, BOTH)
