"""Two hosts in the open internet, one of which has a fast and a slow uplink, with traffic."""

from collections.abc import Callable

from nat.machine import Datagram, Endpoint

from .network import endpoint
from .peers import Peers
from .traffic import send_data

FAST, SLOW = endpoint("192.0.2.10"), endpoint("192.0.2.11")
FAR = endpoint("192.0.2.20")

TRAFFIC = 0.02
"""Seconds between data packets where interruptions are measured."""

LIGHT_TRAFFIC = 0.1
"""Seconds between them where the peer need only be active, for minutes."""

SETTLED = 20.0
"""Seconds after the start when everything is measured."""


def on_fast(datagram: Datagram) -> bool:
    """Tell whether a datagram takes the fast uplink."""
    return FAST in (datagram.source, datagram.destination)


CUTS: dict[str, Callable[[Datagram], bool]] = {
    "everything": on_fast,
    "one direction": lambda d: d.source == FAST,
    "the other direction": lambda d: d.destination == FAST,
}
"""What a firewall on the fast uplink drops."""


def latency(fast: float = 0.02, slow: float = 0.04) -> Callable[[Datagram], float]:
    """Give the seconds that a datagram takes."""
    return lambda d: slow if SLOW in (d.source, d.destination) else fast


def two_uplinks(
    *, a_has_them: bool = True, seed: int = 1, loss: float = 0.0, traffic: float = TRAFFIC
) -> Peers:
    """Let them meet; with `a_has_them` the controlling side has both uplinks."""
    ends = ((FAST, SLOW), (FAR,)) if a_has_them else ((FAR,), (FAST, SLOW))
    peers = Peers(a=ends[0], b=ends[1], latency=latency(), loss=loss, seed=seed, data=True)
    peers.meet()
    send_data(peers, traffic, 2.0)
    return peers


def uplink(peers: Peers) -> list[Endpoint]:
    """Return the end of both selected paths that is one of the two uplinks."""
    path_a, path_b = peers.paths
    assert path_a is not None
    assert path_b is not None
    ends = [path_a.base, path_a.remote.endpoint, path_b.base, path_b.remote.endpoint]
    return [end for end in ends if end in (FAST, SLOW)]
