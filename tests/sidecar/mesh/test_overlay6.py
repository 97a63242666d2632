"""Overlay IPv6 in the mesh: on the interface, at the peers, and nowhere before it is known."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Interface, IPv6Network, ip_network

from nat.candidate import CandidateType, local_candidate
from nat.machine import Endpoint
from sidecar.announcement import Announcement, encode
from sidecar.identity import PrivateKey
from sidecar.keybase.models import ChatMessage
from sidecar.mesh.events import DeviceChanged
from sidecar.overlay6 import Overlay6

from .test_mesh import NOW, TEAM, Host

TEAM_ID = "cf3a40b51e3f6eb2a1d4b0e3f7c99e24"
OVERLAY = Overlay6(TEAM_ID)


def a_pair() -> tuple[Host, Host]:
    a, b = Host("alice", "192.0.2.1", 1), Host("bob", "192.0.2.2", 2)
    messages = [a.message(1), b.message(2)]
    for host in (a, b):
        host.mesh.handle_messages(messages, 0.0)
    return a, b


def test_without_the_teams_id_there_is_no_ipv6() -> None:
    a, b = a_pair()
    assert a.mesh.own_ip6 is None
    assert [address.version for address in a.mesh.addresses] == [4]
    allowed = a.mesh.peer_configs[b.key.public_key].allowed_ips
    assert [network.version for network in allowed] == [4]


def test_the_teams_id_gives_everybody_an_address_that_both_sides_agree_on() -> None:
    a, b = a_pair()
    a.events()
    for host in (a, b):
        host.mesh.handle_membership(replace(TEAM, team_id=TEAM_ID), 1.0)

    assert any(isinstance(event, DeviceChanged) for event in a.events())
    assert b.mesh.own_ip is not None
    assert b.mesh.own_ip6 == OVERLAY.address(b.mesh.own_ip)
    assert a.mesh.peer_configs[b.key.public_key].allowed_ips == {
        ip_network(b.mesh.own_ip),
        IPv6Network(b.mesh.own_ip6),
    }
    assert IPv6Interface(f"{b.mesh.own_ip6}/64") in b.mesh.addresses
    (peer,) = a.mesh.peer_statuses(1.0)
    assert peer.ip6 == b.mesh.own_ip6


def test_a_membership_without_the_id_takes_nothing_away() -> None:
    a, _ = a_pair()
    a.mesh.handle_membership(replace(TEAM, team_id=TEAM_ID), 1.0)
    a.mesh.handle_membership(TEAM, 2.0)
    assert a.mesh.own_ip6 is not None


def test_a_legacy_peer_has_no_ipv6() -> None:
    a, b = a_pair()
    a.mesh.handle_membership(replace(TEAM, team_id=TEAM_ID), 1.0)
    old = replace(b.node, device="old", device_id="d" * 32)
    key = PrivateKey(bytes([9]) * 32).clamped().public_key
    a.mesh.handle_messages([ChatMessage(5, old, NOW, f"ANNOUNCE 203.0.113.9:51820 {key}")], 1.0)
    assert all(network.version == 4 for network in a.mesh.peer_configs[key].allowed_ips)


def test_overlay_addresses_are_never_an_underlay() -> None:
    a, b = a_pair()
    a.mesh.handle_membership(replace(TEAM, team_id=TEAM_ID), 1.0)
    inside = Endpoint(OVERLAY.address(IPv4Address("100.64.7.77")), 4000)
    candidates = (local_candidate(CandidateType.HOST, inside, inside),)
    line = Announcement(b.key.public_key, b.base, int(NOW * 1000) + 9, None, None, candidates)
    a.mesh.handle_messages([ChatMessage(6, b.node, NOW, encode(line))], 1.0)
    a.observe(handshake=None, endpoint=None, now=1.0)
    a.mesh.handle_timeout(2.0)
    assert inside not in [datagram.destination for datagram in a.mesh.datagrams_to_send()]
