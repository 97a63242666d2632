"""Throughput through a real coturn against the direct path, WireGuard by hand on both.

One host has an allocation and pumps, the other sends straight to the relayed endpoint: the pair that
agents choose, for it has one relay hop. All on one machine: the CPUs are shared by both wireguard-go,
coturn, the pump, iperf3 and the routers' kernels, so a ratio here is a ratio of CPU spent a byte.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from integration.lab import Lab

from .cpu_shares import Shares, spent, table
from .lab_pairs import (
    DIRECT,
    MEASURED_SECONDS,
    PORT,
    SETTLE_SECONDS,
    TUNNEL,
    by_hand,
    megabits,
    set_endpoints,
)
from .rounds import Comparison, Variant

REPOSITORY: Final = Path(__file__).resolve().parents[1]
CA_FILE: Final = "/run/turn-ca/ca.pem"
SERVERS: Final = {
    "TURN over UDP": "turn:198.18.0.20:3478",
    "TURN over TCP": "turn:198.18.0.20:3478?transport=tcp",
    "TURN over TLS": "turns:198.18.0.20:443",
}

MTU: Final = 1420
"""WireGuard's default, which leaves room for the four bytes of a channel's header."""


@contextmanager
def _relayed(lab: Lab, uri: str) -> Iterator[dict[str, str]]:
    """Have alice hold an allocation; gives the endpoints of both."""
    argv = ["python", "-m", "bench.relay_client", uri, CA_FILE, str(PORT), DIRECT["bob"]]
    environment = {"PYTHONPATH": str(REPOSITORY)}
    with lab.popen("alice", argv, environment=environment) as client:
        try:
            assert client.stdout is not None
            told = json.loads(client.stdout.readline())
            yield {"alice": told["relayed"], "bob": f"127.0.0.1:{told['loopback']}"}
        finally:
            client.kill()


def _measure(lab: Lab, endpoints: dict[str, str], costs: list[Shares]) -> float:
    set_endpoints(lab, endpoints)
    with spent(lab, ("alice", "bob", "turn")) as seconds:
        rate = megabits(lab, TUNNEL["bob"])
    gigabits = rate * (MEASURED_SECONDS + SETTLE_SECONDS) / 1000
    costs.append({program: value / gigabits for program, value in seconds.items()})
    return rate


@contextmanager
def comparisons() -> Iterator[list[Comparison]]:
    """Bring everything up, and compare."""
    with by_hand(MTU) as lab, ExitStack() as stack:
        relays = {name: stack.enter_context(_relayed(lab, uri)) for name, uri in SERVERS.items()}
        costs: dict[str, list[Shares]] = {name: [] for name in ("direct", *relays)}
        yield [
            Comparison(
                title="relay-throughput: TCP through the tunnel",
                unit="Mbit/s",
                baseline="direct",
                variants=[
                    Variant(name, partial(_measure, lab, endpoints, costs[name]))
                    for name, endpoints in {"direct": DIRECT, **relays}.items()
                ],
            )
        ]
        print(table("relay-throughput: CPU seconds a gigabit", costs), end="\n\n")
