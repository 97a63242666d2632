"""The socket that shares WireGuard's UDP port for STUN (design D1).

WireGuard owns the port; a raw socket per family gets copies of the STUN messages (`bpf`) and
sends with the same source port, so that both have one and the same NAT mapping. WireGuard drops
its own copy.
"""

import asyncio
import errno
import logging
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ..errors import SharedPortError
from ..machine import Datagram, Endpoint, IPAddress
from .ancillary import IP_PKTINFO, IPV6_RECVPKTINFO, ControlMessage, local_address, sending
from .bpf import DROP_ALL, stun_filter_v4, stun_filter_v6
from .socket_filter import attach

_log = logging.getLogger(__name__)

BATCH: Final = 64
"""Datagrams read in one go, so that a flood cannot keep the loop from its timers."""

RECEIVE_BUFFER: Final = 1 << 20
"""Bytes queued per family; 1,000 peers that check at once take a tenth."""

MAX_DATAGRAM: Final = 9216
"""Bytes read of a datagram: as many as Ethernet with jumbo frames carries in one piece, for probes
of the path's width. Larger ones are cut, and the parser refuses them."""

_SO_LOCK_FILTER: Final = 44
_SO_BINDTOIFINDEX: Final = 62
_IPV6_CHECKSUM: Final = 7
_MTU_DISCOVER: Final = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
"""IP_MTU_DISCOVER and IPV6_MTU_DISCOVER (linux/in.h, linux/in6.h)."""
_PMTUDISC_PROBE: Final = 3
_UDP_HEADER: Final = struct.Struct("!HHHH")
_UDP_CHECKSUM_OFFSET: Final = 6


