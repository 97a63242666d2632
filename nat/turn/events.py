"""What allocations tell `Relays`, and what `Relays` tells the owner of the connections."""

from dataclasses import dataclass
from enum import Enum

from ..machine import Endpoint
from .server import TurnServer


class Trouble(Enum):
    """Why there is no allocation, in words for a person."""

    UNREACHABLE = "does not answer"
    DISCONNECTED = "the connection broke"
    FORGOTTEN = "has forgotten the allocation"
    CREDENTIALS = "refuses the credentials"
    QUOTA = "has reached the quota of this user"
    CAPACITY = "has no capacity left"
    FORBIDDEN = "forbids it"
    UNSUPPORTED = "does not support what we need"
    FAULT = "has an error of its own"
    RELEASED = "is not needed any more"


@dataclass(frozen=True, slots=True)
class Allocated:
    """The server relays for us.

    Attributes:
        relayed: relayed transport addresses, one a family.
        mapped: where the server sees us.
    """

    relayed: tuple[Endpoint, ...]
    mapped: Endpoint | None


@dataclass(frozen=True, slots=True)
class AllocationLost:
    """There was an allocation, and there is none any more."""

    reason: Trouble


@dataclass(frozen=True, slots=True)
class AllocationRefused:
    """There is none, and there will not be one soon."""

    reason: Trouble


@dataclass(frozen=True, slots=True)
class Redirected:
    """The server wants us to go elsewhere (RFC 8489 §10)."""

    server: TurnServer


@dataclass(frozen=True, slots=True)
class ConnectionStale:
    """Another connection is needed: this one is dead, or its 5-tuple is used up."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The server has answered for the first time on this connection."""

    rtt: float


@dataclass(frozen=True, slots=True)
class ChannelBound:
    """Data to and from `remote` may take a channel."""

    relayed: Endpoint
    remote: Endpoint
    channel: int


@dataclass(frozen=True, slots=True)
class ChannelLost:
    """It may not any more."""

    relayed: Endpoint
    remote: Endpoint


@dataclass(frozen=True, slots=True)
class Relayed:
    """Something has come in from a peer."""

    remote: Endpoint
    relayed: Endpoint
    payload: bytes


AllocationEvent = (
    Allocated
    | AllocationLost
    | AllocationRefused
    | Redirected
    | ConnectionStale
    | Measured
    | ChannelBound
    | ChannelLost
    | Relayed
)


@dataclass(frozen=True, slots=True)
class ConnectionRequested:
    """Connect to `server`, and keep connecting until that is released; say when it stands."""

    server: TurnServer


@dataclass(frozen=True, slots=True)
class ConnectionReleased:
    """Close the connection to `server`, once what is queued has left."""

    server: TurnServer


@dataclass(frozen=True, slots=True)
class ReconnectRequested:
    """Give the connection to `server` up and make another one: it is dead, or used up."""

    server: TurnServer


@dataclass(frozen=True, slots=True)
class TurnServerChanged:
    """A server began or ceased to relay for us.

    Attributes:
        server: as the operator named it.
        relayed: relayed transport addresses; empty: none.
        trouble: why there are none; `None`: there are, or it stands by.
    """

    server: TurnServer
    relayed: tuple[Endpoint, ...]
    trouble: Trouble | None


@dataclass(frozen=True, slots=True)
class RelayChannelBound:
    """Data between the relayed address and `remote` may take a channel: plug it in."""

    server: TurnServer
    relayed: Endpoint
    remote: Endpoint
    channel: int


@dataclass(frozen=True, slots=True)
class RelayChannelLost:
    """It may not any more: unplug it."""

    server: TurnServer
    relayed: Endpoint
    remote: Endpoint


RelayEvent = (
    ConnectionRequested
    | ConnectionReleased
    | ReconnectRequested
    | TurnServerChanged
    | RelayChannelBound
    | RelayChannelLost
)
