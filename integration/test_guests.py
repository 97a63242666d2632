"""A guest that ignores every rule of politeness reaches the server, and nothing else (design A3).

It does what root on its own host can do: sends anything into the tunnel, lets WireGuard take and
send any address, and ends its own agent so that nothing of that is mended.
"""

import subprocess
import time

import pytest

from .capture import Capture
from .conftest import Labs
from .lab import Lab
from .mesh import peer_of, wait_connected, wait_data

pytestmark = pytest.mark.executors("namespaces", "uml")

SERVER = "100.64.7.1"
NAS = "192.168.1.5"
SERVER_IN_LAN = "192.168.1.1"

NAS6, SERVER6_IN_LAN = "fd00:1::5", "fd00:1::1"
"""What the LAN has besides, so that IPv6 leads there as well."""

TUNNEL_MSS = 1380
"""Bytes of TCP in a packet of the tunnel (1420, less the headers of IPv4 and TCP); the LAN's 1460."""

MEND_SECONDS = 40.0
"""The agent looks after the filter every 30 s."""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Lab:
    lab = module_labs.up("guests.yaml")
    wait_connected(lab, ("server", "mallory"))
    wait_connected(lab, ("server", "trudy"))
    wait_data(lab, ("server", "mallory"))
    for node in ("server", "mallory"):
        lab.wait_for(lambda node=node: lab.status(node).self_.ip6, 30, f"{node} has IPv6")  # type: ignore[misc]
    _give_the_lan_ipv6(lab)
    _turn_hostile(lab, "mallory")
    return lab


def _give_the_lan_ipv6(lab: Lab) -> None:
    towards = "$(ip -o route get {} | sed 's/.* dev \\([^ ]*\\).*/\\1/')"
    add = "ip address add {}/64 dev {} nodad"
    lab.exec("server", ["sh", "-ec", add.format(SERVER6_IN_LAN, towards.format(NAS))])
    lab.exec("nas", ["sh", "-ec", add.format(NAS6, towards.format(SERVER_IN_LAN))])
    lab.exec("nas", ["ip", "route", "add", "default", "via", SERVER6_IN_LAN])
    lab.exec("nas", ["ping", "-c", "1", "-W", "2", SERVER6_IN_LAN])


def test_guests_are_no_peers_of_each_other(lab: Lab) -> None:
    assert {peer.username for peer in lab.status("trudy").peers} == {"server"}
    assert {peer.username for peer in lab.status("server").peers} == {"mallory", "trudy"}


def test_a_hostile_guest_reaches_the_server_itself(lab: Lab) -> None:
    assert _reaches(lab, "mallory", SERVER)


@pytest.mark.parametrize("target", [NAS, SERVER_IN_LAN, "198.18.100.10", "100.64.7.255"])
def test_a_hostile_guest_reaches_nothing_behind_the_server_and_no_other_address_of_it(
    lab: Lab, target: str
) -> None:
    assert not _reaches(lab, "mallory", target)
    assert _reaches(lab, "mallory", SERVER), "it can send at all"


@pytest.mark.parametrize("target", [NAS6, SERVER6_IN_LAN])
def test_nor_does_it_by_ipv6(lab: Lab, target: str) -> None:
    assert not _reaches(lab, "mallory", target)
    assert _reaches(lab, "mallory", str(lab.status("server").self_.ip6)), "it can send at all"


def test_a_hostile_guest_reaches_no_other_guest_through_the_server(lab: Lab) -> None:
    trudy = str(lab.status("trudy").self_.ip)
    capture = lab.capture("trudy", "icmp")

    assert not _reaches(lab, "mallory", trudy)

    assert _packets(capture) == []


def test_a_hostile_guest_can_send_nothing_with_the_source_of_another(lab: Lab) -> None:
    trudy = str(lab.status("trudy").self_.ip)
    capture = lab.capture("server", f"icmp and (src host {trudy} or src host {NAS})")

    for source in (trudy, NAS):
        lab.exec("mallory", ["ip", "address", "replace", f"{source}/32", "dev", "lo"])
        assert not _reaches(lab, "mallory", SERVER, source)
        lab.exec("mallory", ["ip", "address", "delete", f"{source}/32", "dev", "lo"])

    assert _packets(capture) == []


def test_the_rules_outlive_the_agent(lab: Lab) -> None:
    lab.kill("server")
    try:
        assert _reaches(lab, "mallory", SERVER), "the tunnel lives on without the agent"
        assert not _reaches(lab, "mallory", NAS)
    finally:
        lab.start("server")
        lab.wait_for(
            lambda: peer_of(lab.status("server"), "trudy").state == "connected", 20, "it is back"
        )


def test_without_the_rules_it_would_reach_the_lan_and_the_agent_puts_them_back(lab: Lab) -> None:
    lab.exec("server", ["nft", "flush", "ruleset"])
    flushed = time.monotonic()

    for target in (NAS, NAS6):
        assert _reaches(lab, "mallory", target), "else the tests above prove nothing"

    lab.wait_for(lambda: not _reaches(lab, "mallory", NAS), MEND_SECONDS, "the filter is back")
    assert not _reaches(lab, "mallory", NAS6)
    assert time.monotonic() - flushed < MEND_SECONDS


def test_tcp_of_others_is_told_how_wide_the_tunnel_is_also_without_the_filter(labs: Labs) -> None:
    lab = labs.up("guests.yaml", {"SERVER_FIREWALL": "off"})
    wait_connected(lab, ("server", "trudy"))
    # The LAN behind the server reaches the team: what an operator without our filter may want.
    masquerade = (
        "chain post { type nat hook postrouting priority srcnat; oifname kbwg0 masquerade; }"
    )
    lab.nft("server", masquerade)
    lab.exec("nas", ["ip", "route", "replace", "100.64.7.0/24", "via", SERVER_IN_LAN])
    trudy = str(lab.status("trudy").self_.ip)
    capture = lab.capture("trudy", "tcp[tcpflags] & tcp-syn != 0 and port 5001")

    connect = f"import socket; socket.socket().connect_ex(('{trudy}', 5001))"
    lab.exec("nas", ["python", "-c", connect])

    said = [line for line in _packets(capture) if "[S]" in line]
    assert said
    assert all(f"mss {TUNNEL_MSS}" in line for line in said)


def _packets(capture: Capture) -> list[str]:
    argv = ["tcpdump", "-n", "-r", str(capture.stop())]
    return subprocess.run(argv, text=True, capture_output=True, check=True).stdout.splitlines()


def _turn_hostile(lab: Lab, node: str) -> None:
    key = peer_of(lab.status(node), "server").public_key
    assert key is not None
    lab.kill(node)
    lab.exec(node, ["nft", "flush", "ruleset"])
    lab.exec(node, ["wg", "set", "kbwg0", "peer", key, "allowed-ips", "0.0.0.0/0,::/0"])
    lab.exec(node, ["ip", "route", "add", "fd00:1::/64", "dev", "kbwg0"])


def _reaches(lab: Lab, node: str, target: str, source: str | None = None) -> bool:
    """Ping through the tunnel, whatever the routes say, unless a source is given."""
    argv = ["ping", "-c", "3", "-i", "0.2", "-W", "1", "-I", source or "kbwg0", target]
    return lab.exec(node, argv, check=False).returncode == 0
