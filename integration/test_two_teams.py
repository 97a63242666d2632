"""Two teams on one host: an agent each, and neither notices what becomes of the other."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Labs
from .lab import Lab
from .mesh import is_connected, simulator, wait_connected
from .node_process import NodeProcess
from .traffic import Traffic

BOTH = ("alice", "bob")
OTHER_TEAM, OTHER = "beta.vpn", "kbwg1"

SIDECAR = ["python", "-m", "integration.node", "sidecar"]

VARIABLES = {
    "KBWG_TEAM": OTHER_TEAM,
    "KBWG_SUBNET": "100.64.8.0/24",
    "KBWG_INTERFACE": OTHER,
    "KBWG_LISTEN_PORT": "",
}

CONNECT_SECONDS = 40.0
"""Two meshes at once, on a machine that runs other labs."""


class Second:
    """The agents of the second team, which the topology knows nothing of."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self._lab = lab
        self._directory = directory
        self._running: dict[str, NodeProcess] = {}

    def start(self, node: str) -> None:
        log = self._directory / node
        # They hear each other in chat and in the DEV topic alike.
        variables = {**VARIABLES, "KBWG_TOPIC_TYPE": "dev" if node == "alice" else "chat"}
        self._running[node] = self._lab.popen(node, SIDECAR, environment=variables, stdout=log)

    def end(self, node: str, number: signal.Signals) -> int:
        process = self._running.pop(node)
        process.send_signal(number)
        process.communicate(timeout=20)
        return process.returncode

    def wait_connected(self) -> None:
        self._lab.wait_for(
            lambda: all(is_connected(self._lab.status(node, OTHER), 1) for node in BOTH),
            CONNECT_SECONDS,
            "the second team is connected",
        )

    def kill(self) -> None:
        for process in self._running.values():
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Lab:
    lab = module_labs.up("pair.yaml")
    for user, role in (("alice", "owner"), ("bob", "writer")):
        simulator(lab).order("role", OTHER_TEAM, user, role)
    return lab


@pytest.fixture(scope="module")
def second(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Second]:
    agents = Second(lab, tmp_path_factory.mktemp("second"))
    try:
        for node in BOTH:
            agents.start(node)
        wait_connected(lab, BOTH, CONNECT_SECONDS)
        agents.wait_connected()
        yield agents
    finally:
        agents.kill()


def traffic_of(lab: Lab, interface: str) -> Traffic:
    """Begin to count datagrams of one team."""
    ends = []
    for node in BOTH:
        ip = lab.status(node, interface).self_.ip
        assert ip is not None
        ends.append((node, ip))
    return Traffic(lab, ends[0], ends[1])


def test_each_has_its_own_interface_mark_port_key_tables_and_state(
    lab: Lab, second: Second
) -> None:
    shown = {}
    for interface in ("kbwg0", OTHER):
        status = lab.status("alice", interface).self_
        mark = lab.exec("alice", ["wg", "show", interface, "fwmark"]).stdout.strip()
        shown[interface] = (mark, status.listen_port, status.public_key, status.team, status.subnet)
    assert [mark for mark, *_ in shown.values()] == ["0x6b62", "0x6b63"]
    for one, other in zip(shown["kbwg0"], shown[OTHER], strict=True):
        assert one != other
    tables = lab.exec("alice", ["nft", "list", "tables"]).stdout
    assert {"table inet kbwg_kbwg0", f"table inet kbwg_{OTHER}"} <= set(tables.splitlines())
    state = lab.exec("alice", ["ls", "/var/lib/kbwg"]).stdout.split()
    assert {"kbwg0", OTHER} <= set(state)
    links = json.loads(lab.exec("alice", ["ip", "-j", "link"]).stdout)
    assert {"kbwg0", OTHER} <= {link["ifname"] for link in links}


def test_the_second_team_speaks_half_in_chat_and_half_in_dev(lab: Lab, second: Second) -> None:
    admin = simulator(lab)
    for kind, sender in (("chat", "bob/desktop"), ("dev", "alice/laptop")):
        messages = admin.messages(OTHER_TEAM, "announce", kind)
        assert {m["sender"] for m in messages if m["content"]["type"] == "text"} == {sender}


def test_one_teams_tunnel_is_no_way_for_the_other(lab: Lab, second: Second) -> None:
    for interface, foreign in (("kbwg0", "100.64.8."), (OTHER, "100.64.7.")):
        for candidate in lab.status("alice", interface).self_.candidates:
            assert foreign not in candidate
        assert all(not str(p.ip).startswith(foreign) for p in lab.status("alice", interface).peers)


def test_the_second_is_killed_ended_and_taken_down_and_the_first_loses_nothing(
    lab: Lab, second: Second
) -> None:
    with traffic_of(lab, "kbwg0") as flow:
        with traffic_of(lab, OTHER) as own:
            second.end("bob", signal.SIGKILL)
            time.sleep(2)
            second.start("bob")
            second.wait_connected()
            assert own.stop().lost_count == 0, "nor does the second by being killed"
        assert second.end("bob", signal.SIGTERM) == 0
        second.start("bob")
        second.wait_connected()
        second.end("bob", signal.SIGKILL)
        lab.exec("bob", ["kbwg", "down"], environment=VARIABLES)
        time.sleep(1)
        report = flow.stop()

    assert report.lost_count == 0
    links = json.loads(lab.exec("bob", ["ip", "-j", "link"]).stdout)
    assert {link["ifname"] for link in links} == {"lo", "eth0", "kbwg0"}
    rules = lab.exec("bob", ["nft", "list", "ruleset"]).stdout
    assert "kbwg_kbwg0" in rules
    assert OTHER not in rules
    second.start("bob")
    second.wait_connected()


def test_the_first_ends_and_comes_back_and_the_second_loses_nothing(
    lab: Lab, second: Second
) -> None:
    with traffic_of(lab, OTHER) as flow:
        assert lab.stop("bob") == 0
        assert "kbwg0" not in lab.exec("bob", ["nft", "list", "ruleset"]).stdout
        lab.start("bob")
        wait_connected(lab, BOTH, CONNECT_SECONDS)
        report = flow.stop()

    assert report.lost_count == 0
