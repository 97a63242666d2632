"""Datagrams lost when data leaves a relay for a direct path: the goal is none, in 20 of 20 runs.

Two hosts behind port-restricted NATs talk over a real coturn, because nothing passes between their
routers; then it does, and data moves. 200 datagrams a second each way, as a busy call has. In two of
the variants a host's addresses change at that moment, so that candidates, pairs and routes are being
settled while data moves.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from integration.expectation import Ends
from integration.lab import Lab
from integration.mesh import peer_of, traffic, wait_for_path
from integration.rules import Drop
from integration.traffic import Direction

from .lab_pairs import NODES, PAIRS, PUBLIC, address_of, agents
from .rounds import Comparison, Variant

SETTINGS: Final = {"TURN_SERVERS": "turn:198.18.0.20?transport=udp", "PORT_PREDICTION": "off"}

RATE: Final = 200.0
"""Datagrams a second each way."""

RELAY_SECONDS: Final = 150.0
"""Until data must have gone to the relay, also from peers that were idle."""

RELAYED_SECONDS: Final = 3.0
"""On the relay before the change: first samples are taken and routes have settled by then."""

BEFORE_SECONDS: Final = 1.0
"""Of traffic before the direct path is let through."""

FOUND_SECONDS: Final = 45.0
"""Until it must have been found: each pair is tried every 25 s ± 15 %, and the machine is busy."""

AFTER_SECONDS: Final = 4.0
"""Of traffic on it: data may fall back, and what is lost late counts, too."""

FURTHER: Final = "192.168.1.77/24"
"""Another address of alice's in her own network."""

BETWEEN: Final = 0.3
"""Seconds until the added address is removed again: in the middle of the change."""


def cut_direct(lab: Lab) -> list[Drop]:
    """Let nothing through between the two routers; what goes by a server does."""
    ends = tuple(PUBLIC.values())
    return [
        lab.drop("internet", f"ip saddr {one} ip daddr {other}")
        for one, other in (ends, ends[::-1])
    ]


def _add(lab: Lab) -> None:
    lab.exec("alice", ["ip", "address", "add", FURTHER, "dev", "eth0"])


def _remove(lab: Lab) -> None:
    lab.exec("alice", ["ip", "address", "del", FURTHER, "dev", "eth0"])


def _add_and_remove(lab: Lab) -> None:
    _add(lab)
    time.sleep(BETWEEN)
    _remove(lab)


def is_direct(lab: Lab) -> bool:
    """Whether both agents show a path without a relay."""
    paths = [peer_of(lab.status(node), peer).path for node, peer in PAIRS]
    return all(path is not None and not path.relayed for path in paths)


def upgrade(lab: Lab, event: Callable[[Lab], None]) -> tuple[Direction, Direction]:
    """Move data from the relay to a direct path once; returns what became of it."""
    cuts = cut_direct(lab)
    # Who is idle notices a cut within a minute or two; who sends, at once.
    ping = ["ping", "-c", "5", "-i", "0.3", "-W", "1", address_of(lab, "bob")]
    lab.exec("alice", ping, check=False)
    wait_for_path(
        lab, *NODES, Ends("relay", "srflx"), Ends("srflx", "relay"), seconds=RELAY_SECONDS
    )
    time.sleep(RELAYED_SECONDS)
    with traffic(lab, *NODES, rate=RATE) as flow:
        time.sleep(BEFORE_SECONDS)
        for cut in cuts:
            cut.remove()
        event(lab)
        lab.wait_for(lambda: is_direct(lab), FOUND_SECONDS, "the path is direct")
        time.sleep(AFTER_SECONDS)
        report = flow.stop()
    if not is_direct(lab):
        raise RuntimeError("data fell back to the relay")
    return report.a_to_b, report.b_to_a


def lost(lab: Lab, event: Callable[[Lab], None], restore: Callable[[Lab], None]) -> float:
    """Count the datagrams that one change costs, both ways together."""
    try:
        directions = upgrade(lab, event)
    finally:
        restore(lab)
    for name, direction in zip(("alice to bob", "bob to alice"), directions, strict=True):
        for run in direction.lost:
            print(f"  {name}: {len(run)} of {direction.sent} from {run.start}", file=sys.stderr)
    return float(sum(direction.lost_count for direction in directions))


def _nothing(_: Lab) -> None:
    """Leave the lab as it is."""


@contextmanager
def comparisons() -> Iterator[list[Comparison]]:
    """Bring the pair up, and count."""
    with agents(SETTINGS) as lab:
        yield [
            Comparison(
                title="upgrade: lost when data moves from a relay to a direct path",
                unit="datagrams",
                variants=[
                    Variant("cut lifted", partial(lost, lab, _nothing, _nothing)),
                    Variant("an address added", partial(lost, lab, _add, _remove)),
                    Variant("added and removed", partial(lost, lab, _add_and_remove, _nothing)),
                ],
            )
        ]
