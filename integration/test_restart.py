"""One of two agents is started again: its key is known, or it is new."""

import time

import pytest

from .conftest import Labs
from .expectation import Ends
from .lab import Lab
from .mesh import peer_of, ping_all, wait_connected, wait_for_path

BOTH = ("alice", "bob")
SRFLX = Ends("srflx", "srflx")

RESTART_SECONDS = 5.0
"""Until the direct path is there again, from when the agent answers."""

BUSY_SECONDS = 3.0
"""What a machine that runs other labs may add to that."""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Lab:
    lab = module_labs.up("pair.yaml")
    wait_connected(lab, BOTH)
    return lab


def start_and_meet(lab: Lab, key: str | None) -> None:
    """Start bob; wait until alice is connected to a bob with that key, or with any other."""
    former = peer_key(lab) if key is None else None
    lab.start("bob")
    lab.wait_for(lambda: lab.status("bob"), 20, "bob answers")
    began = time.monotonic()
    lab.wait_for(
        lambda: peer_key(lab) not in (None, former) and key in (None, peer_key(lab)),
        20,
        "alice hears of bob",
    )
    wait_for_path(lab, *BOTH, SRFLX)
    assert time.monotonic() - began < RESTART_SECONDS + BUSY_SECONDS
    ping_all(lab, BOTH)


def peer_key(lab: Lab) -> str | None:
    peers = lab.status("alice").peers
    return peers[0].public_key if peers else None


def test_after_an_end_with_leave(lab: Lab) -> None:
    key = lab.status("bob").self_.public_key
    lab.stop("bob")
    lab.wait_for(lambda: not lab.status("alice").peers, 5, "alice drops bob")
    start_and_meet(lab, key)


def test_after_its_host_has_lost_everything_but_the_key(lab: Lab) -> None:
    key = lab.status("bob").self_.public_key
    lab.kill("bob")
    lab.wait_for(lambda: not lab.running("bob"), 5, "it died")
    lab.exec("bob", ["ip", "link", "delete", "kbwg0"])
    start_and_meet(lab, key)


def test_with_a_new_key_the_old_peer_gives_way(lab: Lab) -> None:
    former = lab.status("bob").self_.public_key
    lab.kill("bob")
    lab.wait_for(lambda: not lab.running("bob"), 5, "it died")
    lab.exec("bob", ["kbwg", "down", "--forget"])
    start_and_meet(lab, None)

    assert len(lab.status("alice").peers) == 1
    assert peer_of(lab.status("alice"), "bob").public_key != former
    assert former not in lab.exec("alice", ["wg", "show", "kbwg0", "peers"]).stdout
