"""The overlay addresses of this device, as its interface should have them."""

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

from ..overlay6 import Overlay6

OverlayInterface = IPv4Interface | IPv6Interface


class OwnAddresses:
    """Our overlay addresses.

    Args:
        subnet: the overlay network.
        ip: our address in it, if it is known already.
    """

    def __init__(self, subnet: IPv4Network, ip: IPv4Address | None) -> None:
        self.ip = ip
        """Our overlay address, once it is ours."""
        self.overlay6: Overlay6 | None = None
        """The team's overlay IPv6 network; `None` until the team's id is known."""
        self._subnet = subnet

    def derive(self, team_id: str) -> IPv6Network | None:
        """Take the team's id; returns the network that it gives the team, the first time."""
        if self.overlay6 is not None:
            return None
        self.overlay6 = Overlay6(team_id)
        return self.overlay6.network

    @property
    def ip6(self) -> IPv6Address | None:
        """Our overlay IPv6 address; `None` until the team's id and our IPv4 address are known."""
        if self.overlay6 is None or self.ip is None:
            return None
        return self.overlay6.address(self.ip)

    @property
    def interfaces(self) -> frozenset[OverlayInterface]:
        """Addresses that the interface should have."""
        if self.ip is None:
            return frozenset()
        found: set[OverlayInterface] = {IPv4Interface((self.ip, self._subnet.prefixlen))}
        if self.overlay6 is not None:
            found.add(self.overlay6.interface(self.ip))
        return frozenset(found)
