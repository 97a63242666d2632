"""A pair of hosts whose Keybase goes wrong: what is done to them, and what must be true meanwhile."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sidecar.status import HealthEntry

from .lab import Lab
from .mesh import TEAM, TOPIC, peer_of, simulator, traffic

BOTH: Final = ("alice", "bob")
ALICE, BOB = "alice/laptop", "bob/desktop"

ALL_BUT_AGENTS: Final = (
    *("keybase", "internet", "stun", "turn"),
    *(f"{kind}-{side}" for kind in ("router", "carrier") for side in "ab"),
)
"""Services of `pair.yaml`, for what must be there before the agents start."""

SHOWN_SECONDS: Final = 45.0
"""Until health shows what fails at once: 15 s after it began, on a machine that runs other labs."""

BACK_SECONDS: Final = 60.0
"""Until all is well again: the longest pause between tries is half a minute."""

MEET_SECONDS: Final = 60.0
"""Until a restarted agent is connected though pushes get lost: a read a minute finds them."""

_LEAST_SECONDS: Final = 3.0
"""How long datagrams are counted, however soon all is over."""


@contextmanager
def lossless(lab: Lab) -> Iterator[None]:
    """Count datagrams both ways meanwhile, and miss none; the peers stay connected."""
    began = time.monotonic()
    with traffic(lab, *BOTH) as flow:
        yield
        time.sleep(max(0.0, began + _LEAST_SECONDS - time.monotonic()))
        report = flow.stop()
    assert min(report.a_to_b.received, report.b_to_a.received) > 0
    assert report.lost_count == 0
    for node, other in (BOTH, BOTH[::-1]):
        assert peer_of(lab.status(node), other).state == "connected"


def restart(lab: Lab, node: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Kill what a node runs; an agent's tunnel lives on. Something happens, and it is back."""
    lab.kill(node)
    lab.wait_for(lambda: not lab.running(node), 5, f"{node} is dead")
    meanwhile()
    lab.start(node)


def entry(lab: Lab, node: str, code: str) -> HealthEntry | None:
    """Find what a node's health says of one condition."""
    return next((e for e in lab.status(node).health if e.code == code), None)


def wait_for_health(lab: Lab, node: str, code: str, seconds: float = SHOWN_SECONDS) -> HealthEntry:
    """Wait until a node's health shows a condition."""
    found = lab.wait_for(lambda: entry(lab, node, code), seconds, f"{node}'s health: {code}")
    assert found is not None
    return found


def wait_until_well(lab: Lab, *nodes: str, seconds: float = BACK_SECONDS) -> None:
    """Wait until nothing is wrong at some nodes."""
    lab.wait_for(
        lambda: not any(lab.status(node).health for node in nodes),
        seconds,
        f"nothing is wrong at {', '.join(nodes)}",
    )


def posted(lab: Lab, device: str, kind: str = "") -> list[int]:
    """List the ids of a device's texts in the channel; `kind`: `chat`, `dev`, or whichever there is."""
    messages = simulator(lab).messages(TEAM, TOPIC, kind)
    return [m["id"] for m in messages if m["sender"] == device and m["content"]["type"] == "text"]


def withdraw_last(lab: Lab, node: str, device: str) -> None:
    """Delete a host's announcement, and see it made again: it hears, and speaks."""
    last = posted(lab, device)[-1]
    simulator(lab).delete(TEAM, TOPIC, device, last)
    lab.wait_for(lambda: posted(lab, device)[-1] > last, 90, f"{node} announces itself again")


def in_wireguard(lab: Lab, node: str, key: str) -> bool:
    """Say whether a node's WireGuard has a peer with this key."""
    return key in lab.exec(node, ["wg", "show", "kbwg0", "peers"]).stdout
