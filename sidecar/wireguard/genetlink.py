"""Codec of the kernel's WireGuard interface (linux/wireguard.h, generic netlink). No I/O.

Our own, since the library's takes one peer at a time, does not match replies to requests, and
needs 30 times longer for a dump of 1,000 peers.
"""

import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

from nat.machine import Endpoint

from ..errors import BackendError, IdentityError
from ..identity import PrivateKey, PublicKey
from .changes import (
    AddPeer,
    OpenPeer,
    RemovePeer,
    SetAllowedIPs,
    SetDevice,
    UpdatePeer,
    WireGuardChange,
)
from .device import PeerConfig, PeerState, WireGuardState
from .netlink import NESTED, decode_attributes, encode_attribute

FAMILY: Final = "wireguard"
"""Name of the generic netlink family."""

CMD_GET_DEVICE: Final = 0
CMD_SET_DEVICE: Final = 1

_DEVICE_IFNAME: Final = 2
_DEVICE_PRIVATE_KEY: Final = 3
_DEVICE_LISTEN_PORT: Final = 6
_DEVICE_FWMARK: Final = 7
_DEVICE_PEERS: Final = 8

_PEER_PUBLIC_KEY: Final = 1
_PEER_FLAGS: Final = 3
_PEER_ENDPOINT: Final = 4
_PEER_KEEPALIVE: Final = 5
_PEER_LAST_HANDSHAKE: Final = 6
_PEER_RX_BYTES: Final = 7
_PEER_TX_BYTES: Final = 8
_PEER_ALLOWED_IPS: Final = 9

_REMOVE_ME: Final = 1
_REPLACE_ALLOWED_IPS: Final = 2
_UPDATE_ONLY: Final = 4

_ALLOWED_FAMILY: Final = 1
_ALLOWED_ADDRESS: Final = 2
_ALLOWED_MASK: Final = 3

_AF_INET: Final = 2
_AF_INET6: Final = 10

MAX_CHANGES: Final = 100
"""Peers of one message: each costs the kernel a Diffie-Hellman, and others wait meanwhile."""

MAX_ALLOWED_IPS: Final = 500
"""Allowed IPs of one peer in one message: 20 kB at most."""

MAX_PEERS: Final = 32_000
"""Bytes of the peers of one message; with one peer more they still fit into an attribute."""

REMEMBERED: Final = 2_048
"""Peers whose addresses are not made anew each time: they are read every second."""


def encode_get(interface: str) -> bytes:
    """Return the attributes of a dump request."""
    return encode_attribute(_DEVICE_IFNAME, interface.encode() + b"\0")


def encode_set(interface: str, changes: Iterable[WireGuardChange]) -> Iterator[bytes]:
    """Return the attributes of as many set requests as `changes` need, in order."""
    name = encode_attribute(_DEVICE_IFNAME, interface.encode() + b"\0")
    peers: list[bytes] = []

    def flush() -> Iterator[bytes]:
        if peers:
            yield name + encode_attribute(_DEVICE_PEERS | NESTED, b"".join(peers))
            peers.clear()

    for change in changes:
        if isinstance(change, SetDevice):
            yield from flush()
            yield name + _device(change)
            continue
        for peer in _peer(change):
            peers.append(encode_attribute(NESTED, peer))
            if len(peers) >= MAX_CHANGES or sum(map(len, peers)) >= MAX_PEERS:
                yield from flush()
    yield from flush()


def decode_dump(messages: Iterable[bytes]) -> WireGuardState:
    """Read the attributes of every message of a dump, as one device.

    A peer may be split over messages: the later part has only its key and more allowed IPs.

    Raises:
        BackendError: malformed.
    """
    device = _Device()
    try:
        for message in messages:
            for number, value in decode_attributes(message):
                device.take(number, value)
    except (IdentityError, LookupError, ValueError, OverflowError, OSError, struct.error) as error:
        raise BackendError(f"the kernel's answer is malformed: {error!r}") from error
    return WireGuardState(device.private_key, device.listen_port, device.fwmark, device.peers)


@dataclass(slots=True)
class _Device:
    private_key: PrivateKey | None = None
    listen_port: int = 0
    fwmark: int = 0
    peers: dict[PublicKey, PeerState] = field(default_factory=dict)

    def take(self, number: int, value: bytes) -> None:
        if number == _DEVICE_PRIVATE_KEY:
            self.private_key = PrivateKey(value) if any(value) else None
        elif number == _DEVICE_LISTEN_PORT:
            (self.listen_port,) = struct.unpack("=H", value)
        elif number == _DEVICE_FWMARK:
            (self.fwmark,) = struct.unpack("=I", value)
        elif number == _DEVICE_PEERS:
            for _, peer in decode_attributes(value):
                self._merge(_decode_peer(peer))

    def _merge(self, peer: PeerState) -> None:
        key = peer.config.public_key
        known = self.peers.get(key)
        if known is None:
            self.peers[key] = peer
            return
        both = known.config.allowed_ips | peer.config.allowed_ips
        self.peers[key] = replace(known, config=PeerConfig(key, both))


