"""Two hosts behind home routers in the namespaces lab: with agents, or with WireGuard by hand."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from integration.lab import Lab
from integration.mesh import wait_connected

TOPOLOGY: Final = Path(__file__).resolve().parents[1] / "compose" / "pair.yaml"

NODES: Final = ("alice", "bob")
GATEWAYS: Final = {"alice": "192.168.1.1", "bob": "192.168.2.1"}
PUBLIC: Final = {"alice": "198.18.100.2", "bob": "198.18.113.2"}
"""Addresses that the routers translate the homes to; their ports are kept."""

TUNNEL: Final = {"alice": "100.64.8.1", "bob": "100.64.8.2"}
PORT: Final = 51820
DIRECT: Final = {node: f"{address}:{PORT}" for node, address in PUBLIC.items()}
PAIRS: Final = (NODES, NODES[::-1])
INTERFACE: Final = "byhand0"

MEASURED_SECONDS: Final = 4
SETTLE_SECONDS: Final = 1
"""Of each transfer, before the measuring: TCP finds its rate."""


@contextmanager
def agents(settings: Mapping[str, str] | None = None) -> Iterator[Lab]:
    """Bring up the pair with agents, connected."""
    with Lab.up(TOPOLOGY, settings, name=f"bench-agents-{os.getpid()}") as lab:
        wait_connected(lab, NODES, 60.0)
        yield lab


@contextmanager
def by_hand(mtu: int) -> Iterator[Lab]:
    """Bring up the same network with WireGuard set up by its own tools, and no agent."""
    services = ("router-a", "router-b", "carrier-a", "carrier-b", "internet", "turn")
    with Lab.up(TOPOLOGY, name=f"bench-hand-{os.getpid()}", services=services) as lab:
        keys = {}
        for node in NODES:
            lab.exec(node, ["ip", "route", "replace", "default", "via", GATEWAYS[node]])
            lab.exec(node, ["wireguard-go", INTERFACE], environment={"LOG_LEVEL": "silent"})
            private = lab.exec(node, ["wg", "genkey"]).stdout
            keys[node] = lab.exec(node, ["wg", "pubkey"], stdin=private).stdout.strip()
            arguments = ["private-key", "/dev/stdin", "listen-port", str(PORT)]
            lab.exec(node, ["wg", "set", INTERFACE, *arguments], stdin=private)
        for node, peer in PAIRS:
            arguments = ["allowed-ips", f"{TUNNEL[peer]}/32", "persistent-keepalive", "1"]
            lab.exec(node, ["wg", "set", INTERFACE, "peer", keys[peer], *arguments])
            lab.exec(node, ["ip", "addr", "add", f"{TUNNEL[node]}/24", "dev", INTERFACE])
            lab.exec(node, ["ip", "link", "set", INTERFACE, "mtu", str(mtu), "up"])
        set_endpoints(lab, DIRECT)
        yield lab


def set_endpoints(lab: Lab, endpoints: Mapping[str, str]) -> None:
    """Tell each node by hand where the other one is, and wait until it is found there."""
    for node, peer in PAIRS:
        key = lab.exec(node, ["wg", "show", INTERFACE, "peers"]).stdout.strip()
        lab.exec(node, ["wg", "set", INTERFACE, "peer", key, "endpoint", endpoints[peer]])
    ping = ["ping", "-c1", "-W1", TUNNEL["bob"]]
    lab.wait_for(lambda: not lab.exec("alice", ping, check=False).returncode, 30, "a ping")


def mtu_of(lab: Lab, interface: str = "kbwg0") -> int:
    """Read the MTU of the agents' interface."""
    return int(lab.exec("alice", ["cat", f"/sys/class/net/{interface}/mtu"]).stdout)


def address_of(lab: Lab, node: str) -> str:
    """Read the overlay address of a node's agent."""
    return str(lab.status(node).self_.ip)


def megabits(lab: Lab, address: str) -> float:
    """Send by one TCP connection from alice to bob's `address`; return Mbit/s received."""
    server = ["iperf3", "--server", "--one-off", "--bind", address]
    with lab.popen("bob", server) as listening:
        lab.wait_for(lambda: _listens(lab, address), 10, "iperf3 listens")
        client = ["iperf3", "--client", address, "--json"]
        client += ["--time", str(MEASURED_SECONDS), "--omit", str(SETTLE_SECONDS)]
        said = json.loads(lab.exec("alice", client, timeout=60).stdout)
        listening.wait(10)
    return float(said["end"]["sum_received"]["bits_per_second"]) / 1e6


def _listens(lab: Lab, address: str) -> bool:
    return address in lab.exec("bob", ["ss", "-Hltn", "sport", "=", ":5201"]).stdout
