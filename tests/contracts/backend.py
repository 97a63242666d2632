"""The contract of `sidecar.wireguard.backend.Backend`.

`CONTRACT` runs on the fake in `tests/`, on wireguard-go in `integration/`, and on the kernel
wherever there is one: `python -m tests.contracts kernel`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from nat.machine import Endpoint
from sidecar.errors import BackendError, InterfaceError
from sidecar.identity import PrivateKey, PublicKey
from sidecar.wireguard.backend import Backend
from sidecar.wireguard.changes import (
    AddAddress,
    AddPeer,
    AddPeerRoute,
    OpenPeer,
    RemoveAddress,
    RemovePeer,
    RemovePeerRoute,
    SetAllowedIPs,
    SetDevice,
    SetMtu,
    SetUp,
    UpdatePeer,
)
from sidecar.wireguard.device import DeviceConfig, DeviceState, PeerConfig, PeerRoute
from sidecar.wireguard.reconcile import diff

ALIAS: Final = "kbwg acme alice/0"
KEY: Final = PrivateKey(bytes(range(32))).clamped()
ONE, OTHER, UNKNOWN = (PrivateKey(bytes([n]) * 32).clamped().public_key for n in (1, 2, 3))
NET_ONE, NET_OTHER = IPv4Network("100.64.7.1/32"), IPv4Network("100.64.7.2/32")
V4 = Endpoint(IPv4Address("203.0.113.5"), 4000)
V6 = Endpoint(IPv6Address("2001:db8::5"), 5000)
ADDRESS = IPv4Interface("100.64.7.9/24")
PORT = 41999

Case = Callable[[Backend], Awaitable[None]]


async def state_of(backend: Backend) -> DeviceState:
    state = await backend.read()
    assert state is not None
    return state


async def an_interface_is_absent_then_there_with_its_tag(backend: Backend) -> None:
    assert await backend.read() is None
    await backend.create(ALIAS)
    state = await state_of(backend)
    assert (state.alias, state.interface, state.peers) == (ALIAS, backend.interface, {})
    try:
        await backend.create(ALIAS)
    except InterfaceError:
        return
    raise AssertionError("a second interface of the same name was made")


async def the_device_reads_back_as_it_was_set(backend: Backend) -> None:
    await backend.create(ALIAS)
    await backend.apply([SetDevice(KEY, PORT, 77), SetMtu(1300), AddAddress(ADDRESS), SetUp()])
    state = await state_of(backend)
    assert (state.private_key, state.listen_port, state.fwmark) == (KEY, PORT, 77)
    assert (state.mtu, state.up, state.addresses) == (1300, True, frozenset({ADDRESS}))
    await backend.apply([AddAddress(ADDRESS), RemoveAddress(ADDRESS), RemoveAddress(ADDRESS)])
    assert (await state_of(backend)).addresses == frozenset()


async def a_narrow_peer_has_a_route_with_an_mtu_of_its_own(backend: Backend) -> None:
    await backend.create(ALIAS)
    await backend.apply([SetDevice(KEY, PORT), AddAddress(ADDRESS), SetUp()])
    four = PeerRoute(IPv4Network("100.64.7.1/32"), 1216)
    six = PeerRoute(IPv6Network("fd00::7/128"), 1200)
    await backend.apply([AddPeerRoute(four), AddPeerRoute(six)])
    state = await state_of(backend)
    assert state.ipv6
    assert state.routes == {four, six}
    wider = PeerRoute(four.destination, 1376)
    await backend.apply([AddPeerRoute(wider), RemovePeerRoute(six.destination)])
    assert (await state_of(backend)).routes == {wider}
    await backend.apply([RemovePeerRoute(four.destination), RemovePeerRoute(six.destination)])
    assert (await state_of(backend)).routes == frozenset()


async def a_peer_is_added_without_an_endpoint(backend: Backend) -> None:
    await backend.create(ALIAS)
    await backend.apply([SetDevice(private_key=KEY), AddPeer(ONE, frozenset({NET_ONE}))])
    peer = (await state_of(backend)).peers[ONE]
    assert peer.config == PeerConfig(ONE, frozenset({NET_ONE}))
    assert (peer.endpoint, peer.persistent_keepalive, peer.last_handshake) == (None, 0, None)
    assert await backend.read_peers() == (await state_of(backend)).peers


async def an_endpoint_changes_and_nothing_else(backend: Backend) -> None:
    await backend.create(ALIAS)
    await backend.apply([SetDevice(private_key=KEY), AddPeer(ONE, frozenset({NET_ONE}))])
    await backend.apply([UpdatePeer(ONE, V4, 25)])
    for endpoint in (V6, V4):
        await backend.apply([UpdatePeer(ONE, endpoint)])
        peer = (await backend.read_peers())[ONE]
        assert (peer.endpoint, peer.persistent_keepalive) == (endpoint, 25)
        assert peer.config.allowed_ips == {NET_ONE}
    await backend.apply([UpdatePeer(ONE, None, 0)])
    peer = (await backend.read_peers())[ONE]
    assert (peer.endpoint, peer.persistent_keepalive) == (V4, 0)


async def a_peer_is_opened_with_what_it_has(backend: Backend) -> None:
    await backend.create(ALIAS)
    await backend.apply(
        [
            SetDevice(KEY, PORT),
            AddPeer(ONE, frozenset({NET_ONE})),
            AddPeer(OTHER, frozenset({NET_OTHER})),
            SetUp(),
        ]
    )
    for again in (False, True):
        await backend.apply([OpenPeer(ONE, V4, 25, again=again)])
        peers = await backend.read_peers()
        assert (peers[ONE].endpoint, peers[ONE].persistent_keepalive) == (V4, 25)
        assert peers[ONE].config.allowed_ips == {NET_ONE}
    assert (peers[OTHER].endpoint, peers[OTHER].config.allowed_ips) == (
        None,
        frozenset({NET_OTHER}),
    )


async def what_is_unknown_is_neither_made_nor_an_error(backend: Backend) -> None:
    await backend.create(ALIAS)
    await backend.apply(
        [
            UpdatePeer(UNKNOWN, V4, 25),
            OpenPeer(UNKNOWN, V4, 25),
            OpenPeer(UNKNOWN, V4, 25, again=True),
            SetAllowedIPs(UNKNOWN, frozenset({NET_ONE})),
            RemovePeer(UNKNOWN),
        ]
    )
    assert await backend.read_peers() == {}


async def an_allowed_ip_moves_to_who_is_given_it(backend: Backend) -> None:
    await backend.create(ALIAS)
    await backend.apply(
        [
            AddPeer(ONE, frozenset({NET_ONE})),
            AddPeer(OTHER, frozenset({NET_OTHER})),
            SetAllowedIPs(OTHER, frozenset({NET_ONE, NET_OTHER})),
        ]
    )
    peers = await backend.read_peers()
    assert peers[ONE].config.allowed_ips == frozenset()
    assert peers[OTHER].config.allowed_ips == {NET_ONE, NET_OTHER}
    await backend.apply([RemovePeer(OTHER)])
    assert set(await backend.read_peers()) == {ONE}


async def a_thousand_peers_read_back_complete(backend: Backend) -> None:
    await backend.create(ALIAS)
    peers: dict[PublicKey, PeerConfig] = {}
    for n in range(1000):
        key = PrivateKey(n.to_bytes(32, "big")).clamped().public_key
        nets = frozenset(IPv4Network((0x0A000000 + 2 * n + i, 32)) for i in (0, 1))
        peers[key] = PeerConfig(key, nets)
    wanted = DeviceConfig(backend.interface, ALIAS, KEY, PORT, 5, 1420, frozenset({ADDRESS}), peers)
    await backend.apply(diff(wanted, await state_of(backend)))
    assert diff(wanted, await state_of(backend)) == ()
    configs = {key: peer.config for key, peer in (await backend.read_peers()).items()}
    assert configs == peers


async def a_peer_of_many_networks_reads_back_whole(backend: Backend) -> None:
    """More than one message of the kernel's can hold, for one peer and for many."""
    await backend.create(ALIAS)
    peers: dict[PublicKey, PeerConfig] = {}
    for n, count in enumerate([2500, *[120] * 40, 2500]):
        key = PrivateKey((5000 + n).to_bytes(32, "big")).clamped().public_key
        v4 = {IPv4Network(((10 << 24) + (n << 12) + i, 32)) for i in range(count)}
        v6 = {IPv6Network(((0x20010DB8 << 96) + (n << 12) + i, 128)) for i in range(count // 10)}
        peers[key] = PeerConfig(key, frozenset(v4 | v6))
    await backend.apply([AddPeer(p.public_key, p.allowed_ips) for p in peers.values()])
    read = await backend.read_peers()
    assert {key: peer.config for key, peer in read.items()} == peers
    fewer = frozenset({NET_ONE})
    await backend.apply([SetAllowedIPs(key, fewer) for key in list(peers)[:1]])
    read = await backend.read_peers()
    assert read[next(iter(peers))].config.allowed_ips == fewer


async def without_an_interface_changes_are_refused(backend: Backend) -> None:
    for call in (
        lambda: backend.apply([AddPeer(ONE, frozenset({NET_ONE}))]),
        backend.read_peers,
    ):
        try:
            await call()
        except BackendError:
            continue
        raise AssertionError("what is not there was changed or read")


async def a_cancelled_creation_leaves_what_destroying_removes(backend: Backend) -> None:
    for pauses in range(4):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(backend.create(ALIAS))
            for _ in range(pauses):
                await asyncio.sleep(0)
            task.cancel()
        await backend.destroy()
        assert await backend.read() is None
        await asyncio.sleep(0.05)
        assert await backend.read() is None, "nothing makes it again behind our back"


async def a_cancelled_call_leaves_nothing_for_the_next(backend: Backend) -> None:
    await backend.create(ALIAS)
    for _ in range(5):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(backend.apply([AddPeer(ONE, frozenset({NET_ONE}))]))
            await asyncio.sleep(0)
            task.cancel()
        await backend.apply([SetDevice(KEY, PORT, 9)])
        assert (await state_of(backend)).fwmark == 9


async def destroying_leaves_nothing_and_may_be_repeated(backend: Backend) -> None:
    await backend.create(ALIAS)
    await backend.close()
    assert await backend.read() is not None, "closing lets the interface live on"
    await backend.destroy()
    assert await backend.read() is None
    await backend.destroy()


CONTRACT: Final[tuple[Case, ...]] = (
    an_interface_is_absent_then_there_with_its_tag,
    the_device_reads_back_as_it_was_set,
    a_narrow_peer_has_a_route_with_an_mtu_of_its_own,
    a_peer_is_added_without_an_endpoint,
    an_endpoint_changes_and_nothing_else,
    a_peer_is_opened_with_what_it_has,
    what_is_unknown_is_neither_made_nor_an_error,
    an_allowed_ip_moves_to_who_is_given_it,
    a_thousand_peers_read_back_complete,
    a_peer_of_many_networks_reads_back_whole,
    without_an_interface_changes_are_refused,
    a_cancelled_creation_leaves_what_destroying_removes,
    a_cancelled_call_leaves_nothing_for_the_next,
    destroying_leaves_nothing_and_may_be_repeated,
)
