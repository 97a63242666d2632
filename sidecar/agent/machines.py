"""The machines of an agent, which decide everything: made from what is known at the start.

None of them does I/O. The parts of the agent around them bring in what comes from Keybase, from the
network and from WireGuard, and carry out what they ask for.
"""

from dataclasses import dataclass
from random import Random

from nat.candidate import is_reachable_address
from nat.prediction.predictor import Predictor
from nat.traversal import Traversal

from .. import cache
from ..directory.directory import Directory
from ..mesh.mesh import Mesh
from ..store import Store
from ..tunnel_mtu import data_size
from .start import Started
from .wall_clock import wall


@dataclass(frozen=True, slots=True)
class Machines:
    """What an agent is made of inside.

    Attributes:
        directory: who counts.
        traversal: the paths.
        predictor: port prediction.
        mesh: all three together, as one machine.
        restored: whether the directory has come from the cache of a former run.
    """

    directory: Directory
    traversal: Traversal
    predictor: Predictor
    mesh: Mesh
    restored: bool


def make_machines(started: Started, store: Store, *, rng: Random, now: float) -> Machines:
    """Make the machines.

    Args:
        started: what the start found out.
        store: what former runs have kept.
        rng: cryptographic source of randomness.
        now: current time in seconds.
    """
    settings, identity = started.settings, started.identity
    stored = store.load_directory()
    directory = Directory(
        own=started.node,
        own_key=identity.private_key.public_key,
        subnet=settings.subnet,
        preferred=cache.preferred_address(stored),
        own_run=max(1, int(wall() * 1000)),
    )
    restored = cache.restore(directory, stored, settings.team, settings.subnet)
    if started.membership is not None:
        directory.handle_membership(started.membership)
    traversal = Traversal(
        rng=rng, now=now, refused=(settings.subnet,), data_size=data_size(settings.mtu)
    )
    predictor = Predictor(
        rng=rng,
        enabled=settings.port_prediction,
        may_send=lambda ip: is_reachable_address(ip) and ip not in settings.subnet,
    )
    mesh = Mesh(
        own=started.node,
        private_key=identity.private_key,
        subnet=settings.subnet,
        directory=directory,
        traversal=traversal,
        predictor=predictor,
        rng=rng,
        mtu=settings.mtu,
        known=restored,
    )
    directory.handle_policy(started.team_config.policy)
    return Machines(directory, traversal, predictor, mesh, restored)
