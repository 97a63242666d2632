"""The difference between the wanted device and the real one, as a list of changes.

Touches only what differs; never re-creates a peer; applying it twice changes nothing.
"""

from collections.abc import Iterator
from dataclasses import replace

from .changes import (
    AddAddress,
    AddPeer,
    AddPeerRoute,
    Change,
    RemoveAddress,
    RemovePeer,
    RemovePeerRoute,
    SetAllowedIPs,
    SetDevice,
    SetMtu,
    SetUp,
)
from .device import AllowedIPs, DeviceConfig, DeviceState


def diff(desired: DeviceConfig, actual: DeviceState) -> tuple[Change, ...]:
    """Return the changes that make `actual` as `desired`, in an order that is safe.

    Peers go before others come, so that allowed IPs are free when they are given anew: WireGuard
    would take them from their holder without a word.
    """
    return (
        *_device(desired, actual),
        *_peers(desired, actual),
        *_addresses(desired, actual),
        *_routes(desired, actual),
    )


def settled(desired: DeviceConfig, actual: DeviceState) -> DeviceConfig:
    """Return what is wanted of a device that is there; of a tentative one that is what is there, too.

    But for allowed IPs and routes that the wanted device gives otherwise.
    """
    if not desired.tentative:
        return desired
    given = {ip for config in desired.peers.values() for ip in config.allowed_ips}
    peers = {}
    for key, config in {**{k: p.config for k, p in actual.peers.items()}, **desired.peers}.items():
        there = actual.peers.get(key)
        kept = frozenset() if there is None else there.config.allowed_ips - given
        own = desired.peers[key].allowed_ips if key in desired.peers else frozenset()
        peers[key] = replace(config, allowed_ips=own | kept)
    led = {route.destination for route in desired.routes}
    routes = {route for route in actual.routes if route.destination not in led}
    return replace(
        desired,
        peers=peers,
        addresses=desired.addresses | actual.addresses,
        routes=desired.routes | routes,
    )


def _device(desired: DeviceConfig, actual: DeviceState) -> Iterator[Change]:
    private_key = desired.private_key if desired.private_key != actual.private_key else None
    listen_port = desired.listen_port if desired.listen_port != actual.listen_port else None
    fwmark = desired.fwmark if desired.fwmark != actual.fwmark else None
    if (private_key, listen_port, fwmark) != (None, None, None):
        yield SetDevice(private_key, listen_port, fwmark)
    if desired.mtu != actual.mtu:
        yield SetMtu(desired.mtu)
    if not actual.up:
        yield SetUp()


def _peers(desired: DeviceConfig, actual: DeviceState) -> Iterator[Change]:
    for key in actual.peers:
        if key not in desired.peers:
            yield RemovePeer(key)
    kept = {key: peer for key, peer in actual.peers.items() if key in desired.peers}
    # Who loses an address that another gains loses it first, so that no address has two holders.
    for key, peer in kept.items():
        wanted = desired.peers[key].allowed_ips
        if not peer.config.allowed_ips <= wanted:
            yield SetAllowedIPs(key, peer.config.allowed_ips & wanted)
    for key, config in desired.peers.items():
        if key not in kept:
            yield AddPeer(key, config.allowed_ips)
        else:
            left: AllowedIPs = kept[key].config.allowed_ips & config.allowed_ips
            if left != config.allowed_ips:
                yield SetAllowedIPs(key, config.allowed_ips)


def _addresses(desired: DeviceConfig, actual: DeviceState) -> Iterator[Change]:
    for address in sorted(desired.addresses - actual.addresses, key=str):
        if address.version == 4 or actual.ipv6:
            yield AddAddress(address)
    for address in sorted(actual.addresses - desired.addresses, key=str):
        yield RemoveAddress(address)


def _routes(desired: DeviceConfig, actual: DeviceState) -> Iterator[Change]:
    wanted = {route for route in desired.routes if route.destination.version == 4 or actual.ipv6}
    kept = {route.destination for route in wanted}
    for route in sorted(actual.routes - wanted, key=str):
        if route.destination not in kept:
            yield RemovePeerRoute(route.destination)
    for route in sorted(wanted - actual.routes, key=str):
        yield AddPeerRoute(route)
