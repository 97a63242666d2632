"""`kbwg.json`: a team that says what its hosts need not."""

import json

import pytest

from .conftest import Labs
from .kinds import KINDS
from .lab import Lab
from .mesh import TEAM, expect_no_path, peer_of, simulator, traffic, wait_connected

BOTH = ("alice", "bob")
PATH = f"/keybase/team/{TEAM}/kbwg.json"
SUBNET = "100.64.7.0/24"
FOLLOW_SECONDS = 45.0
"""Until a file that has changed is followed: these agents look every 5 s."""

PEERS = [
    {"username": "alice", "device": "laptop", "ip": "100.64.7.1", "role": "client"},
    {"username": "bob", "device": "desktop", "ip": "100.64.7.2", "role": "client"},
]


@pytest.fixture(scope="module")
def idle(module_labs: Labs) -> Lab:
    """No agent runs; the relay is there for its certificate, which the agents' settings name."""
    return module_labs.up("pair.yaml", services=["keybase", "internet", "router-a", "turn"])


def _run(lab: Lab, **variables: str) -> tuple[int, str]:
    argv = ["timeout", "25", "python", "-m", "integration.node", "sidecar"]
    done = lab.exec("alice", argv, check=False, timeout=40, environment=variables)
    return done.returncode, done.stderr


def test_a_host_whose_environment_differs_does_not_start_and_leaves_nothing(idle: Lab) -> None:
    simulator(idle).write_file(PATH, json.dumps({"subnet": "100.64.9.0/24"}))

    code, said = _run(idle)

    assert code == 2
    assert "KBWG_SUBNET: is 100.64.7.0/24 here and 100.64.9.0/24 in the team's kbwg.json" in said
    assert "Traceback" not in said
    assert "kbwg0" not in idle.exec("alice", ["ip", "link"]).stdout


def test_a_host_without_a_subnet_anywhere_does_not_start(idle: Lab) -> None:
    simulator(idle).write_file(PATH, "{}")

    code, said = _run(idle, KBWG_SUBNET="")

    assert code == 2
    assert "KBWG_SUBNET: is not set, and the team's kbwg.json names no subnet" in said


def test_the_policy_is_followed_while_traffic_flows(labs: Labs) -> None:
    lab = labs.up("pair.yaml", {"PEERS_JSON": json.dumps(PEERS), "MEMBERSHIP_SECONDS": "5"})
    lab.wait_for(lambda: lab.status("alice").self_.ip, 20, "alice is up")
    assert lab.status("alice").peers == (), "clients do not talk to each other"

    simulator(lab).write_file(PATH, json.dumps({"subnet": SUBNET, "policy": "mesh"}))
    lab.wait_for(
        lambda: lab.status("alice").peers and lab.status("bob").peers, FOLLOW_SECONDS, "a mesh"
    )
    wait_connected(lab, BOTH)

    with traffic(lab, *BOTH) as flow:
        # Other servers, a torn file, and a subnet that cannot be followed: nothing is lost.
        _say(lab, json.dumps({"policy": "mesh", "dns": "later"}))
        _wait_for_health(lab, "team-config-field")
        _say(lab, '{"policy": "me')
        _wait_for_health(lab, "team-config-invalid")
        _say(lab, json.dumps({"policy": "mesh", "subnet": "100.64.9.0/24"}))
        _wait_for_health(lab, "team-config-differs")
        report = flow.stop()
    assert report.lost_count == 0
    assert peer_of(lab.status("alice"), "bob").state == "connected"
    assert str(lab.status("alice").self_.ip) == "100.64.7.1"


def test_a_relay_that_the_team_names_later_connects_whom_nats_keep_apart(labs: Labs) -> None:
    settings = {"PORT_PREDICTION": "off", "MEMBERSHIP_SECONDS": "5"}
    lab = labs.up(
        "pair.yaml", {**KINDS["SY"].settings("A"), **KINDS["SY"].settings("B"), **settings}
    )
    expect_no_path(lab, *BOTH, seconds=2.0)

    _say(lab, json.dumps({"turn_servers": ["turn:198.18.0.20?transport=udp"]}))

    lab.wait_for(lambda: lab.status("alice").self_.relays, FOLLOW_SECONDS, "alice uses the relay")
    wait_connected(lab, BOTH)
    assert _relayed(lab)
    _say(lab, "{}")
    lab.wait_for(lambda: not lab.status("alice").self_.relays, FOLLOW_SECONDS, "alice lets it go")


def _relayed(lab: Lab) -> bool:
    path = peer_of(lab.status("alice"), "bob").path
    return path is not None and path.relayed


def _say(lab: Lab, content: str) -> None:
    simulator(lab).write_file(PATH, content)


def _wait_for_health(lab: Lab, code: str) -> None:
    lab.wait_for(
        lambda: code in {entry.code for entry in lab.status("alice").health},
        FOLLOW_SECONDS,
        f"health says {code}",
    )
