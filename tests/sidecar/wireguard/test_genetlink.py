"""The codec of the kernel's WireGuard interface, against a small model of its kernel side."""

import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.machine import Endpoint
from sidecar.errors import BackendError
from sidecar.identity import PrivateKey, PublicKey
from sidecar.wireguard import genetlink
from sidecar.wireguard.changes import (
    AddPeer,
    RemovePeer,
    SetAllowedIPs,
    SetDevice,
    UpdatePeer,
    WireGuardChange,
)
from sidecar.wireguard.device import AllowedIPs, PeerConfig, PeerState
from sidecar.wireguard.netlink import MAX_ATTRIBUTE, decode_attributes, encode_attribute

KEY, OTHER = PublicKey(bytes(range(32))), PublicKey(bytes([7]) * 32)
NETWORK = IPv4Network("100.64.7.2/32")
V4 = Endpoint(IPv4Address("203.0.113.1"), 4000)
V6 = Endpoint(IPv6Address("2001:db8::1"), 5000)

IFNAME = encode_attribute(2, b"kbwg0\0")
U16 = st.integers(0, 0xFFFF)
ENDPOINTS = st.builds(Endpoint, st.ip_addresses(), U16)
NETWORKS = st.builds(
    lambda ip: (IPv4Network if ip.version == 4 else IPv6Network)(ip), st.ip_addresses()
)
KEYS = st.binary(min_size=32, max_size=32).map(PublicKey)


def request(*changes: WireGuardChange) -> list[dict[int, bytes]]:
    """Encode, and read the outermost attributes of every request."""
    return [dict(decode_attributes(payload)) for payload in genetlink.encode_set("kbwg0", changes)]


def peers(fields: dict[int, bytes]) -> list[dict[int, bytes]]:
    return [dict(decode_attributes(peer)) for _, peer in decode_attributes(fields[8])]


def flags(peer: dict[int, bytes]) -> int:
    return int(struct.unpack("=I", peer[3])[0])


def networks(peer: dict[int, bytes]) -> list[str]:
    found = []
    for _, entry in decode_attributes(peer[9]):
        fields = dict(decode_attributes(entry))
        address = IPv4Address(fields[2]) if len(fields[2]) == 4 else IPv6Address(fields[2])
        assert struct.unpack("=H", fields[1])[0] == (2 if address.version == 4 else 10)
        found.append(f"{address}/{fields[3][0]}")
    return found


def test_a_dump_asks_for_one_interface() -> None:
    assert genetlink.encode_get("kbwg0") == IFNAME


def test_a_device_is_set_field_by_field() -> None:
    key = PrivateKey(bytes(range(32)))

    assert request(SetDevice(key, 41999, 77), SetDevice(fwmark=0)) == [
        {2: b"kbwg0\0", 3: key.raw, 6: struct.pack("=H", 41999), 7: struct.pack("=I", 77)},
        {2: b"kbwg0\0", 7: bytes(4)},
    ]


def test_a_peer_is_added_with_its_networks_and_no_endpoint() -> None:
    both: AllowedIPs = frozenset({NETWORK, IPv6Network("2001:db8::/64")})
    (fields,) = request(AddPeer(KEY, both))
    (peer,) = peers(fields)

    assert set(peer) == {1, 3, 9}
    assert (peer[1], flags(peer)) == (KEY.raw, 2), "its allowed IPs are replaced"
    assert networks(peer) == ["100.64.7.2/32", "2001:db8::/64"]


@pytest.mark.parametrize(
    ("endpoint", "sockaddr"),
    [
        (V4, "0200" + "0fa0" + "cb007101" + "00" * 8),
        (V6, "0a00" + "1388" + "00" * 4 + "20010db8000000000000000000000001" + "00" * 4),
    ],
)
def test_an_update_has_the_endpoint_as_the_kernel_keeps_it(
    endpoint: Endpoint, sockaddr: str
) -> None:
    (fields,) = request(UpdatePeer(KEY, endpoint, 25))
    (peer,) = peers(fields)

    assert set(peer) == {1, 3, 4, 5}
    assert flags(peer) == 4, "an unknown peer is not made"
    assert peer[4].hex() == sockaddr
    assert peer[5] == struct.pack("=H", 25)