class SharedPort:
    """Sends and receives STUN on a port that WireGuard is bound to.

    Args:
        port: WireGuard's listen port.
        mark: SO_MARK of what is sent; 0 for none.
        on_datagram: gets each datagram; its destination is the local address it came to.
        on_refused: gets each datagram that the host would not send, and the name of the error.
    """

    def __init__(
        self,
        port: int,
        *,
        mark: int,
        on_datagram: Callable[[Datagram], None],
        on_refused: Callable[[Datagram, str], None] = lambda datagram, error: None,
    ) -> None:
        self._port = port
        self._mark = mark
        self._on_datagram = on_datagram
        self._on_refused = on_refused
        self._sockets: dict[int, socket.socket] = {}
        self._uplinks: Mapping[IPAddress, int] = {}
        self._bound: dict[int, socket.socket] = {}
        self.counters: Counter[str] = Counter()
        """Datagrams received, sent and not sent, by reason."""

    @property
    def families(self) -> frozenset[int]:
        """IP versions (4, 6) that have a socket."""
        return frozenset(self._sockets)

    def open(self) -> None:
        """Open the sockets and begin to receive; a host without IPv6 has one only.

        Raises:
            SharedPortError: CAP_NET_RAW is missing, or neither family works.
        """
        for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
            try:
                self._sockets[version] = self._open_family(version, family)
            except PermissionError as error:
                self.close()
                raise SharedPortError(
                    "no permission for a raw socket: the container needs CAP_NET_RAW"
                ) from error
            except OSError as error:
                self.counters[f"family-v{version}-unavailable"] += 1
                _log.debug("no raw socket", extra={"family": version, "error": str(error)})
        if not self._sockets:
            raise SharedPortError("neither IPv4 nor IPv6 has a raw UDP socket")
        loop = asyncio.get_running_loop()
        for version, sock in self._sockets.items():
            loop.add_reader(sock.fileno(), self._on_readable, version, sock)

    def close(self) -> None:
        """Close the sockets; harmless if they are not open."""
        for sock in self._sockets.values():
            with suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()
        for sock in self._bound.values():
            sock.close()
        self._bound.clear()

    def set_uplinks(self, uplinks: Mapping[IPAddress, int]) -> None:
        """Say by which interface (its index) datagrams from an address leave.

        Whatever is not named leaves as the routes have it, which on a host with several uplinks
        may be by another one than the address belongs to.
        """
        self._uplinks = dict(uplinks)
        # IPv6 heeds the interface of a datagram with a source only on a socket that is bound to it.
        wanted = {index for ip, index in uplinks.items() if ip.version == 6}
        wanted = wanted if len(wanted) > 1 and 6 in self._sockets else set()
        for index in self._bound.keys() - wanted:
            self._bound.pop(index).close()
        for index in wanted - self._bound.keys():
            try:
                self._bound[index] = self._open_bound(index)
            except OSError as error:
                self.counters["uplink-v6-unavailable"] += 1
                _log.debug("no socket on uplink", extra={"index": index, "error": str(error)})

    def send(self, datagram: Datagram) -> None:
        """Send from exactly `datagram.source.ip`. What cannot be sent is counted, not raised."""
        sock = self._sockets.get(datagram.destination.ip.version)
        if sock is None:
            self.counters["send-no-family"] += 1
            self._on_refused(datagram, "EAFNOSUPPORT")
            return
        try:
            if datagram.destination.ip.version == 4:
                self._send_v4(sock, datagram)
            else:
                self._send_v6(sock, datagram)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "error")
            self.counters[f"send-{name}"] += 1
            self._on_refused(datagram, name)
            return
        self.counters["sent"] += 1

    def _open_family(self, version: int, family: int) -> socket.socket:
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
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            if self._mark:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
            if version == 4:
                sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
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
        sock = self._bound.get(self._uplinks.get(datagram.source.ip, 0), sock)
        header = _UDP_HEADER.pack(self._port, datagram.destination.port, 8 + len(payload), 0)
        with in_one_piece(sock, datagram):
            sock.sendmsg(
                [header + payload],
                self._control(datagram),
                0,
                (str(datagram.destination.ip), 0, 0, 0),
            )

    def _control(self, datagram: Datagram) -> list[ControlMessage]:
        source = datagram.source.ip
        return sending(source, self._uplinks.get(source, 0), datagram.ttl)

    def _on_readable(self, version: int, sock: socket.socket) -> None:
        for _ in range(BATCH):
            try:
                data, ancillary, _, address = sock.recvmsg(MAX_DATAGRAM, 256)
            except BlockingIOError:
                return
            except OSError as error:
                self.counters[f"receive-{errno.errorcode.get(error.errno or 0, 'error')}"] += 1
                return
            datagram = self._datagram(version, data, ancillary, address[0])
            if datagram is None:
                self.counters["receive-malformed"] += 1
                continue
            self.counters["received"] += 1
            self._on_datagram(datagram)

    def _datagram(
        self, version: int, data: bytes, ancillary: list[ControlMessage], source: str
    ) -> Datagram | None:
        local = local_address(ancillary)
        offset = (data[0] & 15) * 4 if version == 4 and data else 0
        if local is None or len(data) < offset + _UDP_HEADER.size:
            return None
        source_port, _, length, _ = _UDP_HEADER.unpack_from(data, offset)
        payload = data[offset + _UDP_HEADER.size : offset + length]
        ip = IPv4Address(source) if version == 4 else IPv6Address(source.partition("%")[0])
        return Datagram(Endpoint(ip, source_port), Endpoint(local, self._port), payload)


@contextmanager
def in_one_piece(sock: socket.socket, datagram: Datagram) -> Iterator[None]:
    """Let a datagram that must not be fragmented be sent so, whatever its path is believed to be.

    PMTUDISC_PROBE sets DF and looks at nothing but the interface's own MTU: neither does an ICMP
    that anybody may have sent hold a probe back, nor does the kernel fragment it (ip(7)).
    """
    if not datagram.dont_fragment:
        yield
        return
    version = datagram.destination.ip.version
    level, option = _MTU_DISCOVER[version]
    usual = sock.getsockopt(level, option)
    sock.setsockopt(level, option, _PMTUDISC_PROBE)
    try:
        yield
    finally:
        sock.setsockopt(level, option, usual)


def _udp_v4(source: bytes, destination: bytes, port: int, datagram: Datagram) -> bytes:
    """Return the UDP datagram with its checksum (RFC 768)."""
    length = 8 + len(datagram.payload)
    header = _UDP_HEADER.pack(port, datagram.destination.port, length, 0)
    pseudo = source + destination + struct.pack("!HH", socket.IPPROTO_UDP, length)
    covered = pseudo + header + datagram.payload + bytes(length % 2)
    # The one's complement sum of 16-bit words is the number modulo 65535.
    checksum = 0xFFFF - int.from_bytes(covered, "big") % 0xFFFF
    return header[:6] + struct.pack("!H", checksum or 0xFFFF) + datagram.payload
