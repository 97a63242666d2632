"""What a connected peer costs while no data flows: packets between the two hosts, CPU of the agent.

A round is a minute. A second lab whose only agent is alone tells what an agent costs without peers;
both are watched in the same minutes.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from integration.lab import Lab
from integration.mesh import wait_connected

from ..lab_pairs import NODES, PUBLIC, TOPOLOGY
from ..rounds import Comparison, Variant

TITLE: Final = "paths: idle"

MINUTE: Final = 60.0
PATIENCE: Final = 60.0
IDLE_AFTER: Final = 75.0
"""Seconds after the first handshake until a peer counts as idle (a minute), and a few."""

COUNTER: Final = """
chain forward {{
  type filter hook forward priority 0; policy accept;
  ip saddr {0} ip daddr {1} counter
  ip saddr {1} ip daddr {0} counter
}}
"""


class Minutes:
    """Watches whole minutes; each figure of a minute is asked for once."""

    def __init__(self, pair: Lab, alone: Lab) -> None:
        self._labs = {"with one peer": pair, "without peers": alone}
        self._rules = pair.nft("internet", COUNTER.format(*PUBLIC.values()))
        self._figures: dict[str, list[float]] = {"packets": [], **{n: [] for n in self._labs}}
        self._taken = dict.fromkeys(self._figures, 0)

    def figure(self, name: str) -> float:
        """Return the next figure of this name, and watch another minute if there is none."""
        number = self._taken[name]
        self._taken[name] += 1
        if number == len(self._figures[name]):
            self._watch()
        return self._figures[name][number]

    def _watch(self) -> None:
        before = self._read()
        time.sleep(MINUTE)
        after = self._read()
        for name, figures in self._figures.items():
            figures.append(after[name] - before[name])

    def _read(self) -> dict[str, float]:
        cpu = {name: lab.cpu_seconds("alice") * 1000 for name, lab in self._labs.items()}
        return {"packets": self._rules.packets, **cpu}


@contextmanager
def comparisons() -> Iterator[list[Comparison]]:
    """Bring both labs up, wait until the pair is idle, and watch."""
    name = f"bench-idle-{os.getpid()}"
    with (
        Lab.up(TOPOLOGY, name=name) as pair,
        Lab.up(TOPOLOGY, name=f"{name}-alone", services=["alice"]) as alone,
    ):
        wait_connected(pair, NODES, PATIENCE)
        time.sleep(IDLE_AFTER)
        minutes = Minutes(pair, alone)
        yield [
            Comparison(
                title=f"{TITLE}, packets between two hosts, both directions",
                unit="packets a minute",
                variants=[Variant("one peer", partial(minutes.figure, "packets"))],
            ),
            Comparison(
                title=f"{TITLE}, CPU of the agent",
                unit="ms a minute",
                baseline="without peers",
                variants=[
                    Variant(name, partial(minutes.figure, name))
                    for name in ("without peers", "with one peer")
                ],
            ),
        ]
