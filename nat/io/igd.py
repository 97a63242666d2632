"""A gateway's service that lets datagrams in (UPnP-IGD v2), over `async_upnp_client`.

Loaded once a gateway has answered a search: most never do, and the libraries behind it are ten
megabytes.
"""

from random import Random

from async_upnp_client.client import UpnpService
from async_upnp_client.client_factory import UpnpFactory

from ..portmap.values import Granted, Refused, Uplink
from .upnp_actions import MappedPort, Opening, Pinhole
from .upnp_http import GatewayRequester
from .upnp_search import Location


class GatewayService:
    """Lets in to one UDP port. What the library makes of a gateway's answers may be any error.

    Args:
        service: of the gateway.
        opening: what it is asked for.
    """

    def __init__(self, service: UpnpService, opening: Opening) -> None:
        self._service = service
        self._opening = opening

    async def map(self, suggested: int, lifetime: int) -> Granted | Refused:
        """Make or renew the mapping."""
        return await self._opening.make(self._service, suggested, lifetime)

    async def unmap(self, port: int) -> None:
        """Delete the mapping."""
        await self._opening.delete(self._service, port)


async def find_service(
    location: Location, uplink: Uplink, *, mark: int, rng: Random
) -> GatewayService | None:
    """Ask a gateway which of its services maps ports, or makes pinholes; `None`: it has none such.

    Args:
        location: of its description.
        uplink: whose port, and which gateway.
        mark: SO_MARK of what is sent; 0 for none.
        rng: source of external ports, should ours be taken.
    """
    v4 = uplink.base.ip.version == 4
    opening: Opening = MappedPort(uplink, rng) if v4 else Pinhole(uplink)
    requester = GatewayRequester(uplink, mark, location.host)
    device = await UpnpFactory(requester, non_strict=True).async_create_device(location.url)
    services = {service.service_type: service for service in device.all_services}
    for name in opening.services:
        if name in services:
            return GatewayService(services[name], opening)
    return None
