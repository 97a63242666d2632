"""Port mapping by UPnP-IGD: discovery by SSDP, then a few HTTP requests with XML.

`async_upnp_client` has the protocol; here stands what it leaves open: sockets with the tunnel's mark
(else the requests would go into the tunnel), and distrust. Anybody on the link can answer a search,
and an answer names a URL that we are to fetch: only what comes from the gateway, and leads to the
gateway, is followed. What the library makes of a document of an unexpected shape may be any error;
it concerns that gateway alone, so here every one is caught.
"""

import asyncio
import importlib
import logging
from random import Random
from typing import TYPE_CHECKING, Final

from ..portmap.events import UpnpAnswer
from ..portmap.values import Refused, Uplink
from .upnp_search import search

if TYPE_CHECKING:
    from .igd import GatewayService

_log = logging.getLogger(__name__)

TIMEOUT: Final = 10.0
"""Seconds for a search and all requests together; the slowest routers take three for one."""


class UpnpClient:
    """Lets datagrams in to one UDP port at one gateway.

    Args:
        uplink: whose port, and which gateway.
        mark: SO_MARK of what is sent; 0 for none.
        rng: source of external ports, should ours be taken.
    """

    def __init__(self, uplink: Uplink, *, mark: int, rng: Random) -> None:
        self._uplink = uplink
        self._mark = mark
        self._rng = rng
        self._service: GatewayService | None = None

    async def map(self, suggested: int, lifetime: int) -> UpnpAnswer:
        """Make or renew the mapping; `None`: the gateway does not speak UPnP."""
        service = self._service
        try:
            async with asyncio.timeout(TIMEOUT):
                service = service or await self._find()
                if service is None:
                    return None
                answer = await service.map(suggested, lifetime)
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
                await self._service.unmap(port)
        except Exception as error:  # noqa: BLE001 - see above
            _log.debug("UPnP mapping not deleted", extra={"error": str(error)})

    async def _find(self) -> "GatewayService | None":
        """Find the gateway's service that maps ports, or makes pinholes."""
        location = await search(self._uplink, self._mark)
        if location is None:
            return None
        await asyncio.to_thread(importlib.import_module, "nat.io.igd")  # takes half a second
        from .igd import find_service

        return await find_service(location, self._uplink, mark=self._mark, rng=self._rng)
