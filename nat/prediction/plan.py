"""What a campaign with a peer would be, from what both ends have announced."""

from collections.abc import Callable
from dataclasses import dataclass

from ..candidate import Candidate
from ..machine import Endpoint, IPAddress
from .side import Side, hard_base, public_addresses, side_of, target_of


@dataclass(frozen=True, slots=True)
class End:
    """One end as it is announced: its candidates, and whether its mapping varies."""

    candidates: tuple[Candidate, ...] = ()
    varies: bool = False


@dataclass(frozen=True, slots=True)
class HardPlan:
    """Open ports beside `base` towards `target`."""

    base: Endpoint
    target: Endpoint

    @property
    def side(self) -> Side:
        """What we do."""
        return Side.HARD


@dataclass(frozen=True, slots=True)
class EasyPlan:
    """Probe `addresses` from `base`."""

    base: Endpoint
    addresses: tuple[IPAddress, ...]

    @property
    def side(self) -> Side:
        """What we do."""
        return Side.EASY


Plan = HardPlan | EasyPlan


def plan_for(own: End, peer: End, may_send: Callable[[IPAddress], bool]) -> Plan | None:
    """Return what to do; `None`: no campaign would help, or too little is known."""
    match side_of(own_varies=own.varies, peer_varies=peer.varies):
        case Side.HARD:
            base, target = hard_base(own.candidates), target_of(peer.candidates)
            if base is None or target is None or not may_send(target.endpoint.ip):
                return None
            return HardPlan(base.base, target.endpoint)
        case Side.EASY:
            origin = target_of(own.candidates)
            addresses = tuple(ip for ip in public_addresses(peer.candidates) if may_send(ip))
            return EasyPlan(origin.base, addresses) if origin is not None and addresses else None
        case None:
            return None
