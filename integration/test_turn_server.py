"""The TURN server of the labs relays over UDP, TCP and TLS, for both address families."""

import re

import pytest

from .conftest import Labs
from .lab import Lab

SERVER = "198.18.0.20"
CA_FILE = "/run/turn-ca/ca.pem"

SERVICES = ("alice", "turn-2")

STATIC = ("-u", "kbwg", "-w", "relay-me")

VERSION = """
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
with context.wrap_socket(
    socket.create_connection((sys.argv[1], 443), timeout=5), server_hostname=sys.argv[3]
) as connection:
    print(connection.version())
"""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Lab:
    return ready(module_labs.up("pair.yaml", services=SERVICES))


def ready(lab: Lab) -> Lab:
    """Wait until alice has her routes, which she sets before she becomes the agent."""
    lab.wait_for(lambda: lab.status("alice"), 20, "alice runs")
    return lab


def relayed_count(lab: Lab, node: str, server: str, *options: str) -> int:
    """Let coturn's own client relay between two allocations; returns how much arrived."""
    argv = ["turnutils_uclient", "-y", "-c", "-n", "3", "-m", "1", *options, server]
    said = lab.exec(node, ["timeout", "25", *argv], check=False).stdout
    counts = re.findall(r"tot_recv_msgs=(\d+)", said)
    return int(counts[-1]) if counts else 0


@pytest.mark.parametrize(
    ("options", "at_least"),
    # The client itself loses data that arrives in one TLS record with an answer.
    [((), 6), (("-t",), 6), (("-t", "-S", "-p", "443"), 1), (("-x",), 6)],
    ids=["UDP", "TCP", "TLS on 443", "IPv6 relayed"],
)
def test_it_relays(lab: Lab, options: tuple[str, ...], at_least: int) -> None:
    assert relayed_count(lab, "alice", SERVER, *STATIC, *options) >= at_least


def test_it_is_reached_over_ipv6_too(lab: Lab) -> None:
    assert relayed_count(lab, "turn", "2001:db8:2::30", *STATIC, "-x") == 6


def test_it_relays_for_nobody_without_credentials(lab: Lab) -> None:
    assert relayed_count(lab, "alice", SERVER, "-u", "kbwg", "-w", "wrong") == 0


def test_it_takes_time_limited_credentials(labs: Labs) -> None:
    lab = ready(labs.up("pair.yaml", {"TURN_SECRET": "shared"}, services=("alice",)))
    assert relayed_count(lab, "alice", SERVER, "-u", "kbwg", "-W", "shared") == 6
    assert relayed_count(lab, "alice", SERVER, *STATIC) == 0


@pytest.mark.parametrize("name", [SERVER, "turn.example"])
def test_its_certificate_is_signed_by_the_authority_that_agents_trust(lab: Lab, name: str) -> None:
    for server in (SERVER, "198.18.0.30"):
        told = name if name != SERVER else server
        said = lab.exec("alice", ["python", "-c", VERSION, server, CA_FILE, told]).stdout
        assert said.startswith("TLSv1.")

    refused = lab.exec(
        "alice", ["python", "-c", VERSION, SERVER, CA_FILE, "elsewhere.example"], check=False
    )
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr


def test_an_agent_cannot_change_the_authority(lab: Lab) -> None:
    refused = lab.exec("alice", ["touch", CA_FILE], check=False)
    assert "Read-only file system" in refused.stderr
