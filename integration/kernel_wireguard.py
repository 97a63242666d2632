"""The kernel's WireGuard without an agent: what it does by itself, for tests of what ours relies on."""

import itertools
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from typing import Final

from .own_network import run

PORT: Final = 51820
TUNNEL: Final = "wg0"
MARK: Final = "0x77"
"""Of the datagrams that WireGuard sends, for rules of their own."""

_numbers: Final = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Host:
    """A network namespace with a WireGuard interface."""

    name: str
    private: str
    public: str
    inside: str
    """Its address in the tunnel."""

    def run(self, *argv: str, stdin: str = "") -> str:
        """Run a program in it; a failure is an error."""
        return run("ip", "netns", "exec", self.name, *argv, stdin=stdin)

    def ip(self, *arguments: str) -> str:
        return run("ip", "-n", self.name, *arguments)

    def peer(self, other: "Host", *settings: str) -> None:
        """Change what it knows of another host, by `wg set` in its words."""
        self.run("wg", "set", TUNNEL, "peer", other.public, *settings)

    def cable(self, name: str, other: "Host", other_name: str, ours: str, theirs: str) -> None:
        """Lay a cable to another host, with an address at each end."""
        peer = ("peer", "name", other_name, "netns", other.name)
        run("ip", "link", "add", name, "netns", self.name, "type", "veth", *peer)
        for host, interface, address in ((self, name, ours), (other, other_name, theirs)):
            nodad = ("nodad",) if ip_interface(address).version == 6 else ()
            host.ip("address", "add", address, "dev", interface, *nodad)
            host.ip("link", "set", interface, "up")

    def tunnel(self, *others: "Host") -> None:
        """Make its interface anew: no session, and no endpoint of anybody."""
        subprocess.run(
            ["ip", "-n", self.name, "link", "delete", TUNNEL], capture_output=True, check=False
        )
        self.ip("link", "add", TUNNEL, "type", "wireguard")
        key = ("private-key", "/dev/stdin")
        settings = ("listen-port", str(PORT), "fwmark", MARK)
        self.run("wg", "set", TUNNEL, *key, *settings, stdin=self.private)
        for other in others:
            self.peer(other, "allowed-ips", f"{other.inside}/32")
        self.ip("address", "add", f"{self.inside}/24", "dev", TUNNEL)
        self.ip("link", "set", TUNNEL, "up")

    def endpoint(self, other: "Host") -> str:
        """Where it sends what is for another host; `(none)`: nowhere."""
        return self._shown("endpoints", other)

    def sent(self, other: "Host") -> int:
        """Bytes that it has sent to another host."""
        return int(self._shown("transfer", other).split()[1])

    def pings(self, other: "Host", count: int = 3) -> int:
        """Count the answers from the other end of the tunnel."""
        argv = [
            "ip",
            "netns",
            "exec",
            self.name,
            "ping",
            f"-c{count}",
            "-i0.2",
            "-W1",
            other.inside,
        ]
        done = subprocess.run(argv, text=True, capture_output=True, check=False)
        return done.stdout.count("bytes from")

    def seconds_to_handshake(self, other: "Host", at_most: float = 20.0) -> float:
        """Wait for a session with another host.

        Raises:
            TimeoutError: there is none after `at_most` seconds.
        """
        began = time.monotonic()
        while self._shown("latest-handshakes", other) == "0":
            if time.monotonic() - began > at_most:
                raise TimeoutError(f"no handshake after {at_most:g} s")
            time.sleep(0.02)
        return time.monotonic() - began

    def _shown(self, what: str, other: "Host") -> str:
        lines = self.run("wg", "show", TUNNEL, what).splitlines()
        return next(
            rest for key, _, rest in (line.partition("\t") for line in lines) if key == other.public
        )


@contextmanager
def hosts(count: int) -> Iterator[tuple[Host, ...]]:
    """Make hosts that no cable connects yet; they are gone afterwards."""
    made = []
    try:
        for number in range(1, count + 1):
            private = run("wg", "genkey").strip()
            public = run("wg", "pubkey", stdin=private).strip()
            name = f"kernel{next(_numbers)}"
            run("ip", "netns", "add", name)
            host = Host(name, private, public, f"100.64.9.{number}")
            made.append(host)
            host.ip("link", "set", "lo", "up")
            host.run(
                "sh", "-c", "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done"
            )
        yield tuple(made)
    finally:
        for host in made:
            run("ip", "netns", "delete", host.name)


def debug(on: bool) -> None:
    """Let WireGuard say in the kernel's log what it does, or not."""
    control = Path("/sys/kernel/debug/dynamic_debug/control")
    control.write_text(f"module wireguard {'+' if on else '-'}p\n", encoding="ascii")
