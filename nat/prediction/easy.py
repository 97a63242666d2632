"""The easy side of one campaign: distinct random ports of the hard side are checked, politely.

The checks leave from the shared port, so that whichever gets through has opened the way for
WireGuard itself. What comes back is an ordinary check of the hard side, for the path machine.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

from ..machine import Datagram, Endpoint, IPAddress
from ..path.credentials import IceCredentials, Role
from .probe import make_probe

PROBES: Final = 2048
"""Most probes of one campaign. With 256 ports open among 64,512 they fail once in 3,900 tries;
half of them would fail once in 60."""

PROBE_RATE: Final = 100.0
"""Probes per second: half of what RFC 8445 §14.2 allows a host, and 13 kB/s; 2,048 take 20 s."""

PORTS: Final = range(1024, 65536)
"""Where NATs map unprivileged ports to (RFC 4787 §4.2.2, REQ-3)."""

CATCH_UP: Final = 10
"""Probes that may leave at once after a late timer."""

DURATION: Final = PROBES / PROBE_RATE
"""Seconds that all the probes take."""

LISTEN: Final = 3.0
"""Seconds after the last probe in which the hard side's check may still come."""


class EasyCampaign:
    """One try from the easy side.

    Args:
        base: the local end of the shared port that probes leave from.
        addresses: the hard side's public addresses.
        probes: how many may be sent, at most `PROBES`.
        rng: picks ports and transaction ids; cryptographic in production.
    """

    def __init__(
        self,
        *,
        credentials: IceCredentials,
        role: Role,
        base: Endpoint,
        addresses: Sequence[IPAddress],
        probes: int,
        rng: Random,
        now: float,
    ) -> None:
        self.sent = 0
        """Probes that have left."""
        self.addresses = tuple(addresses)
        self._credentials = credentials
        self._role = role
        self._base = base
        self._rng = rng
        self._begun = now
        self._destinations = [
            Endpoint(addresses[i % len(addresses)], port)
            for i, port in enumerate(rng.sample(PORTS, min(probes, PROBES)))
        ]
        self._outbox: list[Datagram] = []
        self.handle_timeout(now)

    def handle_timeout(self, now: float) -> None:
        """Send what is due."""
        for _ in range(CATCH_UP):
            if self.sent >= len(self._destinations) or now < self._due_at():
                return
            payload = make_probe(self._credentials, self._role, self._rng)
            self._outbox.append(Datagram(self._base, self._destinations[self.sent], payload))
            self.sent += 1
        # What was late is not made up for by a flood.
        self._begun = now - (self.sent - 1) / PROBE_RATE

    def next_timeout(self) -> float:
        """When something is due; the end, once everything has left."""
        return self._due_at() if self.sent < len(self._destinations) else self.ends_at

    @property
    def ends_at(self) -> float:
        """When a campaign without success is over."""
        return self._begun + len(self._destinations) / PROBE_RATE + LISTEN

    def datagrams_to_send(self) -> list[Datagram]:
        """Take the probes queued since the last call."""
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def _due_at(self) -> float:
        return self._begun + self.sent / PROBE_RATE
