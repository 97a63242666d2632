"""The socket that shares WireGuard's UDP port for STUN (design D1).

WireGuard owns the port; a raw socket per family gets copies of the STUN messages (`bpf`) and
sends with the same source port, so that both have one and the same NAT mapping. WireGuard drops
its own copy.
"""

import logging
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ..errors import SharedPortError
from ..machine import Datagram, Endpoint
from .ancillary import ControlMessage, local_address, sending
from .bpf import DROP_ALL, stun_filter_v4, stun_filter_v6
from .family_sockets import Received, in_one_piece, prepare
from .socket_filter import attach
from .stun_port import StunPort
from .ways import Ways

_log = logging.getLogger(__name__)

_SO_LOCK_FILTER: Final = 44
_SO_BINDTOIFINDEX: Final = 62
_IPV6_CHECKSUM: Final = 7
_UDP_HEADER: Final = struct.Struct("!HHHH")
_UDP_CHECKSUM_OFFSET: Final = 6


class SharedPort(StunPort):
    """A raw socket for each family."""

    def __init__(
        self,
        port: int,
        *,
        mark: int,
        on_datagram: Callable[[Datagram], None],
        on_refused: Callable[[Datagram, str], None] = lambda datagram, error: None,
    ) -> None:
        super().__init__(port, mark=mark, on_datagram=on_datagram, on_refused=on_refused)
        self._bound: dict[int, socket.socket] = {}

    def open(self) -> None:
        try:
            self._sockets.open(self._open_family)
        except PermissionError as error:
            raise SharedPortError(
                "no permission for a raw socket: the container needs CAP_NET_RAW"
            ) from error
        if not self.families:
            raise SharedPortError("neither IPv4 nor IPv6 has a raw UDP socket")
        self._sockets.listen()

    def close(self) -> None:
        self._sockets.close()
        for sock in self._bound.values():
            sock.close()
        self._bound.clear()

    def set_ways(self, ways: Ways) -> None:
        super().set_ways(ways)
        # IPv6 heeds the interface of a datagram with a source only on a socket that is bound to it.
        wanted = {index for ip, index in ways.uplinks.items() if ip.version == 6}
        wanted = wanted if len(wanted) > 1 and 6 in self.families else set()
        for index in self._bound.keys() - wanted:
            self._bound.pop(index).close()
        for index in wanted - self._bound.keys():
            try:
                self._bound[index] = self._open_bound(index)
            except OSError as error:
                self.counters["uplink-v6-unavailable"] += 1
                _log.debug("no socket on uplink", extra={"index": index, "error": str(error)})

    def send(self, datagram: Datagram) -> None:
        send = self._send_v4 if datagram.destination.ip.version == 4 else self._send_v6
        self._sockets.send(datagram, lambda sock: send(sock, datagram))

    def _open_family(self, version: int) -> socket.socket:
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP)
        try:
            sock.setblocking(False)
            # Nothing may slip in between the socket's birth and its filter.
            attach(sock, DROP_ALL)
            with suppress(BlockingIOError):
                while True:
                    sock.recv(1)
            filter_of = stun_filter_v4 if version == 4 else stun_filter_v6
            attach(sock, filter_of(self._port))
            sock.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
            prepare(sock, version, self._mark)
            if version == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_CHECKSUM, _UDP_CHECKSUM_OFFSET)
        except OSError:
            sock.close()
            raise
        return sock

    def _open_bound(self, index: int) -> socket.socket:
        """Open a socket that only sends, by one interface."""
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_UDP)
        try:
            sock.setblocking(False)
            attach(sock, DROP_ALL)
            sock.setsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, index)
            if self._mark:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_CHECKSUM, _UDP_CHECKSUM_OFFSET)
        except OSError:
            sock.close()
            raise
        return sock

    def _send_v4(self, sock: socket.socket, datagram: Datagram) -> None:
        source, destination = datagram.source.ip.packed, datagram.destination.ip.packed
        # The kernel leaves the checksum of a raw IPv4 socket to us, but not that of IPv6.
        packet = _udp_v4(source, destination, self._port, datagram)
        with in_one_piece(sock, datagram):
            sock.sendmsg([packet], self._control(datagram), 0, (str(datagram.destination.ip), 0))

    def _send_v6(self, sock: socket.socket, datagram: Datagram) -> None:
        payload = datagram.payload
        sock = self._bound.get(self._interface(datagram), sock)
        header = _UDP_HEADER.pack(self._port, datagram.destination.port, 8 + len(payload), 0)
        with in_one_piece(sock, datagram):
            sock.sendmsg(
                [header + payload],
                self._control(datagram),
                0,
                (str(datagram.destination.ip), 0, 0, 0),
            )

    def _control(self, datagram: Datagram) -> list[ControlMessage]:
        return sending(datagram.source.ip, self._interface(datagram), datagram.ttl)

    def _interface(self, datagram: Datagram) -> int:
        return self._ways.interface(datagram.source.ip, datagram.destination.ip)

    def _datagram(self, version: int, received: Received) -> Datagram | None:
        data, ancillary, (source, *_) = received
        local = local_address(ancillary)
        offset = (data[0] & 15) * 4 if version == 4 and data else 0
        if local is None or len(data) < offset + _UDP_HEADER.size:
            return None
        source_port, _, length, _ = _UDP_HEADER.unpack_from(data, offset)
        payload = data[offset + _UDP_HEADER.size : offset + length]
        ip = IPv4Address(source) if version == 4 else IPv6Address(source.partition("%")[0])
        return Datagram(Endpoint(ip, source_port), Endpoint(local, self._port), payload)


def _udp_v4(source: bytes, destination: bytes, port: int, datagram: Datagram) -> bytes:
    """Return the UDP datagram with its checksum (RFC 768)."""
    length = 8 + len(datagram.payload)
    header = _UDP_HEADER.pack(port, datagram.destination.port, length, 0)
    pseudo = source + destination + struct.pack("!HH", socket.IPPROTO_UDP, length)
    covered = pseudo + header + datagram.payload + bytes(length % 2)
    # The one's complement sum of 16-bit words is the number modulo 65535.
    checksum = 0xFFFF - int.from_bytes(covered, "big") % 0xFFFF
    return header[:6] + struct.pack("!H", checksum or 0xFFFF) + datagram.payload
