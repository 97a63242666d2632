"""A home's gateway as the port mapping protocols see it: a server of PCP and NAT-PMP in memory.

Written from RFC 6887 and RFC 6886, not from our codec: it packs and unpacks by itself.
"""

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from nat.machine import Datagram, Endpoint, IPAddress

SERVER_PORT = 5351


@dataclass
class Gateway:
    """Answers as a gateway with the given abilities does.

    Attributes:
        ip: its address on our side.
        public: its public address.
        lifetime: the longest that it grants.
        pcp_result, natpmp_result: what it answers to MAP; 0 grants.
        answers_unknown_versions: whether one that speaks only NAT-PMP says so.
        external_port: that it maps to; `None`: the suggested one.
    """

    ip: IPAddress = field(default_factory=lambda: ip_address("192.168.1.1"))
    public: IPAddress = field(default_factory=lambda: ip_address("203.0.113.2"))
    pcp: bool = True
    natpmp: bool = True
    lifetime: int = 7200
    pcp_result: int = 0
    natpmp_result: int = 0
    answers_unknown_versions: bool = True
    external_port: int | None = None
    begun: float = 0.0
    mappings: dict[bytes, tuple[int, float]] = field(default_factory=dict)
    """By nonce (or internal port, for NAT-PMP): external port and end."""
    requests: list[tuple[float, bytes]] = field(default_factory=list)
    online: bool = True

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.ip, SERVER_PORT)

    def restart(self, now: float) -> None:
        """Forget everything."""
        self.begun = now
        self.mappings.clear()

    def asked(self, version: int, since: float = 0.0) -> list[float]:
        """When requests of a version came in."""
        return [at for at, payload in self.requests if payload[0] == version and at >= since]

    def answer(self, datagram: Datagram, now: float) -> list[Datagram]:
        """Take a request; return what is answered."""
        self.requests.append((now, datagram.payload))
        if not self.online:
            return []
        payload = datagram.payload
        reply = self._pcp(payload, now) if payload[0] else self._natpmp(payload, now)
        return [Datagram(self.endpoint, datagram.source, reply)] if reply else []

    def announcement(self, now: float, *, pcp: bool = True) -> Datagram:
        """Make what is sent to all hosts after a restart."""
        payload = (
            _pcp_header(0, 0, 0, self._epoch(now))
            if pcp
            else struct.pack("!BBHI", 0, 128, 0, self._epoch(now)) + self.public.packed
        )
        return Datagram(self.endpoint, Endpoint(IPv4Address("224.0.0.1"), 5350), payload)

    def _epoch(self, now: float) -> int:
        return int(now - self.begun)

    def _pcp(self, payload: bytes, now: float) -> bytes | None:
        if not self.pcp:
            if self.natpmp and self.answers_unknown_versions:
                return struct.pack("!BBHI", 0, 128 + payload[1], 1, self._epoch(now))
            return None
        version, opcode, lifetime = struct.unpack_from("!BB2xI", payload)
        assert version == 2
        if opcode == 0:
            return _pcp_header(0, 0, 0, self._epoch(now))
        nonce, protocol, internal, external = struct.unpack_from("!12sB3xHH", payload, 24)
        assert protocol == 17
        if self.pcp_result:
            header = _pcp_header(1, self.pcp_result, 1800, self._epoch(now))
            return header + payload[24:]
        granted = min(lifetime, self.lifetime)
        port = self.external_port or external
        self._note(nonce, port, granted, now)
        fields = struct.pack("!12sB3xHH", nonce, protocol, internal, port)
        return _pcp_header(1, 0, granted, self._epoch(now)) + fields + _packed(self.public)

    def _natpmp(self, payload: bytes, now: float) -> bytes | None:
        if not self.natpmp:
            return None
        if payload[1] == 0:
            return struct.pack("!BBHI", 0, 128, 0, self._epoch(now)) + self.public.packed
        internal, external, lifetime = struct.unpack_from("!HHI", payload, 4)
        if self.natpmp_result:
            return struct.pack("!BBHI", 0, 129, self.natpmp_result, self._epoch(now))
        granted = min(lifetime, self.lifetime)
        port = (self.external_port or external) if lifetime else 0
        self._note(struct.pack("!H", internal), port, granted, now)
        head = struct.pack("!BBHI", 0, 129, 0, self._epoch(now))
        return head + struct.pack("!HHI", internal, port, granted)

    def _note(self, key: bytes, port: int, lifetime: int, now: float) -> None:
        if lifetime:
            self.mappings[key] = (port, now + lifetime)
        else:
            self.mappings.pop(key, None)


def _pcp_header(opcode: int, result: int, lifetime: int, epoch: int) -> bytes:
    return struct.pack("!BBxBII12x", 2, 128 | opcode, result, lifetime, epoch)


def _packed(ip: IPAddress) -> bytes:
    return ip.packed if isinstance(ip, IPv6Address) else IPv6Address(f"::ffff:{ip}").packed
