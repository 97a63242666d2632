"""Port mapping by UPnP-IGD: discovery by SSDP, then a few HTTP requests with XML.

`async_upnp_client` has the protocol; here stands what it leaves open: sockets with the tunnel's mark
(else the requests would go into the tunnel), and distrust. Anybody on the link can answer a search,
and an answer names a URL that we are to fetch: only what comes from the gateway, and leads to the
gateway, is followed. What the library makes of a document of an unexpected shape may be any error;
it concerns that gateway alone, so here every one is caught.
"""

import asyncio
import logging
from collections.abc import Sequence
from ipaddress import ip_address
from random import Random
from typing import Final

from async_upnp_client.client import UpnpService
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.exceptions import UpnpActionError

from ..machine import Endpoint
from ..portmap.events import UpnpAnswer
from ..portmap.values import Granted, Refused, Uplink
from .upnp_http import GatewayRequester
from .upnp_search import search

_log = logging.getLogger(__name__)

SERVICES: Final = (
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)
"""Services that map ports, the best first (UPnP-IGD v2 §2.3)."""

TIMEOUT: Final = 10.0
"""Seconds for a search and all requests together; the slowest routers take three for one."""

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


class UpnpClient:
    """Maps one UDP port at one gateway.

    Args:
        uplink: whose port, and which gateway.
        mark: SO_MARK of what is sent; 0 for none.
        rng: source of external ports, should ours be taken.
    """

    def __init__(self, uplink: Uplink, *, mark: int, rng: Random) -> None:
        self._uplink = uplink
        self._mark = mark
        self._rng = rng
        self._service: UpnpService | None = None

    async def map(self, suggested: int, lifetime: int) -> UpnpAnswer:
        """Make or renew the mapping; `None`: the gateway does not speak UPnP."""
        service = self._service
        try:
            async with asyncio.timeout(TIMEOUT):
                service = service or await self._find()
                if service is None:
                    return None
                answer = await self._map(service, suggested, lifetime)
        except Exception as error:  # noqa: BLE001 - see above
            self._service = None
            _log.debug("UPnP failed", extra={"error": f"{type(error).__name__}: {error}"})
            return None if service is None else Refused(f"UPnP: {type(error).__name__}")
        self._service = service
        return answer

    async def unmap(self, port: int) -> None:
        """Delete the mapping; what fails is forgotten, its lease ends anyway."""
        if self._service is None:
            return
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._service.action("DeletePortMapping").async_call(
                    NewRemoteHost="", NewExternalPort=port, NewProtocol="UDP"
                )
        except Exception as error:  # noqa: BLE001 - see above
            _log.debug("UPnP mapping not deleted", extra={"error": str(error)})

    async def _find(self) -> UpnpService | None:
        """Find the gateway's service that maps ports."""
        location = await search(self._uplink, self._mark)
        if location is None:
            return None
        factory = UpnpFactory(GatewayRequester(self._uplink, self._mark), non_strict=True)
        device = await factory.async_create_device(location)
        services = {service.service_type: service for service in device.all_services}
        return next((services[name] for name in SERVICES if name in services), None)

    async def _map(self, service: UpnpService, suggested: int, lifetime: int) -> UpnpAnswer:
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

    async def _add(self, service: UpnpService, port: int, lease: int) -> None:
        await service.action("AddPortMapping").async_call(
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
