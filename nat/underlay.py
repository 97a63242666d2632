"""Which addresses datagrams may be exchanged with at all."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network

from .machine import IPAddress

Network = IPv4Network | IPv6Network


class Underlay:
    """All addresses but those of refused networks, such as the overlay's own.

    Args:
        refused: networks to which nothing is sent, and from which nothing is believed.
        may_check: which other addresses may be the target of checks.
    """

    def __init__(
        self, *, refused: Sequence[Network], may_check: Callable[[IPAddress], bool]
    ) -> None:
        self._refused = tuple(refused)
        self._may_check = may_check

    def refuse(self, networks: Sequence[Network]) -> None:
        """Refuse further networks from here on."""
        self._refused += tuple(network for network in networks if network not in self._refused)

    def refuses(self, ip: IPAddress) -> bool:
        """Whether an address is of a refused network."""
        return any(ip.version == network.version and ip in network for network in self._refused)

    def may_send_to(self, ip: IPAddress) -> bool:
        """Whether an address may be the target of checks."""
        return self._may_check(ip) and not self.refuses(ip)
