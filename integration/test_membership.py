"""Who goes is gone: demoted, revoked, reset; and who is there twice is told so."""

import time

import pytest

from .conftest import Labs
from .lab import Lab
from .mesh import TEAM, TOPIC, peer_of, ping_all, simulator, wait_connected

BOTH = ("alice", "bob")

GONE_SECONDS = 60.0
"""From the moment that the local Keybase client can know of it."""

SCALE = 0.005
CACHE_SECONDS = 600 * SCALE
"""How long the client believes in a user's devices, in this lab."""

LOOK_SECONDS = 8.0
"""Until the agent has seen the devices of somebody who has just come: it looks each 5."""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Lab:
    lab = module_labs.up("pair.yaml", {"TIME_SCALE": str(SCALE)})
    wait_connected(lab, BOTH, 60.0)
    return lab


def in_wireguard(lab: Lab, node: str, key: str) -> bool:
    return key in lab.exec(node, ["wg", "show", "kbwg0", "peers"]).stdout


def key_of_bob(lab: Lab) -> str:
    key = peer_of(lab.status("alice"), "bob").public_key
    assert key is not None
    return key


def test_a_demoted_member_is_gone_from_wireguard_within_a_minute_and_may_come_back(
    lab: Lab,
) -> None:
    key = key_of_bob(lab)
    assert in_wireguard(lab, "alice", key)

    simulator(lab).set_role(TEAM, "bob", "restrictedbot")

    lab.wait_for(lambda: not in_wireguard(lab, "alice", key), GONE_SECONDS, "bob is no peer")
    simulator(lab).set_role(TEAM, "bob", "writer")
    wait_connected(lab, BOTH, 60.0)
    ping_all(lab, BOTH)


def test_a_revoked_device_is_gone_from_wireguard_within_a_minute_and_never_comes_back(
    lab: Lab,
) -> None:
    wait_connected(lab, BOTH, 60.0)
    key = key_of_bob(lab)
    # Every user has another: the paper key. An empty list of devices is no answer.
    simulator(lab).order("add-device", "bob/paper key", "backup")
    # Nothing outside shows it: a device that was never seen among bob's may be a new one.
    time.sleep(LOOK_SECONDS)

    simulator(lab).revoke("bob/desktop")

    lab.wait_for(
        lambda: not in_wireguard(lab, "alice", key),
        CACHE_SECONDS + GONE_SECONDS,
        "bob's device is no peer",
    )
    line = f'ANNOUNCE 198.18.113.2:4000 {key} {{"v":2,"seq":{int(time.time() * 1000)}}}'
    simulator(lab).post(TEAM, TOPIC, "bob/desktop", line, revoked_device=True)
    simulator(lab).post(TEAM, TOPIC, "bob/desktop", line)
    time.sleep(2.0)
    assert not in_wireguard(lab, "alice", key)
    assert "bob" not in {peer.username for peer in lab.status("alice").peers}


def test_a_reset_user_is_gone_from_wireguard_within_a_minute(labs: Labs) -> None:
    lab = labs.up("pair.yaml")
    wait_connected(lab, BOTH, 60.0)
    key = key_of_bob(lab)

    simulator(lab).reset_user("bob")

    lab.wait_for(lambda: not in_wireguard(lab, "alice", key), GONE_SECONDS, "bob is no peer")


def test_two_agents_as_one_device_both_say_so(labs: Labs) -> None:
    lab = labs.up("pair.yaml", {"DEVICE_B": "alice/laptop"})

    for node in BOTH:
        lab.wait_for(
            lambda node=node: (
                "duplicate-device"  # type: ignore[misc]
                in {entry.code for entry in lab.status(node).health}
            ),
            40,
            f"{node} says that it is there twice",
        )
