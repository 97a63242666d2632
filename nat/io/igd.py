"""A gateway's service that maps ports (UPnP-IGD v2, WANIPConnection:2), over `async_upnp_client`.

Loaded once a gateway has answered a search: most never do, and the libraries behind it are ten
megabytes.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from random import Random
from typing import Final

from async_upnp_client.client import UpnpService
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.exceptions import UpnpActionError

from ..machine import Endpoint
from ..portmap.values import Granted, Refused, Uplink
from .upnp_http import GatewayRequester

SERVICES: Final = (
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)
"""Services that map ports, the best first (UPnP-IGD v2 §2.3)."""

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


class GatewayService:
    """Maps one UDP port. What the library makes of a gateway's answers may be any error.

    Args:
        service: of the gateway.
        uplink: whose port.
        rng: source of external ports, should ours be taken.
    """

    def __init__(self, service: UpnpService, uplink: Uplink, rng: Random) -> None:
        self._service = service
        self._uplink = uplink
        self._rng = rng

    async def map(self, suggested: int, lifetime: int) -> Granted | Refused:
        """Make or renew the mapping."""
        result = await self._service.action("GetExternalIPAddress").async_call()
        external = ip_address(str(result["NewExternalIPAddress"]))
        reason = "no port is free"
        for port in self._ports(suggested):
            for lease in (lifetime, 0):
                try:
                    await self._add(port, lease)
                except UpnpActionError as error:
                    reason = f"error {error.error_code}"
                    if error.error_code == Code.ONLY_PERMANENT and lease:
                        continue
                    if error.error_code == Code.CONFLICT:
                        break
                    return Refused(f"UPnP: {reason}")
                return Granted(Endpoint(external, port), lease or PERMANENT_LEASE)
        return Refused(f"UPnP: {reason}")

    async def unmap(self, port: int) -> None:
        """Delete the mapping."""
        await self._service.action("DeletePortMapping").async_call(
            NewRemoteHost="", NewExternalPort=port, NewProtocol="UDP"
        )

    async def _add(self, port: int, lease: int) -> None:
        await self._service.action("AddPortMapping").async_call(
            NewRemoteHost="",
            NewExternalPort=port,
            NewProtocol="UDP",
            NewInternalPort=self._uplink.base.port,
            NewInternalClient=str(self._uplink.base.ip),
            NewEnabled=True,
            NewPortMappingDescription=DESCRIPTION,
            NewLeaseDuration=lease,
        )

    def _ports(self, suggested: int) -> Sequence[int]:
        return [suggested, *(self._rng.randint(*PORTS) for _ in range(PORT_TRIES - 1))]


async def find_service(
    location: str, uplink: Uplink, *, mark: int, rng: Random
) -> GatewayService | None:
    """Ask a gateway which of its services maps ports; `None`: it has none such.

    Args:
        location: URL of its description.
        uplink: whose port, and which gateway.
        mark: SO_MARK of what is sent; 0 for none.
        rng: see `GatewayService`.
    """
    factory = UpnpFactory(GatewayRequester(uplink, mark), non_strict=True)
    device = await factory.async_create_device(location)
    services = {service.service_type: service for service in device.all_services}
    for name in SERVICES:
        if name in services:
            return GatewayService(services[name], uplink, rng)
    return None
