"""By which interface a datagram leaves this host."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from ..machine import IPAddress

IPNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Ways:
    """The uplinks of a host, and what lies on this side of them.

    Attributes:
        uplinks: the interface (index) that each address leaves by.
        near: networks that begin at another interface of this host: those of containers and virtual
            machines, which no uplink leads to.
    """

    uplinks: Mapping[IPAddress, int] = field(default_factory=dict)
    near: frozenset[IPNetwork] = frozenset()

    def interface(self, source: IPAddress, destination: IPAddress) -> int:
        """Return the index of the interface that a datagram leaves by; 0: the routes know."""
        return 0 if self.is_near(destination) else self.uplinks.get(source, 0)

    def is_near(self, destination: IPAddress) -> bool:
        """Whether an address is that of a neighbour who is behind no uplink."""
        return any(destination in network for network in self.near)

    def choices(self) -> "Ways":
        """Leave out the families that have one uplink.

        Only where there are several must a datagram say by which it leaves.
        """
        interfaces = {
            version: {index for ip, index in self.uplinks.items() if ip.version == version}
            for version in (4, 6)
        }
        several = {ip: at for ip, at in self.uplinks.items() if len(interfaces[ip.version]) > 1}
        return Ways(several, self.near)
