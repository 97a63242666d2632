"""Numbered datagrams both ways between two nodes, with the moment at which each arrived."""

import bisect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from integration.lab import Lab
from integration.node_process import NodeProcess

RATE: Final = 200.0
"""Datagrams a second each way, of a busy call."""

PORT: Final = 7008


@dataclass(slots=True)
class Direction:
    """One direction of a flow; times are of the wall clock, in seconds.

    Attributes:
        arrivals: when datagrams arrived, in order.
        looked_at: until when they are known.
    """

    arrivals: list[float] = field(default_factory=list)
    looked_at: float = 0.0

    def first_after(self, moment: float) -> float | None:
        """Return when the first datagram arrived after a moment."""
        index = bisect.bisect(self.arrivals, moment)
        return self.arrivals[index] if index < len(self.arrivals) else None

    def longest_gap(self, since: float) -> float:
        """Return the longest time without an arrival, from the last one before a moment until now."""
        later = self.arrivals[max(0, bisect.bisect(self.arrivals, since) - 1) :]
        return max(b - a for a, b in pairwise([*later, self.looked_at]))


class Flow:
    """Datagrams from both ends, since its making; `look` takes in what is known now."""

    def __init__(self, ends: dict[str, NodeProcess]) -> None:
        self._ends = ends
        self.directions: dict[str, Direction] = {node: Direction() for node in ends}
        """By the node at which they arrive."""

    def look(self) -> None:
        """Bring `directions` up to date."""
        for node, end in self._ends.items():
            assert end.stdin is not None
            assert end.stdout is not None
            end.stdin.write("look\n")
            end.stdin.flush()
            told = json.loads(end.stdout.readline())
            direction = self.directions[node]
            direction.arrivals += sorted(told["arrived"])
            direction.looked_at = told["at"]

    def longest_gap(self, since: float) -> float:
        """Return the longest gap of either direction from a moment on."""
        return max(direction.longest_gap(since) for direction in self.directions.values())


@contextmanager
def flow(lab: Lab, addresses: dict[str, str], rate: float = RATE) -> Iterator[Flow]:
    """Have datagrams flow between the overlay addresses of two nodes."""
    ends: dict[str, NodeProcess] = {}
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    try:
        for node, other in (tuple(addresses), tuple(addresses)[::-1]):
            argv = ["python", "-m", "bench.flow_end"]
            argv += [f"{addresses[node]}:{PORT}", f"{addresses[other]}:{PORT}", f"{rate:g}"]
            ends[node] = lab.popen(node, argv, environment=environment)
        for end in ends.values():
            assert end.stdout is not None
            assert end.stdout.readline() == "ready\n"
        yield Flow(ends)
    finally:
        for end in ends.values():
            end.kill()
            end.communicate()
