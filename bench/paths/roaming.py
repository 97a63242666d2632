"""How long data stands still when a host's address changes, as by a new lease."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

from integration.lab import Lab
from integration.mesh import wait_connected

from ..flow import Flow, flow
from ..lab_pairs import NODES, TOPOLOGY, address_of
from ..rounds import Comparison, Variant

TITLE: Final = "paths: roaming"

ADDRESSES: Final = ("192.168.1.10", "192.168.1.20")
NATS: Final = {
    "both behind port-restricted NATs": {},
    "bob behind a full cone": {"NAT_B_FILTERING": "endpoint-independent"},
}

PATIENCE: Final = 30.0
QUIET_SECONDS: Final = 3.0
AFTER_SECONDS: Final = 4.0


def _move(lab: Lab) -> None:
    shown = json.loads(lab.exec("alice", ["ip", "-j", "-4", "address", "show", "eth0"]).stdout)
    old = shown[0]["addr_info"][0]["local"]
    (new,) = set(ADDRESSES) - {old}
    # The default route goes with the address.
    script = (
        f"ip address del {old}/24 dev eth0; ip address add {new}/24 dev eth0; "
        "ip route add default via 192.168.1.1"
    )
    lab.exec("alice", ["sh", "-ec", script])


def seconds(lab: Lab, datagrams: Flow) -> float:
    """Move alice to her other address; return the longest gap of either direction."""
    time.sleep(QUIET_SECONDS)
    began = time.clock_gettime(time.CLOCK_REALTIME)
    _move(lab)
    time.sleep(AFTER_SECONDS)
    wait_connected(lab, NODES, PATIENCE)
    datagrams.look()
    return datagrams.longest_gap(began)


@contextmanager
def _pair(number: int, settings: Mapping[str, str]) -> Iterator[tuple[Lab, Flow]]:
    with Lab.up(TOPOLOGY, settings, name=f"bench-roaming-{os.getpid()}-{number}") as lab:
        wait_connected(lab, NODES, PATIENCE)
        with flow(lab, {node: address_of(lab, node) for node in NODES}) as datagrams:
            yield lab, datagrams


@contextmanager
def comparisons() -> Iterator[list[Comparison]]:
    """Bring up a pair behind each kind of NAT, and compare."""
    with ExitStack() as stack:
        variants = []
        for number, (name, settings) in enumerate(NATS.items()):
            lab, datagrams = stack.enter_context(_pair(number, settings))
            variants.append(Variant(name, partial(seconds, lab, datagrams)))
        title = f"{TITLE}, longest gap when alice's address changes"
        yield [Comparison(title, "s", baseline=next(iter(NATS)), variants=variants)]
