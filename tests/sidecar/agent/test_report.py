"""Conditions that are read off the mesh, rather than reported by anybody."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from random import Random

import pytest

from nat.gathering import HostAddress
from nat.machine import Endpoint
from nat.traversal import Traversal
from sidecar.agent.report import note_conditions
from sidecar.health import Condition, Health
from sidecar.identity import PublicKey
from sidecar.keybase.models import Membership, TeamRole
from sidecar.wireguard.backend import BackendName
from sidecar.wireguard.device import PeerState

from ..mesh.test_mesh import NOW, WALL, Host

V4 = Endpoint(IPv4Address("203.0.113.5"), 4000)
V6 = Endpoint(IPv6Address("2001:db8::5"), 4000)


@pytest.mark.parametrize(
    ("backend", "endpoints", "raised"),
    [
        ("userspace", (V4, V6), True),
        ("userspace", (V6, V6), False),
        ("kernel", (V4, V6), False),
    ],
)
def test_wireguard_go_between_two_families_is_a_condition(
    backend: BackendName, endpoints: tuple[Endpoint, Endpoint], raised: bool
) -> None:
    a = Host("alice", "192.0.2.1", 1)
    others = [Host("bob", "192.0.2.2", 2), Host("bob", "192.0.2.3", 3)]
    others[1].node = replace(others[1].node, device_id="c" * 32, device="phone")
    a.mesh.handle_messages([other.message(id_) for id_, other in enumerate(others, 2)], 0.0)
    observed: dict[PublicKey, PeerState] = {
        key: PeerState(config, endpoint, 25, 0, 0, None)
        for (key, config), endpoint in zip(a.mesh.peer_configs.items(), endpoints, strict=True)
    }
    a.mesh.observe(observed, WALL, 1.0)

    health, now = Health(), datetime.fromtimestamp(NOW, UTC)
    note_conditions(
        health,
        mesh=a.mesh,
        traversal=Traversal(rng=Random(1), now=0.0),
        nat=(),
        port_mapping=(),
        subnet=IPv4Network("100.64.7.0/24"),
        backend=backend,
        families=frozenset({4, 6}),
        now=now,
    )
    codes = {entry.code for entry in health.entries(now + timedelta(minutes=1))}
    assert (Condition.USERSPACE_TWO_FAMILIES.code in codes) == raised


@pytest.mark.parametrize(
    ("address", "families", "told"),
    [
        ("2001:db8::9", {4}, ["6"]),
        ("2001:db8::9", {4, 6}, []),
        ("192.0.2.9", {4}, []),
    ],
)
def test_a_family_that_this_host_has_and_the_port_has_not_is_a_condition(
    address: str, families: set[int], told: list[str]
) -> None:
    a = Host("alice", "192.0.2.1", 1)
    base = HostAddress(Endpoint(ip_address(address), 20000), "eth0")
    a.traversal.set_host_addresses([base], 0.0)
    health, now = Health(), datetime.fromtimestamp(NOW, UTC)

    note_conditions(
        health,
        mesh=a.mesh,
        traversal=a.traversal,
        nat=(),
        port_mapping=(),
        subnet=IPv4Network("100.64.7.0/24"),
        backend="kernel",
        families=families,
        now=now,
    )

    entries = health.entries(now + timedelta(minutes=1))
    limited = [e.text for e in entries if e.code == Condition.SHARED_PORT_LIMITED.code]
    assert limited == [
        f"no path over IPv{v} can be checked: there is no socket on WireGuard's port" for v in told
    ]


def test_that_every_address_is_taken_is_a_condition_until_one_is_free() -> None:
    narrow = IPv4Network("100.64.7.0/30")
    alice, bob = Host("alice", "192.0.2.1", 1, narrow), Host("bob", "192.0.2.2", 2, narrow)
    other = Host("bob", "192.0.2.3", 3, narrow)
    first = bob.message(1)
    other.mesh.handle_messages([replace(first, sender=alice.node)], 0.0)
    other.node = replace(other.node, device_id="c" * 32, device="phone")
    health, now = Health(), datetime.fromtimestamp(NOW, UTC)

    def told() -> list[str]:
        note_conditions(
            health,
            mesh=alice.mesh,
            traversal=alice.traversal,
            nat=(),
            port_mapping=(),
            subnet=narrow,
            backend="kernel",
            families={4},
            now=now,
        )
        code = Condition.ADDRESSES_EXHAUSTED.code
        return [e.text for e in health.entries(now + timedelta(minutes=1)) if e.code == code]

    assert told() == []
    alice.mesh.handle_messages([first, other.message(2)], 0.0)
    assert told() == ["no address of 100.64.7.0/30 is free: choose a larger subnet"]
    alice.mesh.handle_membership(Membership("acme", {"alice": TeamRole.OWNER}), 1.0)
    assert told() == []
