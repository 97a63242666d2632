"""The text protocol of user-space WireGuard."""

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.machine import Endpoint
from sidecar.errors import BackendError
from sidecar.identity import PrivateKey, PublicKey
from sidecar.wireguard import uapi
from sidecar.wireguard.changes import (
    AddPeer,
    RemovePeer,
    SetAllowedIPs,
    SetDevice,
    UpdatePeer,
    WireGuardChange,
)

KEY = PublicKey(bytes(range(32)))
HEX = KEY.raw.hex()
NETWORK = ip_network("100.64.7.2/32")


def lines(*changes: WireGuardChange) -> list[str]:
    text = uapi.encode(changes).decode()
    assert text.startswith("set=1\n")
    assert text.endswith("\n\n")
    return text.strip().splitlines()[1:]


def test_a_device_is_set_field_by_field() -> None:
    key = PrivateKey(bytes(32))

    assert lines(SetDevice(key, 1234, None)) == [
        f"private_key={key.raw.hex()}",
        "listen_port=1234",
    ]


def test_a_peer_is_added_without_an_endpoint() -> None:
    assert lines(AddPeer(KEY, frozenset({NETWORK}))) == [
        f"public_key={HEX}",
        "replace_allowed_ips=true",
        "allowed_ip=100.64.7.2/32",
    ]


@pytest.mark.parametrize(
    ("ip", "text"),
    [
        (IPv4Address("203.0.113.1"), "203.0.113.1:7"),
        (IPv6Address("2001:db8::1"), "[2001:db8::1]:7"),
    ],
)
def test_an_update_touches_an_existing_peer_only(ip: IPv4Address | IPv6Address, text: str) -> None:
    assert lines(UpdatePeer(KEY, Endpoint(ip, 7), 25)) == [
        f"public_key={HEX}",
        "update_only=true",
        f"endpoint={text}",
        "persistent_keepalive_interval=25",
    ]


def test_allowed_ips_are_replaced_and_peers_removed() -> None:
    assert lines(SetAllowedIPs(KEY, frozenset()), RemovePeer(KEY)) == [
        f"public_key={HEX}",
        "update_only=true",
        "replace_allowed_ips=true",
        f"public_key={HEX}",
        "remove=true",
    ]


ANSWER = f"""private_key={"01" * 32}
listen_port=1234
fwmark=77
public_key={HEX}
endpoint=[2001:db8::1]:7
last_handshake_time_sec=1700000000
last_handshake_time_nsec=500000000
tx_bytes=10
rx_bytes=20
persistent_keepalive_interval=25
allowed_ip=100.64.7.2/32
protocol_version=1
errno=0

"""


def test_reads_a_device() -> None:
    device = uapi.decode_device(ANSWER.encode())
    peer = device.peers[KEY]

    assert (device.listen_port, device.fwmark) == (1234, 77)
    assert device.private_key == PrivateKey(b"\1" * 32)
    assert peer.endpoint == Endpoint(IPv6Address("2001:db8::1"), 7)
    assert peer.last_handshake == datetime.fromtimestamp(1700000000.5, UTC)
    assert (peer.tx_bytes, peer.rx_bytes, peer.persistent_keepalive) == (10, 20, 25)
    assert peer.config.allowed_ips == frozenset({NETWORK})


def test_no_handshake_is_none() -> None:
    answer = f"public_key={HEX}\nlast_handshake_time_sec=0\nerrno=0\n\n"

    assert uapi.decode_device(answer.encode()).peers[KEY].last_handshake is None


@given(st.binary(max_size=100), st.integers(0, len(ANSWER)))
def test_any_answer_is_a_device_or_an_error(junk: bytes, position: int) -> None:
    for answer in (junk, ANSWER.encode()[:position] + junk + ANSWER.encode()[position:]):
        try:
            uapi.decode_device(answer)
        except BackendError:
            pass


def test_an_errno_is_read() -> None:
    assert uapi.decode_errno(b"errno=-98\n\n") == -98
    with pytest.raises(BackendError):
        uapi.decode_errno(b"errno=x\n\n")
    with pytest.raises(BackendError):
        uapi.decode_errno(b"")
