"""What Keybase tells nobody, or not us: files, members, devices, posts. Agents look, and data flows."""

import json
import time
from collections.abc import Iterator

import pytest

from .conftest import Labs
from .disturbances import (
    ALICE,
    ALL_BUT_AGENTS,
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
from .mesh import TEAM, TOPIC, simulator, wait_data
from .strangers import announcement, public_key

FILE = f"/keybase/team/{TEAM}/peers.json"

PEERS = [
    {"username": "alice", "device": "laptop", "ip": "100.64.7.1"},
    {"username": "bob", "device": "desktop", "ip": "100.64.7.2"},
]

REVOKED, REMOVED, DEMOTED, RESET = OTHERS = ("carol", "dave", "erin", "frank")
"""Members whom we know by what they announce, and what becomes of them."""

LOOK_SECONDS = 90.0
"""Until a push that got lost is read: there is a read a minute."""

FILE_SECONDS = 60.0
"""Until health shows what a file says: agents look every 30 s, and what mends itself within 5 s
alarms nobody."""

GONE_SECONDS = 60.0
"""Until who does not belong is no peer; of a revocation from when the local Keybase knows."""

SCALE = 0.005
"""The client believes in a user's devices for 3 s instead of ten minutes."""

SLOW_KBFS = 3.0
"""Seconds that a file may take."""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Iterator[Lab]:
    settings = {"PEERS_JSON": json.dumps(PEERS), "TIME_SCALE": f"{SCALE}"}
    lab = module_labs.up("pair.yaml", settings, services=ALL_BUT_AGENTS)
    admin = simulator(lab)
    for number, username in enumerate(OTHERS, 200):
        device = f"{username}/pc"
        # A reader cannot edit the file that makes it a guest.
        admin.set_role(TEAM, username, "reader")
        admin.order("add-device", device)
        admin.order("add-device", f"{username}/paper key", "backup")
        admin.post(TEAM, TOPIC, device, announcement(device, f"100.64.7.{number}"))
    for node in BOTH:
        lab.start(node)
    lab.wait_for(
        lambda: all(len(lab.status(node).peers) == 1 + len(OTHERS) for node in BOTH),
        30,
        "both know of all",
    )
    wait_data(lab, BOTH, 30)
    yield lab
    for node in BOTH:
        assert "Traceback" not in lab.logs(node)


def test_what_is_pushed_to_nobody_is_found_by_looking(lab: Lab) -> None:
    admin = simulator(lab)
    with lossless(lab):
        # Listeners live, and hear nothing of this.
        admin.order("hold-events", True)
        last = posted(lab, BOB)[-1]
        admin.delete(TEAM, TOPIC, BOB, last)

        assert all(in_wireguard(lab, "bob", public_key(f"{name}/pc")) for name in OTHERS)
        since = time.monotonic()
        admin.set_role(TEAM, REMOVED, "none")
        admin.set_role(TEAM, DEMOTED, "restrictedbot")
        admin.reset_user(RESET)

        _tear_the_file(lab)
        revoked = time.monotonic()
        admin.revoke(f"{REVOKED}/pc")
        _empty_the_file(lab)

        for username in (REMOVED, DEMOTED, RESET):
            _wait_until_gone(lab, username, since)
        _wait_until_gone(lab, REVOKED, revoked)
        lab.wait_for(
            lambda: posted(lab, BOB)[-1] > last,
            LOOK_SECONDS,
            "bob has read that he is withdrawn, and announces himself",
        )
        admin.order("hold-events", False)
        _come_back_as_before(lab)
    restart(lab, "alice")
    wait_until_well(lab, *BOTH)


def _tear_the_file(lab: Lab) -> None:
    simulator(lab).write_file(FILE, '[{"username": "alice", "dev')
    wait_for_health(lab, "bob", "peers-file-invalid", FILE_SECONDS)
    assert addresses(lab) == ["100.64.7.1", "100.64.7.2"]


def _empty_the_file(lab: Lab) -> None:
    """Let it be empty and slow, with a copy of two who wrote at once; an agent starts with that."""
    admin = simulator(lab)
    admin.write_file(FILE, "")
    admin.order("file-conflict", FILE, ALICE, "[]")
    admin.set(ALICE, "kbfs_delay", SLOW_KBFS)
    restart(lab, "alice")
    wait_for_health(lab, "alice", "peers-file-invalid", FILE_SECONDS)
    wrong = wait_for_health(lab, "alice", "peers-file-conflict", FILE_SECONDS)
    assert "peers.conflicted (alice's laptop copy " in wrong.text

    assert addresses(lab) == ["100.64.7.1", "100.64.7.2"]
    admin.set(ALICE, "kbfs_delay", 0)
    admin.write_file(FILE, json.dumps(PEERS))
    (copy,) = [path for path in admin.order("dump")["files"] if "conflicted" in path]
    admin.order("file-remove", copy)


def addresses(lab: Lab) -> list[str]:
    return [str(lab.status(node).self_.ip) for node in BOTH]


def _wait_until_gone(lab: Lab, username: str, since: float) -> None:
    key = public_key(f"{username}/pc")
    lab.wait_for(
        lambda: not in_wireguard(lab, "bob", key),
        since + GONE_SECONDS - time.monotonic(),
        f"{username} is no peer of bob's",
    )


def _come_back_as_before(lab: Lab) -> None:
    """Let those who are gone say once more that they are there."""
    admin = simulator(lab)
    for number, username in enumerate(OTHERS, 200):
        device = f"{username}/pc"
        line = announcement(device, f"100.64.7.{number}")
        admin.post(TEAM, TOPIC, device, line)
        admin.post(TEAM, TOPIC, device, line, revoked_device=username == REVOKED)
    time.sleep(2.0)
    assert {peer.username for peer in lab.status("bob").peers} == {"alice"}
