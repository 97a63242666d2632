"""A path that is narrower than the tunnel is no black hole, also where ICMP gets lost."""

import pytest

from .conftest import Labs
from .lab import Lab
from .mesh import peer_of, ping_all, wait_connected

BOTH = ("alice", "bob")

NARROW = 1280
"""MTU of the link in the middle, the least that IPv6 allows."""

RELAYED, NARROW_RELAYED = 1408, 1216
"""Bytes of the largest packet that a relay carries over Ethernet, where either leg may have IPv6's
headers, and over the narrow link, as found: with WireGuard's 32, the channel's 4, and 28 of UDP and
IPv4 it is exactly as long as fits."""

MEASURED_SECONDS = 30.0
"""Until both sides know a path's width, on a loaded machine; it takes 3 on an idle one."""

TRANSFER_SECONDS = 60.0

IPV6 = ("internet", "router-a", "router-b", "stun", "keybase", *BOTH)

ICMP = """
chain silent {
    type filter hook output priority filter; policy accept
    icmp type destination-unreachable drop
    icmpv6 type packet-too-big drop
}
"""
"""What makes a narrow link a black hole: nobody is told (RFC 2923 §2.1)."""

RECEIVER = """
import socket, sys
server = socket.create_server((sys.argv[1], 5001), family=int(sys.argv[2]))
print("ready", flush=True)
connection, _ = server.accept()
count = 0
while data := connection.recv(1 << 16):
    count += len(data)
connection.sendall(str(count).encode())
"""

SENDER = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 5001), timeout=50)
connection.sendall(bytes(1_000_000))
connection.shutdown(socket.SHUT_WR)
print(connection.recv(64).decode())
"""


def _narrow(lab: Lab, mtu: int = NARROW) -> None:
    """Make the link between the homes narrow, in both directions, and silent about it.

    A veth swallows what is too long for its other end, as an Ethernet switch does.
    """
    lab.nft("internet", ICMP)
    for interface in ("eth0", "eth1"):
        lab.exec("internet", ["ip", "link", "set", interface, "mtu", str(mtu)])


def _widths(lab: Lab) -> dict[str, int | None]:
    return {
        "alice": peer_of(lab.status("alice"), "bob").mtu,
        "bob": peer_of(lab.status("bob"), "alice").mtu,
    }


def _send_megabyte(lab: Lab, source: str, target: str, address: str) -> None:
    """Send 1 MB of TCP from one node to another's address."""
    family = 10 if ":" in address else 2
    with lab.popen(target, ["python", "-c", RECEIVER, address, str(family)]) as receiver:
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "ready\n"
        said = lab.exec(source, ["python", "-c", SENDER, address], timeout=TRANSFER_SECONDS).stdout
    assert int(said) == 1_000_000


def _fits(lab: Lab, node: str, address: str, packet: int) -> bool:
    """Whether a packet of this size reaches an address in one piece."""
    headers = 48 if ":" in address else 28
    argv = ["ping", "-M", "do", "-c", "3", "-i", "0.2", "-W", "2", "-s", str(packet - headers)]
    return lab.exec(node, [*argv, address], check=False).returncode == 0


@pytest.mark.parametrize(
    ("file", "services", "expected"),
    [
        pytest.param("pair.yaml", None, 1216, marks=pytest.mark.executors("namespaces", "uml")),
        ("ipv6.yaml", IPV6, 1200),
    ],
    ids=["IPv4", "IPv6"],
)
def test_a_path_of_1280_carries_what_is_said_to_fit_and_tcp(
    labs: Labs, file: str, services: tuple[str, ...] | None, expected: int
) -> None:
    lab = labs.up(file, services=services and tuple(s for s in services if s not in BOTH))
    _narrow(lab)
    if services:
        lab.drop("internet", "meta nfproto ipv4")
    for node in BOTH:
        if not lab.running(node):
            lab.start(node)
    wait_connected(lab, BOTH)
    if not services:
        # They met before the link was narrow, as when a route changes: news makes them look again.
        for node in BOTH:
            lab.stop(node)
            lab.start(node)
        wait_connected(lab, BOTH)
    lab.wait_for(
        lambda: set(_widths(lab).values()) == {expected},
        MEASURED_SECONDS,
        f"both know that {expected} bytes fit",
    )
    ping_all(lab, BOTH)
    for source, target in (BOTH, BOTH[::-1]):
        own = lab.status(target).self_
        assert own.ip is not None
        assert own.ip6 is not None
        for address in (str(own.ip), str(own.ip6)):
            assert _fits(lab, source, address, expected)
            assert not _fits(lab, source, address, expected + 1), "told at once, not swallowed"
            _send_megabyte(lab, source, target, address)


