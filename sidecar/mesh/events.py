"""What the mesh asks of its owner."""

from dataclasses import dataclass

from nat.machine import Endpoint
from nat.path.events import PeerId, StunServerChanged
from nat.prediction.events import PredictionEvent
from nat.turn.events import RelayEvent

from ..directory.view import DirectoryView
from ..wireguard.changes import EndpointChange


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """Peers or addresses of the wanted device have changed: reconcile."""


@dataclass(frozen=True, slots=True)
class EndpointsChanged:
    """Endpoints or keepalives to set at once, in order, after any reconciliation under way."""

    changes: tuple[EndpointChange, ...]


@dataclass(frozen=True, slots=True)
class FlowsChanged:
    """A peer's data is to leave by another uplink: routes first, then endpoints."""


@dataclass(frozen=True, slots=True)
class LookWanted:
    """Look at the device now: a handshake is about to come, or a path is in doubt."""


@dataclass(frozen=True, slots=True)
class RelayLeft:
    """The data of `peer` has left the plug at `endpoint`: say when more comes by it all the same."""

    peer: PeerId
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class RelayTaken:
    """The data of a peer takes the plug at `endpoint`."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class AnnouncementChanged:
    """What we announce is not what is announced: post soon."""


@dataclass(frozen=True, slots=True)
class DirectoryChanged:
    """Who is in has changed: keep the cache, show the conditions."""

    view: DirectoryView


MeshEvent = (
    DeviceChanged
    | EndpointsChanged
    | FlowsChanged
    | LookWanted
    | RelayLeft
    | RelayTaken
    | AnnouncementChanged
    | DirectoryChanged
    | StunServerChanged
    | PredictionEvent
    | RelayEvent
)
