"""Reconciliation reaches what is wanted and touches nothing else."""

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface

from hypothesis import given
from hypothesis import strategies as st

from nat.machine import Endpoint
from sidecar.identity import PrivateKey, PublicKey
from sidecar.wireguard.changes import (
    AddAddress,
    AddPeer,
    RemoveAddress,
    RemovePeer,
    RemovePeerRoute,
    SetAllowedIPs,
)
from sidecar.wireguard.device import DeviceConfig, DeviceState, PeerConfig, PeerRoute, PeerState
from sidecar.wireguard.reconcile import diff, settled
from tests.support.fake_backend import FakeBackend

KEYS = [PublicKey(bytes([n]) * 32) for n in range(6)]
NETWORKS = [IPv4Network(f"100.64.7.{n}/32") for n in range(6)]
ENDPOINT = Endpoint(IPv4Address("203.0.113.5"), 7)

ASSIGNMENTS = st.dictionaries(st.sampled_from(NETWORKS), st.sampled_from(KEYS), max_size=6)
"""Network to holder: no network has two."""


def peers(
    assignment: dict[IPv4Network, PublicKey], bare: set[PublicKey]
) -> dict[PublicKey, PeerConfig]:
    keys = set(assignment.values()) | bare
    return {
        key: PeerConfig(key, frozenset(n for n, holder in assignment.items() if holder == key))
        for key in keys
    }


CONFIGS = st.builds(
    lambda assignment, bare, port, mark, mtu, address, narrow: DeviceConfig(
        interface="kbwg0",
        alias="kbwg test",
        private_key=PrivateKey(bytes(32)).clamped(),
        listen_port=port,
        fwmark=mark,
        mtu=mtu,
        addresses=frozenset({IPv4Interface(f"100.64.7.{address}/24")}),
        peers=peers(assignment, bare),
        routes=frozenset(PeerRoute(network, mtu) for network, mtu in narrow.items()),
    ),
    ASSIGNMENTS,
    st.sets(st.sampled_from(KEYS), max_size=2),
    st.sampled_from([1000, 2000]),
    st.sampled_from([0, 7]),
    st.sampled_from([1280, 1420]),
    st.integers(1, 3),
    st.dictionaries(st.sampled_from(NETWORKS), st.sampled_from([1216, 1200]), max_size=3),
)


def states(config: DeviceConfig, up: bool) -> DeviceState:
    return DeviceState(
        interface=config.interface,
        alias=config.alias,
        private_key=config.private_key,
        listen_port=config.listen_port,
        fwmark=config.fwmark,
        mtu=config.mtu,
        up=up,
        addresses=config.addresses,
        routes=config.routes,
        peers={
            key: PeerState(peer, ENDPOINT, 25, 100, 200, None) for key, peer in config.peers.items()
        },
    )


def applied(desired: DeviceConfig, actual: DeviceState) -> DeviceState:
    async def scenario() -> DeviceState:
        backend = FakeBackend()
        backend.state = actual
        await backend.apply(diff(desired, actual))
        result = await backend.read()
        assert result is not None
        return result

    return asyncio.run(scenario())


@given(CONFIGS, CONFIGS, st.booleans())
def test_applying_the_difference_reaches_what_is_wanted(
    desired: DeviceConfig, before: DeviceConfig, up: bool
) -> None:
    after = applied(desired, states(before, up))

    assert {key: peer.config for key, peer in after.peers.items()} == desired.peers
    assert (after.listen_port, after.fwmark, after.mtu, after.up) == (
        desired.listen_port,
        desired.fwmark,
        desired.mtu,
        True,
    )
    assert after.addresses == desired.addresses


@given(CONFIGS, CONFIGS)
def test_a_second_difference_is_empty(desired: DeviceConfig, before: DeviceConfig) -> None:
    assert diff(desired, applied(desired, states(before, up=False))) == ()


@given(CONFIGS, CONFIGS)
def test_a_peer_that_stays_keeps_its_session_and_endpoint(
    desired: DeviceConfig, before: DeviceConfig
) -> None:
    actual = states(before, up=True)
    changes = diff(desired, actual)
    after = applied(desired, actual)

    staying = desired.peers.keys() & actual.peers.keys()
    assert not any(isinstance(c, RemovePeer | AddPeer) and c.public_key in staying for c in changes)
    for key in staying:
        assert replace(after.peers[key], config=actual.peers[key].config) == actual.peers[key]


def test_a_peer_with_the_same_configuration_is_not_touched() -> None:
    config = DeviceConfig(
        "kbwg0",
        "kbwg test",
        PrivateKey(bytes(32)).clamped(),
        1,
        0,
        1420,
        frozenset(),
        peers({NETWORKS[0]: KEYS[0], NETWORKS[1]: KEYS[1]}, set()),
    )
    moved = replace(config, peers=peers({NETWORKS[0]: KEYS[0], NETWORKS[2]: KEYS[1]}, set()))

    changes = diff(moved, states(config, up=True))

    assert {c.public_key for c in changes if isinstance(c, SetAllowedIPs)} == {KEYS[1]}


def test_a_host_with_ipv6_disabled_is_not_asked_for_it() -> None:
    desired = DeviceConfig(
        interface="kbwg0",
        alias="kbwg test",
        private_key=PrivateKey(bytes(32)).clamped(),
        listen_port=1000,
        fwmark=0,
        mtu=1420,
        addresses=frozenset({IPv4Interface("100.64.7.1/24"), IPv6Interface("fd00::1/64")}),
    )
    actual = replace(states(desired, up=True), addresses=frozenset())

    assert diff(desired, replace(actual, ipv6=False)) == (
        AddAddress(IPv4Interface("100.64.7.1/24")),
    )
    assert AddAddress(IPv6Interface("fd00::1/64")) in diff(desired, actual)


@given(CONFIGS, CONFIGS)
def test_of_what_is_tentative_nothing_is_taken_away_but_what_another_gets(
    desired: DeviceConfig, former: DeviceConfig
) -> None:
    actual = states(former, up=True)

    both = settled(replace(desired, tentative=True), actual)

    changes = diff(both, actual)
    assert not any(isinstance(c, RemovePeer | RemoveAddress | RemovePeerRoute) for c in changes)
    assert set(both.peers) == set(desired.peers) | set(former.peers)
    assert both.addresses == desired.addresses | former.addresses
    given_to = {ip: key for key, peer in desired.peers.items() for ip in peer.allowed_ips}
    for key, peer in both.peers.items():
        assert all(given_to.get(ip, key) == key for ip in peer.allowed_ips)
    there = {ip for peer in former.peers.values() for ip in peer.allowed_ips}
    assert there <= {ip for peer in both.peers.values() for ip in peer.allowed_ips}
    assert settled(desired, actual) == desired
