"""Keybase goes, in every way that it can: data does not notice, and health says what is wrong."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from sidecar.status import HealthEntry

from .conftest import Labs
from .lab import Lab
from .mesh import TEAM, TOPIC, peer_of, simulator, traffic, wait_connected

BOTH = ("alice", "bob")
ALICE, BOB = "alice/laptop", "bob/desktop"

SHOWN_SECONDS = 45.0
"""Until health shows what fails at once: 15 s after it began, on a machine that runs other labs."""

LOOK_SECONDS = 120.0
"""Until health shows what only the next look at it can tell: looks are up to a minute apart, KBFS
has 20 s to answer, and what mends itself within 30 s alarms nobody."""

BACK_SECONDS = 60.0
"""Until all is well again: the longest pause between tries is half a minute."""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Iterator[Lab]:
    lab = module_labs.up("pair.yaml")
    wait_connected(lab, BOTH)
    yield lab
    for node in BOTH:
        assert "Traceback" not in lab.logs(node)


def entry(lab: Lab, node: str, code: str) -> HealthEntry | None:
    return next((e for e in lab.status(node).health if e.code == code), None)


def wait_for_health(lab: Lab, node: str, code: str, seconds: float) -> HealthEntry:
    found = lab.wait_for(lambda: entry(lab, node, code), seconds, f"{node}'s health: {code}")
    assert found is not None
    return found


def wait_until_well(lab: Lab, *nodes: str, but: tuple[str, ...] = ()) -> None:
    def well() -> bool:
        return not any(e.code not in but for node in nodes for e in lab.status(node).health)

    lab.wait_for(well, BACK_SECONDS, f"nothing is wrong at {', '.join(nodes)}")


@contextmanager
def lossless(lab: Lab) -> Iterator[None]:
    """Count datagrams both ways meanwhile, and miss none; the peers stay connected."""
    with traffic(lab, *BOTH) as flow:
        yield
        report = flow.stop()
    assert report.a_to_b.sent > 100
    assert report.lost_count == 0
    for node, other in (BOTH, BOTH[::-1]):
        assert peer_of(lab.status(node), other).state == "connected"


def test_a_service_that_is_killed_and_comes_back(lab: Lab) -> None:
    admin = simulator(lab)
    with lossless(lab):
        began = datetime.now(UTC)
        admin.stop_service(ALICE, kill=True)
        wrong = wait_for_health(lab, "alice", "keybase-unreachable", SHOWN_SECONDS)
        assert timedelta(seconds=-2) < wrong.since - began < timedelta(seconds=15)
        assert entry(lab, "bob", "keybase-unreachable") is None
        admin.start_service(ALICE)
        wait_until_well(lab, "alice")
        # Poisoned pipes were replaced: what is said now is heard, and said.
        withdraw_last(lab, "alice", ALICE)


def withdraw_last(lab: Lab, node: str, device: str) -> None:
    """Delete a host's announcement, and see it made again: it hears, and speaks."""
    admin = simulator(lab)

    def posted() -> list[int]:
        messages = admin.messages(TEAM, TOPIC)
        texts = [m for m in messages if m["content"]["type"] == "text"]
        return [m["id"] for m in texts if m["sender"] == device]

    before = posted()
    admin.delete(TEAM, TOPIC, device, before[-1])
    lab.wait_for(lambda: posted()[-1] > before[-1], 90, f"{node} announces itself again")


def test_somebody_logs_out(lab: Lab) -> None:
    admin = simulator(lab)
    with lossless(lab):
        admin.set(ALICE, "logged_in", False)
        admin.stop_service(ALICE)
        admin.start_service(ALICE)
        wrong = wait_for_health(lab, "alice", "keybase-logged-out", SHOWN_SECONDS)
        assert wrong.severity == "error"
        admin.set(ALICE, "logged_in", True)
        wait_until_well(lab, "alice")


def test_offline_refused_and_kbfs_stalled_all_at_once(lab: Lab) -> None:
    admin = simulator(lab)
    with lossless(lab):
        admin.set(ALICE, "online", False)
        admin.set(BOB, "kbfs_up", False)
        admin.order("rate-limit", "bob", 0, 30)
        wait_for_health(lab, "alice", "keybase-unreachable", LOOK_SECONDS)
        wait_for_health(lab, "alice", "membership-unreadable", LOOK_SECONDS)
        wait_for_health(lab, "bob", "keybase-rate-limited", LOOK_SECONDS)
        wait_for_health(lab, "bob", "peers-file-unreadable", LOOK_SECONDS)
        admin.set(ALICE, "online", True)
        admin.set(BOB, "kbfs_up", True)
        admin.order("rate-limit", "bob", "off")
        wait_until_well(lab, *BOTH)


def test_a_team_that_is_stale_lets_nobody_in_where_that_is_wanted(labs: Labs) -> None:
    lab = labs.up("pair.yaml", {"MAX_STALE_SECONDS": "20", "MEMBERSHIP_SECONDS": "5"})
    wait_connected(lab, BOTH)
    admin = simulator(lab)
    key = lab.status("bob").self_.public_key

    admin.stop_service(ALICE)

    wait_for_health(lab, "alice", "keybase-stale", 20 + SHOWN_SECONDS)
    lab.wait_for(
        lambda: key not in lab.exec("alice", ["wg", "show", "kbwg0", "peers"]).stdout,
        5,
        "alice's WireGuard knows nobody",
    )
    assert peer_of(lab.status("bob"), "alice") is not None, "bob has read the members meanwhile"

    admin.start_service(ALICE)
    time.sleep(1)
    wait_connected(lab, BOTH, BACK_SECONDS)
