"""A WireGuard device in the words of wg(8): configuration and statistics apart.

`PeerConfig` is what we want to stay; the rest of `PeerState` changes by itself. Endpoints and
keepalives belong to neither side alone (the kernel roams), so they are changed by an explicit
`UpdatePeer` or `OpenPeer` and only read back in `PeerState`.
"""

from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

from nat.machine import Endpoint

from ..identity import PrivateKey, PublicKey

AllowedIPs = frozenset[IPv4Network | IPv6Network]


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """What makes a peer a peer."""

    public_key: PublicKey
    allowed_ips: AllowedIPs


@dataclass(frozen=True, slots=True)
class PeerRoute:
    """A route to one peer with an MTU of its own, because its path is narrower than the others."""

    destination: IPv4Network | IPv6Network
    mtu: int


@dataclass(frozen=True, slots=True)
class PeerState:
    """A peer as the back end reports it.

    Attributes:
        endpoint: where WireGuard sends to now; `None`: nowhere yet.
        persistent_keepalive: seconds; 0 is off.
        last_handshake: wall-clock time of the last completed handshake; `None`: never.
    """

    config: PeerConfig
    endpoint: Endpoint | None
    persistent_keepalive: int
    rx_bytes: int
    tx_bytes: int
    last_handshake: datetime | None


@dataclass(frozen=True, slots=True)
class WireGuardState:
    """What WireGuard itself reports; the rest of `DeviceState` is the network interface's."""

    private_key: PrivateKey | None
    listen_port: int
    fwmark: int
    peers: dict[PublicKey, PeerState]


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """The wanted interface and its peers (endpoints excepted).

    Attributes:
        alias: ifalias, the tag by which an interface is known as ours (team and device).
        addresses: overlay addresses with the prefix of the subnet, which makes its route.
        mtu: bytes of the largest packet in the tunnel.
        fwmark: SO_MARK of WireGuard's own socket; 0 is none.
        routes: routes to single peers, besides that to the subnet.
        tentative: what is there beyond all this stays: it may be that we do not know of it yet.
    """

    interface: str
    alias: str
    private_key: PrivateKey
    listen_port: int
    fwmark: int
    mtu: int
    addresses: frozenset[IPv4Interface | IPv6Interface]
    peers: dict[PublicKey, PeerConfig] = field(default_factory=dict)
    routes: frozenset[PeerRoute] = frozenset()
    tentative: bool = False


@dataclass(frozen=True, slots=True)
class DeviceState:
    """The interface as it is; `DeviceConfig`'s counterpart.

    Attributes:
        ipv6: whether it can have IPv6 addresses; where not, none are wanted of it.
    """

    interface: str
    alias: str
    private_key: PrivateKey | None
    listen_port: int
    fwmark: int
    mtu: int
    up: bool
    addresses: frozenset[IPv4Interface | IPv6Interface]
    peers: dict[PublicKey, PeerState]
    ipv6: bool = True
    routes: frozenset[PeerRoute] = frozenset()
