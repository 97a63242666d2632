"""STUN on WireGuard's port without a raw socket: where CAP_NET_RAW is not granted (design D1).

Ordinary sockets on a port of their own, the inner port; nftables makes it WireGuard's to the rest of
the world. It behaves as `SharedPort`, but for two things: WireGuard does not see the STUN, and a host
firewall sees it arrive at the inner port.

    output      inner → remote       becomes   WireGuard's port → remote
    prerouting  remote → WireGuard's port, if it is STUN, becomes   remote → inner
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

from ..errors import SharedPortError
from ..machine import Datagram, Endpoint
from ..stun.message import MAGIC_COOKIE
from .ancillary import local_address, sending
from .family_sockets import Received, in_one_piece, prepare
from .stun_port import StunPort

BEFORE_SPLICES: Final = -360
"""Priority in output: before conntrack (-200), so that it knows one flow only, and before whatever
else gives WireGuard's port another name (-350)."""

AFTER_SPLICES: Final = -140
"""Priority in prerouting: after conntrack and whatever gives a port back its name (-150), before
any NAT (-100)."""

_UDP_NO_CHECK6_RX: Final = 102
"""Option of linux/udp.h: datagrams over IPv6 need no checksum."""

_HEADERS: Final = 28
"""UDP header (8) and STUN header (20)."""


class DemultiplexedPort(StunPort):
    """An ordinary socket for each family, behind rules of nftables.

    Args:
        port: see `StunPort`, as the others.
        load: makes nftables rules, all or none; raises `OSError` if they are refused.
        show: returns what the kernel has of a table; `None`: there is none.
        table: name of the table that is ours.
    """

    def __init__(
        self,
        port: int,
        *,
        mark: int,
        load: Callable[[str], None],
        show: Callable[[str], object | None],
        table: str,
        on_datagram: Callable[[Datagram], None],
        on_refused: Callable[[Datagram, str], None] = lambda datagram, error: None,
    ) -> None:
        super().__init__(port, mark=mark, on_datagram=on_datagram, on_refused=on_refused)
        self._load = load
        self._show = show
        self._table = table
        self._standing: object | None = None
        self._inner = 0

    def open(self) -> None:
        self._inner = 0
        try:
            self._sockets.open(self._open_family)
        except PermissionError as error:
            raise SharedPortError(
                "no permission to mark datagrams: the container needs CAP_NET_ADMIN"
            ) from error
        if not self.families:
            raise SharedPortError("neither IPv4 nor IPv6 has a UDP socket")
        try:
            self._lead()
        except OSError as error:
            self.close()
            raise SharedPortError(
                "STUN and WireGuard cannot share a port here: grant CAP_NET_RAW, or nftables "
                f"({error})"
            ) from error
        self._sockets.listen()

    def close(self) -> None:
        if not self.families:
            return
        with suppress(OSError):
            self._load(removal(self._table))
        self._sockets.close()

    def mend(self) -> bool:
        if not self.families or self._show(self._table) == self._standing:
            return False
        self._lead()
        return True

    def send(self, datagram: Datagram) -> None:
        source, destination = datagram.source.ip, datagram.destination
        interface = self._ways.interface(source, destination.ip)
        control = sending(source, interface, datagram.ttl)
        address = (str(destination.ip), destination.port)

        def transmit(sock: socket.socket) -> None:
            with in_one_piece(sock, datagram):
                sock.sendmsg([datagram.payload], control, 0, address)

        self._sockets.send(datagram, transmit)

    def _lead(self) -> None:
        """Have STUN led to our sockets."""
        self._load(removal(self._table) + rules(self._table, self._port, self._inner))
        self._standing = self._show(self._table)

    def _open_family(self, version: int) -> socket.socket:
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            prepare(sock, version, self._mark)
            if version == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_UDP, _UDP_NO_CHECK6_RX, 1)
            # Both families have the same port, which the first draws.
            sock.bind(("", self._inner))
            self._inner = sock.getsockname()[1]
        except OSError:
            sock.close()
            raise
        return sock

    def _datagram(self, version: int, received: Received) -> Datagram | None:
        payload, ancillary, (source, port, *_) = received
        local = local_address(ancillary)
        if local is None:
            return None
        remote = Endpoint(ip_address(source.partition("%")[0]), port)
        return Datagram(remote, Endpoint(local, self._port), payload)


def rules(table: str, port: int, inner: int) -> str:
    """Return the rules for `nft`.

    What is STUN is what `bpf` lets through, as far as nftables can say it: cookie, two top bits
    zero, a length. WireGuard's messages have zeros where STUN has its length (bytes 2 and 3), so
    that none is ever taken for one. Nobody reaches the inner port but by these rules. What this host
    forwards to others, who may have the same ports, is none of our business.

    What arrives there has no checksum (RFC 768 allows that, and RFC 6935 for IPv6): nftables from
    1.1 on has the kernel account for a new port as if it were a new address, and so breaks the sum
    of a packet that conntrack or the network card has added up already (CHECKSUM_COMPLETE); then
    all but the shortest are dropped. STUN has a FINGERPRINT instead.
    """
    cookie = int.from_bytes(MAGIC_COOKIE, "big")
    stun = f"udp length >= {_HEADERS} @th,64,2 0 @th,80,16 != 0 @th,96,32 {cookie:#x}"
    ours = "fib daddr type local"
    return f"""
        table inet {table} {{
          chain prerouting {{
            type filter hook prerouting priority {AFTER_SPLICES}; policy accept;
            {ours} udp dport {inner} drop
            {ours} udp dport {port} {stun} udp dport set {inner} udp checksum set 0
          }}
          chain output {{
            type filter hook output priority {BEFORE_SPLICES}; policy accept;
            udp sport {inner} udp sport set {port}
          }}
        }}
        """


def removal(table: str) -> str:
    """Return what removes the rules, harmless if there are none."""
    # "delete" alone fails if there is no table, and nft 1.0 has no "destroy" yet.
    return f"add table inet {table}\ndelete table inet {table}\n"
