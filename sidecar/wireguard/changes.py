"""The changes that a back end can make, each small enough to touch nothing else."""

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

from nat.machine import Endpoint

from ..identity import PrivateKey, PublicKey
from .device import AllowedIPs, PeerRoute


@dataclass(frozen=True, slots=True)
class SetDevice:
    """Change attributes of the WireGuard device itself; `None` leaves one alone."""

    private_key: PrivateKey | None = None
    listen_port: int | None = None
    fwmark: int | None = None


@dataclass(frozen=True, slots=True)
class AddPeer:
    """Add a peer without an endpoint: it is set when a pair is valid, never guessed."""

    public_key: PublicKey
    allowed_ips: AllowedIPs


@dataclass(frozen=True, slots=True)
class SetAllowedIPs:
    """Replace the allowed IPs of a peer; its session, endpoint and keepalive stay."""

    public_key: PublicKey
    allowed_ips: AllowedIPs


@dataclass(frozen=True, slots=True)
class UpdatePeer:
    """Change endpoint and keepalive of an existing peer; `None` leaves one alone.

    Never creates the peer, never touches its session, allowed IPs or queue.
    """

    public_key: PublicKey
    endpoint: Endpoint | None = None
    persistent_keepalive: int | None = None


@dataclass(frozen=True, slots=True)
class OpenPeer:
    """Set the first endpoint of an existing peer, which never had a session, and shake hands now.

    A back end whose rate limit of handshakes counts tries from before there was an endpoint may
    begin the peer anew. Never creates it.

    Attributes:
        again: whether an earlier try was not answered. WireGuard's rate limit of handshakes is in
            the way then, so the peer is begun anew; not if it has had a session by now.
    """

    public_key: PublicKey
    endpoint: Endpoint
    persistent_keepalive: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class RemovePeer:
    """Remove a peer and its session."""

    public_key: PublicKey


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Add an address; its prefix makes the route to the subnet."""

    address: IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class RemoveAddress:
    """Remove an address."""

    address: IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class AddPeerRoute:
    """Add a route into the interface; one with the same destination is replaced."""

    route: PeerRoute


@dataclass(frozen=True, slots=True)
class RemovePeerRoute:
    """Remove a route of ours into the interface."""

    destination: IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class SetMtu:
    """Set the interface's MTU in bytes."""

    mtu: int


@dataclass(frozen=True, slots=True)
class SetUp:
    """Bring the interface up."""


EndpointChange = UpdatePeer | OpenPeer
"""What reconciliation leaves alone: the endpoint rules decide it."""

WireGuardChange = SetDevice | AddPeer | SetAllowedIPs | EndpointChange | RemovePeer
"""What WireGuard itself is told."""

LinkChange = AddAddress | RemoveAddress | AddPeerRoute | RemovePeerRoute | SetMtu | SetUp
"""What the network interface is told, whatever WireGuard stands behind it."""

Change = WireGuardChange | LinkChange