def test_a_relayed_path_that_is_narrow_is_no_black_hole(labs: Labs) -> None:
    """What a TURN server carries is longer by its header, and narrow on either of two ways."""
    settings = {
        "NAT_A_MAPPING": "address-and-port-dependent",
        "TURN_SERVERS": "turn:198.18.0.20?transport=udp",
        "PORT_PREDICTION": "off",
    }
    lab = labs.up("pair.yaml", settings)
    wait_connected(lab, BOTH)
    path = peer_of(lab.status("alice"), "bob").path
    assert path is not None
    assert path.relayed
    assert set(_widths(lab).values()) == {RELAYED}

    _narrow(lab)
    for node in BOTH:
        lab.stop(node)
        lab.start(node)
    wait_connected(lab, BOTH)

    lab.wait_for(
        lambda: set(_widths(lab).values()) == {NARROW_RELAYED},
        MEASURED_SECONDS,
        f"both know that {NARROW_RELAYED} bytes fit",
    )
    ping_all(lab, BOTH)
    for source, target in (BOTH, BOTH[::-1]):
        address = str(lab.status(target).self_.ip)
        assert _fits(lab, source, address, NARROW_RELAYED)
        assert not _fits(lab, source, address, NARROW_RELAYED + 1), "told at once, not swallowed"
        _send_megabyte(lab, source, target, address)


def test_a_wide_path_is_left_as_it_is(labs: Labs) -> None:
    lab = labs.up("pair.yaml")
    wait_connected(lab, BOTH)
    assert set(_widths(lab).values()) == {1420}
    bob = str(lab.status("bob").self_.ip)
    assert _fits(lab, "alice", bob, 1420)
    assert "mtu" not in lab.exec("alice", ["ip", "route", "show", "dev", "kbwg0"]).stdout
    _send_megabyte(lab, "alice", "bob", bob)


def test_what_the_kernel_believes_of_a_path_holds_no_probe_back(labs: Labs) -> None:
    """Anybody may have sent an ICMP that makes the kernel think the path narrow."""
    lab = labs.up("pair.yaml")
    wait_connected(lab, BOTH)
    towards_bob = ["ip", "link", "set", "eth1", "mtu"]
    lab.exec("internet", [*towards_bob, str(NARROW)])
    remote = peer_of(lab.status("alice"), "bob").endpoint
    assert remote is not None
    address = remote.rpartition(":")[0]
    lab.exec("alice", ["ping", "-M", "do", "-c", "2", "-s", "1400", address], check=False)
    believed = lab.exec("alice", ["ip", "route", "get", address]).stdout
    assert f"mtu {NARROW}" in believed
    lab.exec("internet", [*towards_bob, "1500"])

    lab.stop("alice")
    lab.start("alice")
    wait_connected(lab, BOTH)
    lab.wait_for(lambda: _widths(lab)["alice"] == 1420, MEASURED_SECONDS, "it is wide again")
    assert f"mtu {NARROW}" in lab.exec("alice", ["ip", "route", "get", address]).stdout
    assert "port-send-EMSGSIZE" not in lab.status("alice").counters


def test_the_interface_fits_the_way_out_of_the_host(labs: Labs) -> None:
    lab = labs.up("pair.yaml")
    wait_connected(lab, BOTH)
    lab.exec("alice", ["ip", "link", "set", "eth0", "mtu", "1400"])

    def interface() -> str:
        return lab.exec("alice", ["cat", "/sys/class/net/kbwg0/mtu"]).stdout.strip()

    lab.wait_for(lambda: interface() == "1320", MEASURED_SECONDS, "1400 less IPv6's headers")
    assert _widths(lab)["alice"] == 1320
    bob = str(lab.status("bob").self_.ip)
    assert _fits(lab, "alice", bob, 1320)
    _send_megabyte(lab, "bob", "alice", str(lab.status("alice").self_.ip))
    lab.exec("alice", ["ip", "link", "set", "eth0", "mtu", "1500"])
    lab.wait_for(lambda: interface() == "1420", MEASURED_SECONDS, "it is wide again")
