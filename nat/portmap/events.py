"""What a mapper tells its owner, and how it describes itself."""

from dataclasses import dataclass
from enum import Enum

from ..machine import Endpoint
from .values import Granted, MappingProtocol, Refused, Uplink


@dataclass(frozen=True, slots=True)
class PortMapped:
    """The gateway takes datagrams for `uplink.base` at `external`; may follow another of these."""

    uplink: Uplink
    external: Endpoint
    protocol: MappingProtocol


@dataclass(frozen=True, slots=True)
class PortUnmapped:
    """The gateway has no mapping for us any more."""

    uplink: Uplink


@dataclass(frozen=True, slots=True)
class UpnpMapRequested:
    """Map by UPnP, and call `Mapper.upnp_answered` with what came of it.

    Attributes:
        suggested: external port that would be best.
        lifetime: seconds.
    """

    uplink: Uplink
    suggested: int
    lifetime: int


@dataclass(frozen=True, slots=True)
class UpnpUnmapRequested:
    """Delete a mapping by UPnP, and call `Mapper.upnp_deleted`."""

    uplink: Uplink
    external_port: int


@dataclass(frozen=True, slots=True)
class Released:
    """Whatever was mapped has been deleted, or cannot be: the mapper has ended."""

    uplink: Uplink


MapperEvent = PortMapped | PortUnmapped | UpnpMapRequested | UpnpUnmapRequested | Released

UpnpAnswer = Granted | Refused | None
"""What UPnP came to; `None`: the gateway does not speak it."""


class MapperState(Enum):
    """What a mapper is doing."""

    SEARCHING = "searching"
    MAPPED = "mapped"
    RESTING = "resting"
    RELEASING = "releasing"


@dataclass(frozen=True, slots=True)
class MapperReport:
    """One uplink's port mapping as shown to a person.

    Attributes:
        spoken: protocols in which the gateway has answered.
        protocol, external, expires_in: of the mapping; `None`: there is none.
        refusal: why the gateway makes none, if it said so.
    """

    uplink: Uplink
    state: MapperState
    spoken: tuple[MappingProtocol, ...]
    protocol: MappingProtocol | None = None
    external: Endpoint | None = None
    expires_in: float | None = None
    refusal: str | None = None
