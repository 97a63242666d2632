"""Start and end: nothing half-configured, nothing left behind, clear words for every refusal."""

import json

import pytest

from .conftest import Labs
from .errors import CommandError
from .lab import Lab
from .mesh import CONNECT_SECONDS, peer_of, simulator, wait_connected

BOTH = ("alice", "bob")

BACK_SECONDS = 2.0
"""From when an agent that has lost its sessions knows of a peer until both are connected again: the
peer has a session of its own and opens none, so who comes back has to, after a second's courtesy."""

BUSY_SECONDS = 2.0
"""What a machine that runs other labs may add to that."""

SIDECAR = ["python", "-m", "integration.node", "sidecar"]
"""What the lab runs where the file says `kbwg-node sidecar`."""

HOLD_PORT = (
    "import socket, time; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); "
    "s.bind(('::', 5353)); print('bound', flush=True); time.sleep(60)"
)


def links(lab: Lab, node: str) -> list[str]:
    return [link["ifname"] for link in json.loads(lab.exec(node, ["ip", "-j", "link"]).stdout)]


@pytest.mark.executors("namespaces", "uml")
def test_sigterm_leaves_nothing_behind_and_peers_drop_us_at_once(labs: Labs) -> None:
    lab = labs.up("pair.yaml")
    wait_connected(lab, BOTH)
    assert "kbwg_kbwg0" in lab.exec("bob", ["nft", "list", "ruleset"]).stdout

    assert lab.stop("bob") == 0

    assert links(lab, "bob") == ["lo", "eth0"]
    assert lab.exec("bob", ["nft", "list", "ruleset"]).stdout == ""
    assert "kbwg" not in lab.exec("bob", ["ip", "rule"]).stdout
    assert lab.exec("bob", ["ls", "/var/run/wireguard", "/run/kbwg"]).stdout.split() == [
        "/run/kbwg:",
        "/var/run/wireguard:",
    ]
    lab.wait_for(lambda: not lab.status("alice").peers, 3, "alice drops bob")
    # The same key and address after a restart.
    lab.start("bob")
    wait_connected(lab, BOTH)


@pytest.mark.executors("namespaces", "uml")
def test_an_agent_that_was_killed_is_cleaned_up_by_hand(labs: Labs) -> None:
    lab = labs.up("pair.yaml")
    wait_connected(lab, BOTH)
    key = lab.status("bob").self_.public_key
    lab.kill("bob")
    assert "kbwg0" in links(lab, "bob")

    lab.exec("bob", ["kbwg", "down"])
    assert links(lab, "bob") == ["lo", "eth0"]

    lab.start("bob")
    lab.wait_for(lambda: lab.status("bob").peers, CONNECT_SECONDS, "bob knows of alice")
    wait_connected(lab, BOTH, BACK_SECONDS + BUSY_SECONDS)
    assert lab.status("bob").self_.public_key == key
    assert peer_of(lab.status("alice"), "bob").public_key == key


REFUSALS = {
    "no team": ({"KBWG_TEAM": ""}, "KBWG_TEAM: is not set"),
    "no subnet": ({"KBWG_SUBNET": "100.64.7.0/99"}, "KBWG_SUBNET"),
    "unknown team": ({"KBWG_TEAM": "nobody.here"}, "does not exist"),
    "clash": ({"KBWG_SUBNET": "192.168.0.0/16"}, "overlaps"),
    "no kernel module": ({"KBWG_BACKEND": "kernel"}, "no WireGuard"),
    "port taken": ({"KBWG_LISTEN_PORT": "5353"}, "5353 is in use"),
    "foreign interface": ({"KBWG_INTERFACE": "eth0"}, "eth0"),
}


@pytest.fixture(scope="module")
def idle(module_labs: Labs) -> Lab:
    """No agent runs; the relay is there for its certificate, which the agents' settings name."""
    return module_labs.up("pair.yaml", services=["keybase", "internet", "router-a", "turn"])


@pytest.mark.parametrize("case", REFUSALS)
def test_a_start_that_cannot_work_says_why(idle: Lab, case: str) -> None:
    changed, words = REFUSALS[case]
    holder = None
    if case == "port taken":
        holder = idle.popen("alice", ["python", "-c", HOLD_PORT])
        assert holder.stdout is not None
        holder.stdout.readline()
    try:
        with pytest.raises(CommandError) as caught:
            idle.exec("alice", SIDECAR, environment=changed, timeout=30)
    finally:
        if holder is not None:
            holder.kill()
            holder.communicate()

    assert words in caught.value.stderr
    assert "Traceback" not in caught.value.stderr
    assert caught.value.returncode == 2
    assert links(idle, "alice") == ["lo", "eth0"]


def test_a_start_without_a_login_says_why(idle: Lab) -> None:
    admin = simulator(idle)
    admin.set("alice/laptop", "logged_in", False)
    try:
        with pytest.raises(CommandError) as caught:
            idle.exec("alice", SIDECAR, timeout=30)
    finally:
        admin.set("alice/laptop", "logged_in", True)

    assert "logged in" in caught.value.stderr
    assert "Traceback" not in caught.value.stderr
