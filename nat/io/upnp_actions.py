"""What a gateway's UPnP services are asked for: a mapped port for IPv4, a pinhole for IPv6."""

from collections.abc import Sequence
from ipaddress import ip_address
from random import Random
from typing import Final, Protocol

from async_upnp_client.client import UpnpService
from async_upnp_client.exceptions import UpnpActionError

from ..machine import Endpoint
from ..portmap.values import UDP, Granted, Refused, Uplink

PERMANENT_LEASE: Final = 3600.0
"""Seconds for which a mapping without an end is believed: such gateways forget it at a reboot."""

PORT_TRIES: Final = 4
"""External ports that are tried: ours, then random ones."""

PORTS: Final = (20000, 59999)
"""Range of the random ones."""

DESCRIPTION: Final = "kbwg WireGuard"
"""What the router's owner sees in its list of mappings."""


class Code:
    """Error codes of AddPortMapping (UPnP-IGD v2, WANIPConnection:2 §2.5.16)."""

    CONFLICT: Final = 718
    """The port is another host's."""

    ONLY_PERMANENT: Final = 725
    """The gateway knows no leases."""


class Opening(Protocol):
    """A way in for one UDP port."""

    @property
    def services(self) -> Sequence[str]:
        """Types of the services that can make it, the best first."""

    async def make(self, service: UpnpService, suggested: int, lifetime: int) -> Granted | Refused:
        """Make it, or have it live for `lifetime` seconds more."""

    async def delete(self, service: UpnpService, port: int) -> None:
        """Close it; `port` is where it was."""


class MappedPort:
    """A port of the gateway's own address (WANIPConnection:2 §2.5)."""

    services = (
        "urn:schemas-upnp-org:service:WANIPConnection:2",
        "urn:schemas-upnp-org:service:WANIPConnection:1",
        "urn:schemas-upnp-org:service:WANPPPConnection:1",
    )

    def __init__(self, uplink: Uplink, rng: Random) -> None:
        self._base = uplink.base
        self._rng = rng

    async def make(self, service: UpnpService, suggested: int, lifetime: int) -> Granted | Refused:
        """Map the port to the suggested one, or to another if that is taken."""
        result = await service.action("GetExternalIPAddress").async_call()
        external = ip_address(str(result["NewExternalIPAddress"]))
        reason = "no port is free"
        for port in self._ports(suggested):
            for lease in (lifetime, 0):
                try:
                    await self._add(service, port, lease)
                except UpnpActionError as error:
                    reason = f"error {error.error_code}"
                    if error.error_code == Code.ONLY_PERMANENT and lease:
                        continue
                    if error.error_code == Code.CONFLICT:
                        break
                    return Refused(f"UPnP: {reason}")
                return Granted(Endpoint(external, port), lease or PERMANENT_LEASE)
        return Refused(f"UPnP: {reason}")

    async def delete(self, service: UpnpService, port: int) -> None:
        """Delete the mapping of an external port."""
        await service.action("DeletePortMapping").async_call(
            NewRemoteHost="", NewExternalPort=port, NewProtocol="UDP"
        )

    async def _add(self, service: UpnpService, port: int, lease: int) -> None:
        await service.action("AddPortMapping").async_call(
            NewRemoteHost="",
            NewExternalPort=port,
            NewProtocol="UDP",
            NewInternalPort=self._base.port,
            NewInternalClient=str(self._base.ip),
            NewEnabled=True,
            NewPortMappingDescription=DESCRIPTION,
            NewLeaseDuration=lease,
        )

    def _ports(self, suggested: int) -> Sequence[int]:
        return [suggested, *(self._rng.randint(*PORTS) for _ in range(PORT_TRIES - 1))]


class Pinhole:
    """A hole in the gateway's firewall for our own address (WANIPv6FirewallControl:1 §2.5)."""

    services = ("urn:schemas-upnp-org:service:WANIPv6FirewallControl:1",)

    def __init__(self, uplink: Uplink) -> None:
        self._base = uplink.base
        self._id: int | None = None

    async def make(self, service: UpnpService, suggested: int, lifetime: int) -> Granted | Refused:
        """Let everybody reach our port; what is there already lives longer (§2.5.3)."""
        try:
            result = await service.action("AddPinhole").async_call(
                RemoteHost="",
                RemotePort=0,
                InternalClient=str(self._base.ip),
                InternalPort=self._base.port,
                Protocol=UDP,
                LeaseTime=lifetime,
            )
        except UpnpActionError as error:
            return Refused(f"UPnP: error {error.error_code}")
        self._id = int(result["UniqueID"])
        return Granted(self._base, lifetime)

    async def delete(self, service: UpnpService, port: int) -> None:
        """Close the pinhole."""
        if self._id is not None:
            await service.action("DeletePinhole").async_call(UniqueID=self._id)
            self._id = None