def test_an_update_of_one_thing_leaves_the_other_alone() -> None:
    (fields,) = request(UpdatePeer(KEY, endpoint=V4), UpdatePeer(KEY, persistent_keepalive=0))

    assert [set(peer) for peer in peers(fields)] == [{1, 3, 4}, {1, 3, 5}]


def test_networks_are_replaced_and_peers_removed_only_where_there_are_any() -> None:
    (fields,) = request(SetAllowedIPs(KEY, frozenset({NETWORK})), RemovePeer(OTHER))
    changed, removed = peers(fields)

    assert (flags(changed), networks(changed)) == (2 | 4, ["100.64.7.2/32"])
    assert (flags(removed), set(removed)) == (1 | 4, {1, 3})


def test_the_device_and_its_peers_are_changed_in_the_order_given() -> None:
    requests = request(
        AddPeer(KEY, frozenset()), SetDevice(listen_port=7), UpdatePeer(KEY, V4), RemovePeer(KEY)
    )

    assert [set(fields) for fields in requests] == [{2, 8}, {2, 6}, {2, 8}]
    assert [flags(peer) for peer in peers(requests[2])] == [4, 1 | 4]


@pytest.mark.parametrize(("peer_count", "network_count"), [(1000, 2), (3, 4000), (150, 150)])
def test_many_changes_are_as_many_requests_as_they_need(
    peer_count: int, network_count: int
) -> None:
    changes = [
        AddPeer(
            PublicKey(n.to_bytes(32, "big")),
            frozenset(IPv6Network(((n << 64) + i, 128)) for i in range(network_count)),
        )
        for n in range(peer_count)
    ]
    kernel: dict[PublicKey, set[str]] = {}

    requests = request(*changes)
    for fields in requests:
        assert len(fields[8]) <= MAX_ATTRIBUTE
        assert len(peers(fields)) <= genetlink.MAX_CHANGES
        for peer in peers(fields):
            key = PublicKey(peer[1])
            if flags(peer) & 2:
                kernel[key] = set()
            kernel[key] |= set(networks(peer))

    assert len(requests) > 1
    assert kernel == {c.public_key: {str(network) for network in c.allowed_ips} for c in changes}


@dataclass(slots=True)
class Kernel:
    """What the kernel writes into a dump."""

    peers: list[bytes] = field(default_factory=list)

    def message(self) -> bytes:
        device = encode_attribute(3, b"\1" * 32) + encode_attribute(6, struct.pack("=H", 41999))
        device += encode_attribute(7, struct.pack("=I", 77))
        nested = b"".join(encode_attribute(0, peer) for peer in self.peers)
        return IFNAME + device + encode_attribute(8, nested)


def wire_peer(
    key: PublicKey, allowed: list[IPv4Network | IPv6Network], *, rest: bytes = b""
) -> bytes:
    """Write a peer as the kernel does: the address families are its own."""
    entries = b"".join(
        encode_attribute(
            0,
            encode_attribute(1, struct.pack("=H", 2 if network.version == 4 else 10))
            + encode_attribute(2, network.network_address.packed)
            + encode_attribute(3, bytes([network.prefixlen])),
        )
        for network in allowed
    )
    return encode_attribute(1, key.raw) + rest + encode_attribute(9, entries)


def wire_endpoint(endpoint: Endpoint) -> bytes:
    port = struct.pack("!H", endpoint.port)
    if endpoint.ip.version == 4:
        return struct.pack("=H", 2) + port + endpoint.ip.packed + bytes(8)
    return struct.pack("=H", 10) + port + bytes(4) + endpoint.ip.packed + struct.pack("=I", 3)


