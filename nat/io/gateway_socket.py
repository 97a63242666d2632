"""A UDP socket towards one gateway's PCP and NAT-PMP server."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from ..machine import Datagram, Endpoint
from ..portmap.values import SERVER_PORT, Uplink

MAX_DATAGRAM: Final = 1101
"""Bytes: one more than the longest message, so that longer ones are seen to be (RFC 6887 §7)."""

BATCH: Final = 16
"""Datagrams read in one go, so that a gateway cannot keep the loop from its timers."""


class GatewaySocket:
    """Connected: the kernel lets in only what the gateway's server sends, and reports its absence.

    It is bound to the base's address, for that is whose port a gateway maps.

    Args:
        uplink: from where to where.
        mark: SO_MARK of what is sent; 0 for none.
        on_datagram: gets each answer.
        on_refused: called when the gateway says that nobody listens there.

    Raises:
        OSError: the address is gone, or the gateway cannot be reached.
    """

    def __init__(
        self,
        uplink: Uplink,
        *,
        mark: int,
        on_datagram: Callable[[Datagram], None],
        on_refused: Callable[[], None],
    ) -> None:
        self._on_datagram = on_datagram
        self._on_refused = on_refused
        self._server = Endpoint(uplink.gateway.ip, SERVER_PORT)
        self._loop = asyncio.get_running_loop()
        self._socket = _connected(uplink, mark)
        self.local = Endpoint(uplink.base.ip, self._socket.getsockname()[1])
        """Where answers come to."""

        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def send(self, datagram: Datagram) -> None:
        """Send to the gateway; what cannot be sent is asked again anyway."""
        try:
            self._socket.send(datagram.payload)
        except ConnectionRefusedError:
            self._loop.call_soon(self._on_refused)
        except OSError:
            pass

    def close(self) -> None:
        """Stop listening."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _on_readable(self) -> None:
        for _ in range(BATCH):
            try:
                payload = self._socket.recv(MAX_DATAGRAM)
            except ConnectionRefusedError:
                self._on_refused()
                return
            except OSError:
                return
            self._on_datagram(Datagram(self._server, self.local, payload))


def _connected(uplink: Uplink, mark: int) -> socket.socket:
    v4 = uplink.base.ip.version == 4
    sock = socket.socket(socket.AF_INET if v4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        # An IPv6 gateway is known by its link-local address, which needs the interface.
        scope = 0 if v4 else socket.if_nametoindex(uplink.gateway.interface)
        rest = () if v4 else (0, scope if uplink.gateway.ip.is_link_local else 0)
        sock.bind((str(uplink.base.ip), 0, *(() if v4 else (0, 0))))
        sock.connect((str(uplink.gateway.ip), SERVER_PORT, *rest))
    except OSError:
        sock.close()
        raise
    return sock
