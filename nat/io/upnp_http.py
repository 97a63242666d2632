"""HTTP towards the gateway only: marked sockets, no redirects, no long answers."""

import socket
from collections.abc import Callable
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from async_upnp_client.client import UpnpRequester
from async_upnp_client.const import HttpRequest, HttpResponse
from async_upnp_client.exceptions import UpnpCommunicationError

from ..errors import PortMappingError
from ..machine import IPAddress
from ..portmap.values import Uplink
from .upnp_search import leads_to

REQUEST_TIMEOUT: Final = 5.0
"""Seconds for one request."""

MAX_BODY: Final = 256 * 1024
"""Bytes of an answer: descriptions have about 30,000; more is an attack on our memory."""


class GatewayRequester(UpnpRequester):
    """What `async_upnp_client` makes its requests with.

    Args:
        uplink: from which address, to which gateway.
        mark: SO_MARK of the connections; 0 for none.
        host: the gateway's address; nobody else is asked.
    """

    def __init__(self, uplink: Uplink, mark: int, host: IPAddress) -> None:
        self._host = host
        self._factory = _socket_factory(uplink, mark)

    async def async_http_request(self, http_request: HttpRequest) -> HttpResponse:
        """Make one request.

        Raises:
            PortMappingError: it leads elsewhere, or its answer is too long.
            UpnpCommunicationError: no answer.
        """
        if not leads_to(http_request.url, self._host):
            raise PortMappingError("the gateway's description leads to another host")
        try:
            connector = TCPConnector(socket_factory=self._factory, force_close=True)
            async with (
                ClientSession(connector=connector) as session,
                session.request(
                    http_request.method,
                    http_request.url,
                    headers=dict(http_request.headers or {}),
                    data=http_request.body,
                    timeout=ClientTimeout(total=REQUEST_TIMEOUT),
                    allow_redirects=False,
                ) as response,
            ):
                body = await _read(response.content.read)
                text = body.decode(errors="replace")
                return HttpResponse(response.status, dict(response.headers), text)
        except (ClientError, TimeoutError, OSError) as error:
            raise UpnpCommunicationError(message=str(error)) from error


async def _read(read: Callable[[int], Any]) -> bytes:
    body = b""
    while chunk := await read(MAX_BODY + 1 - len(body)):
        body += chunk
        if len(body) > MAX_BODY:
            raise PortMappingError("the gateway's answer is too long")
    return body


def _socket_factory(uplink: Uplink, mark: int) -> Callable[[Any], socket.socket]:
    def make(address: Any) -> socket.socket:
        family, kind, protocol, _, _ = address
        sock = socket.socket(family, kind, protocol)
        try:
            if mark:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            sock.bind((str(uplink.base.ip), 0))
        except OSError:
            sock.close()
            raise
        return sock

    return make
