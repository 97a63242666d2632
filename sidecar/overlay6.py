"""Overlay IPv6: derived from what everybody knows, never claimed (design A2).

A team's network is a unique local /48 (RFC 4193) whose global id is a hash of the team's id, as
§3.2.2 makes one of a time and an EUI-64; the host part is the overlay IPv4 address. So two teams
on one host do not clash, and two members never disagree.

    fd2f:9c41:7b6e::100.64.7.2  =  fd2f:9c41:7b6e::6440:702
"""

import hashlib
from ipaddress import IPv4Address, IPv6Address, IPv6Interface, IPv6Network
from typing import Final

PREFIX_LENGTH: Final = 64
"""Length of the prefix on the interface (RFC 4291 §2.5.4): subnet 0 of the /48."""

_LABEL: Final = b"kbwg overlay ipv6\0"
"""Keeps this use of the team's id apart from every other."""


class Overlay6:
    """The overlay IPv6 network of one team.

    Args:
        team_id: the id that Keybase gave the team; unlike its name it never changes.
    """

    def __init__(self, team_id: str) -> None:
        # RFC 4193 §3.2.2: the global id is 40 bits of a digest, behind fd00::/8.
        global_id = hashlib.sha256(_LABEL + team_id.encode()).digest()[:5]
        self.network: Final = IPv6Network((b"\xfd" + global_id + bytes(10), 48))
        """All overlay addresses of the team."""

    def address(self, ip: IPv4Address) -> IPv6Address:
        """Return the IPv6 address of whoever has an overlay IPv4 address."""
        return self.network[int(ip)]

    def interface(self, ip: IPv4Address) -> IPv6Interface:
        """Return the same with the prefix that makes the route to the team."""
        return IPv6Interface((self.address(ip), PREFIX_LENGTH))
