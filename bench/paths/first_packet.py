"""Time from an announcement that is read to the first datagram through the tunnel.

An agent starts beside one that runs, round after round. The clock begins when the second of both
logs that its peer was added, since nothing can flow before; it ends when the first datagram of
the flow, which never pauses, has arrived at either end.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from typing import Final

from integration.lab import Lab
from integration.mesh import wait_connected

from ..flow import Flow, flow
from ..lab_pairs import NODES, TOPOLOGY
from ..rounds import Comparison, Variant

TITLE: Final = "paths: first packet"

ADDRESSES: Final = {"alice": "100.64.7.1", "bob": "100.64.7.2"}
DEVICES: Final = {"alice": "laptop", "bob": "desktop"}
PEERS_JSON: Final = json.dumps(
    [{"username": node, "device": DEVICES[node], "ip": ADDRESSES[node]} for node in NODES]
)
"""Fixed addresses, so that no claim has to be read back before data can flow."""

NETWORKS: Final = {
    "direct": {},
    "relayed over UDP": {"TURN_SERVERS": "turn:198.18.0.20?transport=udp"},
    "relayed over TLS": {"TURN_SERVERS": "turns:198.18.0.20:443?transport=tcp"},
}
"""What stands between the two, besides a NAT each; where there is a relay, they have nothing else."""

SYMMETRIC: Final = {f"NAT_{home}_MAPPING": "address-and-port-dependent" for home in ("A", "B")} | {
    "PORT_PREDICTION": "off"
}

PATIENCE: Final = 60.0
ADDED: Final = "peer added"


def _added_at(lab: Lab, node: str) -> float:
    """Return when an agent has last added its peer, by its log."""
    lines = [line for line in lab.logs(node).splitlines() if ADDED in line]
    return datetime.fromisoformat(lines[-1].split(" ", 1)[0]).timestamp()


def _additions(lab: Lab) -> list[int]:
    return [lab.logs(node).count(ADDED) for node in NODES]


def milliseconds(lab: Lab, datagrams: Flow) -> float:
    """Have bob leave and come again; return how long it took until data flowed."""
    lab.stop("bob")
    lab.wait_for(lambda: not _connected(lab), PATIENCE, "alice drops bob")
    before = _additions(lab)
    lab.start("bob")
    lab.wait_for(
        lambda: all(now > then for now, then in zip(_additions(lab), before, strict=True)),
        PATIENCE,
        "both know each other",
    )
    known_at = max(_added_at(lab, node) for node in NODES)

    def first() -> float:
        datagrams.look()
        arrivals = [d.first_after(known_at) for d in datagrams.directions.values()]
        return min((arrival for arrival in arrivals if arrival is not None), default=0.0)

    arrived = lab.wait_for(first, PATIENCE, "data flows")
    wait_connected(lab, NODES, PATIENCE)
    return (arrived - known_at) * 1000


def _connected(lab: Lab) -> bool:
    return any(peer.path is not None for peer in lab.status("alice").peers)


@contextmanager
def _pair(number: int, settings: Mapping[str, str]) -> Iterator[tuple[Lab, Flow]]:
    if settings:
        settings = {**settings, **SYMMETRIC}
    name = f"bench-first-{os.getpid()}-{number}"
    with (
        Lab.up(TOPOLOGY, {**settings, "PEERS_JSON": PEERS_JSON}, name=name) as lab,
        flow(lab, ADDRESSES) as datagrams,
    ):
        wait_connected(lab, NODES, PATIENCE)
        yield lab, datagrams


@contextmanager
def comparisons() -> Iterator[list[Comparison]]:
    """Bring up a pair for each way, and compare."""
    with ExitStack() as stack:
        variants = []
        for number, (name, settings) in enumerate(NETWORKS.items()):
            lab, datagrams = stack.enter_context(_pair(number, settings))
            variants.append(Variant(name, partial(milliseconds, lab, datagrams)))
        title = f"{TITLE} after the announcement is read"
        yield [Comparison(title, "ms", baseline="direct", variants=variants)]