@given(KEYS, st.lists(NETWORKS, max_size=4), ENDPOINTS, U16, st.integers(0, 2**64 - 1))
def test_a_peer_reads_as_the_kernel_has_it(
    key: PublicKey,
    allowed: list[IPv4Network | IPv6Network],
    endpoint: Endpoint,
    keepalive: int,
    count: int,
) -> None:
    rest = encode_attribute(4, wire_endpoint(endpoint))
    rest += encode_attribute(5, struct.pack("=H", keepalive))
    rest += encode_attribute(6, struct.pack("=qq", 1_700_000_000, 500_000_000))
    rest += encode_attribute(7, struct.pack("=Q", count)) + encode_attribute(8, bytes(8))
    state = genetlink.decode_dump([Kernel([wire_peer(key, allowed, rest=rest)]).message()])

    assert (state.private_key, state.listen_port, state.fwmark) == (
        PrivateKey(b"\1" * 32),
        41999,
        77,
    )
    assert state.peers == {
        key: PeerState(
            config=PeerConfig(key, frozenset(allowed)),
            endpoint=endpoint,
            persistent_keepalive=keepalive,
            rx_bytes=count,
            tx_bytes=0,
            last_handshake=datetime.fromtimestamp(1_700_000_000.5, UTC),
        )
    }


def test_what_the_kernel_leaves_out_or_zero_is_absent() -> None:
    never = encode_attribute(6, bytes(16))
    message = encode_attribute(3, bytes(32)) + encode_attribute(
        8, encode_attribute(0, encode_attribute(1, KEY.raw) + never)
    )
    state = genetlink.decode_dump([message])

    assert (state.private_key, state.listen_port) == (None, 0)
    assert state.peers[KEY] == PeerState(PeerConfig(KEY, frozenset()), None, 0, 0, 0, None)


@given(st.data(), st.lists(NETWORKS, min_size=1, max_size=12, unique=True))
def test_a_peer_that_is_split_over_messages_is_one(
    data: st.DataObject, allowed: list[IPv4Network | IPv6Network]
) -> None:
    cut = data.draw(st.integers(0, len(allowed)))
    rest = encode_attribute(4, wire_endpoint(V4)) + encode_attribute(7, struct.pack("=Q", 9))
    first = Kernel([wire_peer(OTHER, []), wire_peer(KEY, allowed[:cut], rest=rest)]).message()
    second = IFNAME + encode_attribute(8, encode_attribute(0, wire_peer(KEY, allowed[cut:])))

    peers = genetlink.decode_dump([first, second]).peers

    assert list(peers) == [OTHER, KEY]
    assert peers[KEY].config.allowed_ips == frozenset(allowed)
    assert (peers[KEY].endpoint, peers[KEY].rx_bytes) == (V4, 9)


COMPLETE = Kernel(
    [
        wire_peer(
            KEY,
            [NETWORK],
            rest=encode_attribute(4, wire_endpoint(V6)) + encode_attribute(6, bytes(16)),
        )
    ]
).message()


@given(st.binary(max_size=60), st.integers(0, len(COMPLETE)))
def test_any_dump_is_a_device_or_an_error(junk: bytes, position: int) -> None:
    for message in (
        junk,
        COMPLETE[:position] + junk,
        COMPLETE[:position] + junk + COMPLETE[position:],
    ):
        try:
            genetlink.decode_dump([COMPLETE, message])
        except BackendError:
            pass


@given(st.sampled_from(range(1, 10)), st.binary(max_size=40))
def test_any_value_of_an_attribute_is_a_device_or_an_error(number: int, value: bytes) -> None:
    peer = encode_attribute(1, KEY.raw) + encode_attribute(number, value)
    for message in (
        encode_attribute(number, value),
        encode_attribute(8, encode_attribute(0, peer)),
    ):
        try:
            genetlink.decode_dump([message])
        except BackendError:
            pass


@pytest.mark.parametrize(
    "fields",
    [
        {2: NETWORK.network_address.packed, 3: b""},
        {2: b"\1\2\3", 3: b"\x20"},
        {2: NETWORK.network_address.packed, 3: b"\x21"},
        {3: b"\x20"},
    ],
    ids=["no prefix length", "an address of three bytes", "a prefix of 33 bits", "no address"],
)
def test_a_malformed_allowed_ip_is_refused(fields: dict[int, bytes]) -> None:
    entry = b"".join(encode_attribute(number, value) for number, value in fields.items())
    peer = encode_attribute(1, KEY.raw) + encode_attribute(9, encode_attribute(0, entry))

    with pytest.raises(BackendError, match="malformed"):
        genetlink.decode_dump([encode_attribute(8, encode_attribute(0, peer))])
