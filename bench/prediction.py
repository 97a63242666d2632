"""Seconds until port prediction connects two hosts that nothing else can: 19 of 20 runs must.

Each run is a lab of its own, with other keys, ports and draws; there is no relay in it. A run that has
no path after a minute is infinite, which the extremes show.
"""

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Final

from integration.errors import LabTimeoutError
from integration.lab import Lab
from integration.mesh import peer_of, wait_connected

from .lab_pairs import NODES, TOPOLOGY
from .rounds import Comparison, Variant

PATIENCE: Final = 60.0
"""Seconds that a run gets: a first campaign takes 25."""

SYMMETRIC: Final = {"NAT_A_MAPPING": "address-and-port-dependent"}

CELLS: Final = {
    "MQ:SY": {**SYMMETRIC, "NAT_B_MAPPING": "endpoint-independent"},
    "FW:SY": {**SYMMETRIC, "NAT_B_MAPPING": "none"},
}
"""The pairs of kinds of NAT whose only direct path is a predicted one."""

_runs = count()


def seconds(settings: Mapping[str, str]) -> float:
    """Bring a pair up; return how long it takes until both have a path that was predicted."""
    name = f"bench-predict-{os.getpid()}-{next(_runs)}"
    with Lab.up(TOPOLOGY, settings, name=name) as lab:
        begun = time.monotonic()
        try:
            wait_connected(lab, NODES, PATIENCE)
        except LabTimeoutError:
            return math.inf
        taken = time.monotonic() - begun
        found = peer_of(lab.status("alice"), "bob")
        if found.prediction is None or found.prediction.spliced_port is None:
            raise RuntimeError(f"another path than a predicted one: {found.path}")
        return taken


@contextmanager
def comparisons() -> Iterator[list[Comparison]]:
    """Nothing has to be up before."""
    yield [
        Comparison(
            title="prediction: until a path through a symmetric NAT stands",
            unit="s",
            variants=[Variant(cell, partial(seconds, nats)) for cell, nats in CELLS.items()],
        )
    ]
