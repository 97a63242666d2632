"""The files for users, as they are: a host's own network, a bridge with a published port, a pod."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from .labs import docker
from .sidecars import BUSY_SECONDS, REKEY_SECONDS, Sidecars, flow
from .waiting import wait_for

pytestmark = [pytest.mark.executors("docker"), pytest.mark.timeout(240)]

BOTH = ("alice", "bob")

BACK_SECONDS = 5.0
"""Until a container that was restarted is connected again."""


@pytest.fixture(scope="module")
def hosts() -> Iterator[Sidecars]:
    """Alice on this machine's own network, bob in the engine's bridge."""
    running = Sidecars("files")
    running.down_leftovers()
    running.create()
    try:
        running.up("alice", device="laptop", file="sidecar")
        running.up("bob", file="sidecar-bridge")
        running.wait_connected(*BOTH)
        yield running
    finally:
        running.down()


def on_this_machine(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def what_is_left() -> list[str]:
    """Everything of kbwg's in this machine's own network."""
    interfaces = [link["ifname"] for link in json.loads(on_this_machine("ip", "-j", "link"))]
    tables = on_this_machine("nft", "list", "tables").splitlines()
    # Rules of ours carry the routing protocol 107.
    rules = (
        on_this_machine("ip", "rule").splitlines()
        + on_this_machine("ip", "-6", "rule").splitlines()
    )
    return [
        *(name for name in interfaces if name.startswith("kbwg")),
        *(table for table in tables if "kbwg" in table),
        *(rule for rule in rules if "proto 107" in rule),
    ]


def test_a_host_is_in_the_mesh_by_one_container_on_its_own_network(hosts: Sidecars) -> None:
    ip = str(hosts.status("bob").self_.ip)

    assert "kbwg0" in on_this_machine("ip", "-br", "link")
    assert "1 received" in on_this_machine("ping", "-c1", "-W5", ip), "every program reaches it"
    with flow(hosts) as meter:
        time.sleep(3)
        report = meter.stop()
    assert report.a_to_b.received > 100
    assert report.lost_count == 0


def test_a_bridge_has_its_port_published_as_the_same_number(hosts: Sidecars) -> None:
    port = hosts.status("bob").self_.listen_port
    shown = docker.docker(["port", hosts.container("bob"), f"{port}/udp"])

    assert f"0.0.0.0:{port}" in shown.splitlines()


@pytest.mark.parametrize(
    ("how", "seconds"),
    [("restart", BACK_SECONDS), ("kill and start", BACK_SECONDS + REKEY_SECONDS)],
)
def test_on_the_hosts_network_a_container_is_back_seconds_after(
    hosts: Sidecars, how: str, seconds: float
) -> None:
    before = hosts.status("alice").self_
    name = hosts.container("alice")
    if how == "restart":
        docker.docker(["restart", "--time=20", name])
    else:
        docker.docker(["kill", name])
        docker.docker(["start", name])
    started = time.monotonic()
    hosts.wait_connected(*BOTH)
    took = time.monotonic() - started

    after = hosts.status("alice").self_
    assert (after.public_key, after.ip, after.listen_port) == (
        before.public_key,
        before.ip,
        before.listen_port,
    )
    assert took < seconds + BUSY_SECONDS, f"{took:.1f} s"


def test_an_agent_that_is_told_to_keep_the_tunnel_ends_without_it(hosts: Sidecars) -> None:
    hosts.up("alice", device="laptop", file="sidecar", variables={"KBWG_KEEP_ON_STOP": "1"})
    hosts.wait_connected(*BOTH)
    agent = hosts.process("alice", "kbwg run")
    tunnel = hosts.process("alice", "wireguard-go")
    with flow(hosts) as meter:
        agent.signal(signal.SIGTERM)
        wait_for(lambda: not agent.alive, 20, "the agent ends")
        time.sleep(3)
        report = meter.stop()
    assert report.a_to_b.received > 100
    assert report.lost_count == 0
    assert tunnel.alive
    assert hosts.status("bob").peers, "nobody has said goodbye"

    docker.docker(["restart", "--time=20", hosts.container("alice")])
    hosts.wait_connected(*BOTH)


def test_stopping_leaves_nothing_on_the_hosts_network(hosts: Sidecars) -> None:
    hosts.up("alice", device="laptop", file="sidecar")
    hosts.wait_connected(*BOTH)
    assert what_is_left(), "the search finds what there is"

    docker.docker(["stop", "--time=20", hosts.container("alice")])

    assert what_is_left() == []
    wait_for(lambda: not hosts.status("bob").peers, 3 + BUSY_SECONDS, "bob drops alice")
