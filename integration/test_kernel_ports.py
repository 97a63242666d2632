"""STUN on the port of the kernel's WireGuard, without an agent in the way: each family, each way."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .conftest import REPOSITORY
from .kernel_wireguard import MARK, PORT, TUNNEL, Host, hosts

pytestmark = pytest.mark.executors("uml")

ADDRESSES = {4: ("10.1.0.1", "10.1.0.2"), 6: ("2001:db8:1::1", "2001:db8:1::2")}
PREFIX = {4: 24, 6: 64}

REQUESTS = 20

ERRORS = """
table inet errors {
    chain out {
        type filter hook output priority filter
        icmp type destination-unreachable counter
        icmpv6 type destination-unreachable counter
    }
}
"""


class Sharer:
    """A process that sends and gets STUN on a host's WireGuard port."""

    def __init__(self, host: Host, way: str, address: str) -> None:
        argv = [sys.executable, "-m", "tests.contracts.shared_port", way, str(PORT), MARK, address]
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", host.name, *argv],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def ask(self, endpoint: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{endpoint}\n")
        self._process.stdin.flush()

    def end(self) -> list[str]:
        """End it; gives what has arrived."""
        return self._process.communicate()[0].splitlines()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def sharer(host: Host, way: str, address: str) -> Iterator[Sharer]:
    made = Sharer(host, way, address)
    try:
        yield made
    finally:
        made.kill()


@pytest.mark.parametrize("way", ["raw", "nftables"])
@pytest.mark.parametrize("version", [4, 6])
def test_stun_and_wireguard_share_a_port_and_neither_notices(version: int, way: str) -> None:
    one, other = ADDRESSES[version]
    at_one, at_other = (f"[{ip}]:{PORT}" if version == 6 else f"{ip}:{PORT}" for ip in (one, other))
    with hosts(2) as (a, b):
        length = PREFIX[version]
        a.cable("eth0", b, "eth0", f"{one}/{length}", f"{other}/{length}")
        a.tunnel(b)
        b.tunnel(a)
        for host in (a, b):
            host.run("nft", "-f", "-", stdin=ERRORS)
        a.peer(b, "endpoint", at_other, "persistent-keepalive", "25")
        a.seconds_to_handshake(b)

        with sharer(a, way, one) as first, sharer(b, way, other) as second:
            for _ in range(REQUESTS):
                first.ask(at_other)
                second.ask(at_one)
                assert a.pings(b, 1) == 1
            time.sleep(1)
            seen = {at_other: first.end(), at_one: second.end()}

        for source, lines in seen.items():
            assert (
                sorted(lines) == [f"answer {source}"] * REQUESTS + [f"request {source}"] * REQUESTS
            ), "each request and each answer comes, from WireGuard's own port"
        for host, at in ((a, at_other), (b, at_one)):
            peer = b if host is a else a
            assert host.endpoint(peer) == at
            assert _refusals(host) == [0, 0], "no ICMP error tells of a port that is not there"
            for error in ("rx_errors", "tx_errors", "rx_dropped"):
                count = host.run("cat", f"/sys/class/net/{TUNNEL}/statistics/{error}")
                assert count == "0\n", error


def _refusals(host: Host) -> list[int]:
    words = host.run("nft", "list", "table", "inet", "errors").split()
    return [int(words[at + 1]) for at, word in enumerate(words) if word == "packets"]
