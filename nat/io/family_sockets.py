"""A socket for each family on one port: what both ways of sharing WireGuard's port have in common.

What cannot be sent or is not understood is counted and told, never raised.
"""

import asyncio
import errno
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from ..machine import Datagram
from .ancillary import IP_PKTINFO, IPV6_RECVPKTINFO, ControlMessage

_log = logging.getLogger(__name__)

BATCH: Final = 64
"""Datagrams read in one go, so that a flood cannot keep the loop from its timers."""

RECEIVE_BUFFER: Final = 1 << 20
"""Bytes queued per family; 1,000 peers that check at once take a tenth."""

MAX_DATAGRAM: Final = 9216
"""Bytes read of a datagram: as many as Ethernet with jumbo frames carries in one piece, for probes
of the path's width. Larger ones are cut, and the parser refuses them."""

MAX_ANCILLARY: Final = 256
"""Bytes for the control messages of a datagram; those that we ask for take 40."""

_MTU_DISCOVER: Final = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
"""IP_MTU_DISCOVER and IPV6_MTU_DISCOVER (linux/in.h, linux/in6.h)."""
_PMTUDISC_PROBE: Final = 3

Received = tuple[bytes, list[ControlMessage], tuple[str, int]]
"""What `recvmsg` tells of a datagram: its bytes, its control messages, where it came from."""


class FamilySockets:
    """The sockets of one port.

    Args:
        decode: makes a datagram of what a socket of an IP version has received; `None`: of no use.
        on_datagram: gets each datagram.
        on_refused: gets each datagram that the host would not send, and the name of the error.
    """

    def __init__(
        self,
        *,
        decode: Callable[[int, Received], Datagram | None],
        on_datagram: Callable[[Datagram], None],
        on_refused: Callable[[Datagram, str], None],
    ) -> None:
        self._decode = decode
        self._on_datagram = on_datagram
        self._on_refused = on_refused
        self._sockets: dict[int, socket.socket] = {}
        self.counters: Counter[str] = Counter()
        """Datagrams received, sent and not sent, by reason."""

    @property
    def families(self) -> frozenset[int]:
        """IP versions (4, 6) that have a socket."""
        return frozenset(self._sockets)

    def open(self, make: Callable[[int], socket.socket]) -> None:
        """Make the sockets; a host without IPv6 has one only.

        Raises:
            PermissionError: this process may not make them.
        """
        for version in (4, 6):
            try:
                self._sockets[version] = make(version)
            except PermissionError:
                self.close()
                raise
            except OSError as error:
                self.counters[f"family-v{version}-unavailable"] += 1
                _log.debug("family unavailable", extra={"family": version, "error": str(error)})

    def listen(self) -> None:
        """Begin to receive."""
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

    def send(self, datagram: Datagram, transmit: Callable[[socket.socket], None]) -> None:
        """Have a datagram sent by the socket of its family."""
        sock = self._sockets.get(datagram.destination.ip.version)
        if sock is None:
            self.counters["send-no-family"] += 1
            self._on_refused(datagram, "EAFNOSUPPORT")
            return
        try:
            transmit(sock)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "error")
            self.counters[f"send-{name}"] += 1
            self._on_refused(datagram, name)
            return
        self.counters["sent"] += 1

    def _on_readable(self, version: int, sock: socket.socket) -> None:
        for _ in range(BATCH):
            try:
                data, ancillary, _, address = sock.recvmsg(MAX_DATAGRAM, MAX_ANCILLARY)
            except BlockingIOError:
                return
            except OSError as error:
                self.counters[f"receive-{errno.errorcode.get(error.errno or 0, 'error')}"] += 1
                return
            datagram = self._decode(version, (data, ancillary, address))
            if datagram is None:
                self.counters["receive-malformed"] += 1
                continue
            self.counters["received"] += 1
            self._on_datagram(datagram)


def prepare(sock: socket.socket, version: int, mark: int) -> None:
    """Give a socket of an IP version room, a mark (0: none), and where its datagrams came to."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    if mark:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    if version == 4:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)


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