def _device(change: SetDevice) -> bytes:
    data = b""
    if change.private_key is not None:
        data += encode_attribute(_DEVICE_PRIVATE_KEY, change.private_key.raw)
    if change.listen_port is not None:
        data += encode_attribute(_DEVICE_LISTEN_PORT, struct.pack("=H", change.listen_port))
    if change.fwmark is not None:
        data += encode_attribute(_DEVICE_FWMARK, struct.pack("=I", change.fwmark))
    return data


def _peer(change: AddPeer | SetAllowedIPs | UpdatePeer | OpenPeer | RemovePeer) -> Iterator[bytes]:
    key = encode_attribute(_PEER_PUBLIC_KEY, change.public_key.raw)
    match change:
        case RemovePeer():
            yield key + _flags(_REMOVE_ME | _UPDATE_ONLY)
        case UpdatePeer() | OpenPeer():
            endpoint, keepalive = change.endpoint, change.persistent_keepalive
            data = key + _flags(_UPDATE_ONLY)
            if endpoint is not None:
                data += encode_attribute(_PEER_ENDPOINT, _sockaddr(endpoint))
            if keepalive is not None:
                data += encode_attribute(_PEER_KEEPALIVE, struct.pack("=H", keepalive))
            yield data
        case AddPeer(allowed_ips=allowed_ips) | SetAllowedIPs(allowed_ips=allowed_ips):
            only = _UPDATE_ONLY if isinstance(change, SetAllowedIPs) else 0
            networks = [_allowed_ip(str(network)) for network in sorted(allowed_ips, key=str)]
            first, rest = networks[:MAX_ALLOWED_IPS], networks[MAX_ALLOWED_IPS:]
            yield key + _flags(_REPLACE_ALLOWED_IPS | only) + _allowed_ips(first)
            while rest:
                first, rest = rest[:MAX_ALLOWED_IPS], rest[MAX_ALLOWED_IPS:]
                yield key + _flags(_UPDATE_ONLY) + _allowed_ips(first)


def _flags(value: int) -> bytes:
    return encode_attribute(_PEER_FLAGS, struct.pack("=I", value))


def _allowed_ips(networks: list[bytes]) -> bytes:
    nested = b"".join(encode_attribute(NESTED, network) for network in networks)
    return encode_attribute(_PEER_ALLOWED_IPS | NESTED, nested)


def _allowed_ip(text: str) -> bytes:
    network = ip_network(text)
    family = _AF_INET if network.version == 4 else _AF_INET6
    return (
        encode_attribute(_ALLOWED_FAMILY, struct.pack("=H", family))
        + encode_attribute(_ALLOWED_ADDRESS, network.network_address.packed)
        + encode_attribute(_ALLOWED_MASK, struct.pack("=B", network.prefixlen))
    )


def _sockaddr(endpoint: Endpoint) -> bytes:
    port = struct.pack("!H", endpoint.port)
    if isinstance(endpoint.ip, IPv4Address):
        return struct.pack("=H", _AF_INET) + port + endpoint.ip.packed + bytes(8)
    return struct.pack("=H", _AF_INET6) + port + bytes(4) + endpoint.ip.packed + bytes(4)


def _decode_peer(data: bytes) -> PeerState:
    fields = dict(decode_attributes(data))
    key = PublicKey(fields[_PEER_PUBLIC_KEY])
    config = _config(key, fields.get(_PEER_ALLOWED_IPS, b""))
    seconds, nanoseconds = struct.unpack("=qq", fields.get(_PEER_LAST_HANDSHAKE, bytes(16)))
    # Both are zero while there was no handshake.
    handshake = datetime.fromtimestamp(seconds + nanoseconds / 1e9, UTC) if seconds else None
    endpoint = fields.get(_PEER_ENDPOINT)
    return PeerState(
        config=config,
        endpoint=None if endpoint is None else _decode_sockaddr(endpoint),
        persistent_keepalive=int.from_bytes(fields.get(_PEER_KEEPALIVE, b""), sys.byteorder),
        rx_bytes=int.from_bytes(fields.get(_PEER_RX_BYTES, b""), sys.byteorder),
        tx_bytes=int.from_bytes(fields.get(_PEER_TX_BYTES, b""), sys.byteorder),
        last_handshake=handshake,
    )


@lru_cache(REMEMBERED)
def _config(key: PublicKey, allowed_ips: bytes) -> PeerConfig:
    networks = (_decode_allowed_ip(value) for _, value in decode_attributes(allowed_ips))
    return PeerConfig(key, frozenset(networks))


def _decode_allowed_ip(data: bytes) -> IPv4Network | IPv6Network:
    fields = dict(decode_attributes(data))
    (prefix,) = fields[_ALLOWED_MASK]
    return ip_network((ip_address(fields[_ALLOWED_ADDRESS]), prefix))


def _decode_sockaddr(data: bytes) -> Endpoint | None:
    family, port = struct.unpack_from("=H", data)[0], struct.unpack_from("!H", data, 2)[0]
    if family == _AF_INET:
        return Endpoint(IPv4Address(data[4:8]), port)
    if family == _AF_INET6:
        # What follows the address, its scope, names a link of this host and no peer.
        return Endpoint(IPv6Address(data[8:24]), port)
    return None
