"""One traversal by itself, and peers that never answer it."""

from random import Random
from typing import Any

from nat.candidate import CandidateType, local_candidate
from nat.gathering import HostAddress
from nat.path.credentials import IceCredentials, Role
from nat.path.events import PeerId
from nat.traversal import Traversal

from .network import endpoint
from .scripted import BASE


def lone_traversal(**arguments: Any) -> Traversal:
    """Make a traversal with one address, which no network joins to any other."""
    traversal = Traversal(rng=Random(1), now=0.0, **arguments)
    traversal.set_host_addresses([HostAddress(BASE, "eth0")], 0.0)
    return traversal


def crowd(traversal: Traversal, peers: int, candidates: int) -> None:
    """Add many peers that never answer, each at addresses of its own."""
    for i in range(peers):
        name = PeerId(f"silent-{i}")
        traversal.add_peer(
            name,
            credentials=IceCredentials(f"l{i}", "p", f"r{i}", "p"),
            role=Role.CONTROLLING,
            now=0.0,
        )
        at = [endpoint(f"203.0.{i}.{j + 1}") for j in range(candidates)]
        announced = [local_candidate(CandidateType.HOST, e, e) for e in at]
        traversal.set_remote_candidates(name, announced, 0.0)
