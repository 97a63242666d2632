"""The hard side of one campaign: many ports are opened towards the easy side, and one may win.

Each port sends openers to the one endpoint that the easy side's probes come from, so that our NAT
maps each to a random public port and lets the easy side's probe to that port in. An opener is an
authentic check: if the easy side has probed its port before it was open, the opener gets through
instead, and the easy side's answering check wins.
"""

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final

from ..errors import StunError
from ..machine import Datagram, Endpoint
from ..path.checks import Check, Checks
from ..path.credentials import IceCredentials, Role
from ..path.openers import TTLS
from ..stun.message import parse
from .easy import DURATION
from .probe import make_probe
from .splice import Splice

SOCKETS: Final = 256
"""Ports that are opened: the number that makes 2,048 probes suffice (see `easy.PROBES`), and what
any home router has room for."""

OPENER_RATE: Final = 200.0
"""Openers per second (RFC 8445 §14.2): all ports are open after 1.3 s."""

ROUND: Final = 13.0
"""Seconds between the openers of one port: twice within the 30 s for which Linux keeps a mapping
that was never answered (RFC 4787 §4.3, REQ-5, asks for two minutes)."""

FIRST_TTL: Final = max(TTLS)
"""Hops that the first opener of each port lives: through our own NAT and a carrier's, not to the
other side's. A gateway there that accepts what is sent to itself would remember it, and have the
probe to that very port leave from another endpoint than the target (see `path.openers`). The later
ones live as long as they need, for whoever has more NATs in front."""

LEAD: Final = 2.0
"""Seconds that the hard side begins before the easy side: all ports are open by then."""

PATIENCE: Final = 15.0
"""Seconds that it waits beyond the easy side's last probe: both sides' clocks differ."""

HARD_DURATION: Final = LEAD + DURATION + PATIENCE
"""Seconds of a campaign without success; three rounds of openers."""

CATCH_UP: Final = 10
"""Openers that may leave at once after a late timer."""


class HardCampaign:
    """One try from the hard side.

    Args:
        base: the local end of the shared port; the ports are opened at its address.
        target: the endpoint that the easy side's probes come from.
        rng: picks transaction ids; cryptographic in production.
    """

    def __init__(
        self,
        *,
        credentials: IceCredentials,
        role: Role,
        base: Endpoint,
        target: Endpoint,
        rng: Random,
        now: float,
    ) -> None:
        self.ignored: Counter[str] = Counter()
        """Datagrams that won nothing, by reason."""
        self.sent = 0
        """Openers that have left."""
        self.base = base
        self.target = target
        self.ends_at = now + HARD_DURATION
        self._credentials = credentials
        self._role = role
        self._rng = rng
        self._checks = Checks(credentials=credentials, role=role, rng=rng)
        self._ports: tuple[int, ...] = ()
        self._round_at = now
        self._first = True
        self._next = 0
        self._outbox: list[Datagram] = []

    def opened(self, ports: Sequence[int], now: float) -> None:
        """Take the local ports that were opened at the base's address."""
        self._ports = tuple(ports)[:SOCKETS]
        self._round_at, self._first, self._next = now, True, 0
        self.handle_timeout(now)

    def receive_datagram(self, datagram: Datagram, now: float) -> Splice | None:
        """Handle what came in at one of the ports; the splice, if it has won.

        Only an authentic check from the target wins: whoever replays one from elsewhere would
        otherwise choose where our data goes.
        """
        if datagram.source != self.target:
            self.ignored["from another than the target"] += 1
            return None
        if datagram.destination.port not in self._ports:
            self.ignored["at no port of this campaign"] += 1
            return None
        try:
            judgement = self._checks.judge(parse(datagram.payload), datagram, now)
        except StunError:
            self.ignored["malformed"] += 1
            return None
        if not isinstance(judgement, Check) or judgement.repeated:
            self.ignored["not an authentic check"] += 1
            return None
        return Splice(self.base, datagram.destination.port, self.target)

    def handle_timeout(self, now: float) -> None:
        """Send what is due."""
        for _ in range(CATCH_UP):
            if not self._ports or now < self._due_at():
                return
            source = Endpoint(self.base.ip, self._ports[self._next])
            payload = make_probe(self._credentials, self._role, self._rng)
            ttl = FIRST_TTL if self._first else None
            self._outbox.append(Datagram(source, self.target, payload, ttl))
            self.sent += 1
            self._next += 1
            if self._next == len(self._ports):
                self._round_at, self._first, self._next = self._round_at + ROUND, False, 0
        if self._ports:
            # What was late is not made up for by a flood.
            self._round_at = max(self._round_at, now - self._next / OPENER_RATE)

    def next_timeout(self) -> float:
        """When something is due."""
        return min(self._due_at(), self.ends_at) if self._ports else self.ends_at

    def datagrams_to_send(self) -> list[Datagram]:
        """Take the openers queued since the last call."""
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def _due_at(self) -> float:
        return self._round_at + self._next / OPENER_RATE
