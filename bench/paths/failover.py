"""How long data stands still when the selected path swallows it in silence and another exists.

Alice has two uplinks; the router that bob's data comes in by drops what a round says, while 200
datagrams a second flow each way.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Final

from integration.lab import Lab
from integration.mesh import peer_of, wait_connected

from ..flow import Flow, flow
from ..lab_pairs import NODES, TOPOLOGY, address_of
from ..rounds import Comparison, Variant

TITLE: Final = "paths: failover"

BOB: Final = "198.18.113.2"
ROUTERS: Final = {"198.18.100.2": "router-a", "198.18.103.2": "router-c"}
"""Behind which router of alice's bob sees an address."""

SILENCES: Final = {
    "everything": "",
    "towards alice only": f"ip saddr {BOB}",
    "towards bob only": f"ip daddr {BOB}",
}

PATIENCE: Final = 30.0
QUIET_SECONDS: Final = 6.0
"""Before each round: every other pair of an active peer is checked each 5 s, and so known again."""


def _router(lab: Lab) -> str:
    endpoint = peer_of(lab.status("bob"), "alice").endpoint
    assert endpoint is not None
    return ROUTERS[endpoint.rpartition(":")[0]]


def seconds(lab: Lab, datagrams: Flow, rng: Random, match: str) -> float:
    """Silence the path in use; return the longest gap of either direction."""
    # At any phase of the checks: what is measured must not keep time with what measures.
    time.sleep(QUIET_SECONDS + rng.uniform(0.0, 1.0))
    router = _router(lab)
    began = time.clock_gettime(time.CLOCK_REALTIME)
    silence = lab.drop(router, match)
    lab.wait_for(lambda: _router(lab) != router, PATIENCE, "data takes the other uplink")
    time.sleep(1.5)
    datagrams.look()
    gap = datagrams.longest_gap(began)
    silence.remove()
    wait_connected(lab, NODES, PATIENCE)
    return gap


@contextmanager
def comparisons() -> Iterator[list[Comparison]]:
    """Bring a host with two uplinks up, and compare the three silences."""
    topology = TOPOLOGY.with_name("multihomed.yaml")
    with Lab.up(topology, name=f"bench-failover-{os.getpid()}") as lab:
        wait_connected(lab, NODES, PATIENCE)
        addresses = {node: address_of(lab, node) for node in NODES}
        with flow(lab, addresses) as datagrams:
            rng = Random(0)
            variants = [
                Variant(name, partial(seconds, lab, datagrams, rng, match))
                for name, match in SILENCES.items()
            ]
            title = f"{TITLE}, longest gap when the path in use drops"
            yield [Comparison(title, "s", baseline="everything", variants=variants)]
