"""Gathering of our own candidates (RFC 8445 §5.1.1), for as long as the port lives.

Host candidates are the addresses that the owner names; server-reflexive ones come from Binding
requests from each of them to each STUN server of its family. The requests never end: they keep
the NAT's mapping alive (RFC 4787 §4.3 promises two minutes, many NATs keep 30 s) and notice when
it changes. A mapping is believed for as long as any server confirms it, and for `MISSES`
keepalives longer.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from .candidate import (
    DEFAULT_LOCAL_PREFERENCE,
    Candidate,
    CandidateType,
    is_reachable_address,
    local_candidate,
)
from .machine import Datagram, Endpoint
from .path.events import CandidatesChanged, StunServerChanged
from .stun.binding import Binding

MAX_BASES: Final = 8
"""Host addresses that are used: more only multiply pairs."""

MAX_REFLEXIVE: Final = 3
"""Mapped addresses of one base that are announced: a NAT whose mapping depends on the
destination shows another one to each server, and none of them helps much."""

MAX_CANDIDATES: Final = 16
"""Candidates that are announced in all."""

SETTLE: Final = 0.3
"""Seconds that a first answer waits for those of the other servers, to be announced at once."""

ADVERTISED_PREFERENCE: Final = DEFAULT_LOCAL_PREFERENCE
"""Local preference of an endpoint that the operator gives."""

GUESS_PREFERENCE: Final = 1
"""Local preference of "reflexive address, local port": right behind static port forwards only."""


@dataclass(frozen=True, slots=True)
class HostAddress:
    """A local transport address that datagrams can leave from.

    Attributes:
        local_preference: 0 to 65535, higher is better (RFC 8445 §5.1.2.1).
    """

    endpoint: Endpoint
    interface: str
    local_preference: int = DEFAULT_LOCAL_PREFERENCE


GatheringEvent = CandidatesChanged | StunServerChanged


class Gatherer:
    """Our candidates, a `Machine`.

    Args:
        rng: source of transaction ids; cryptographic outside tests (RFC 8489 §5).
        now: current time in seconds.
    """

    def __init__(self, *, rng: Random, now: float) -> None:
        self._rng = rng
        self._bases: tuple[HostAddress, ...] = ()
        self._servers: tuple[Endpoint, ...] = ()
        self._advertised: tuple[Endpoint, ...] = ()
        self._bindings: dict[tuple[Endpoint, Endpoint], Binding] = {}
        self._reachable: dict[Endpoint, bool] = {}
        self._announced: tuple[Candidate, ...] = ()
        self._settle_at: float | None = None
        self._now = now
        self._events: deque[GatheringEvent] = deque()

    # What the owner says ----------------------------------------------------------------------

    def set_bases(self, bases: Sequence[HostAddress], now: float) -> None:
        """Replace the local addresses; mappings of those that stay are kept."""
        self._bases = tuple(bases)[:MAX_BASES]
        self._rebind(now)
        self._publish(now)

    def set_servers(self, servers: Sequence[Endpoint], now: float) -> None:
        """Replace the STUN servers."""
        self._servers = tuple(dict.fromkeys(servers))
        self._reachable = {s: r for s, r in self._reachable.items() if s in self._servers}
        self._rebind(now)
        self._publish(now)

    def set_advertised(self, endpoints: Sequence[Endpoint], now: float) -> None:
        """Replace the endpoints that the operator gives; they are announced unmeasured."""
        self._advertised = tuple(endpoints)
        self._publish(now)

    def network_changed(self, now: float) -> None:
        """Ask every server again at once: routes or the NAT may be others."""
        for binding in self._bindings.values():
            binding.restart(now)

    # What it knows ----------------------------------------------------------------------------

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Our candidates as last published, best first."""
        return self._announced

    @property
    def mapping_varies(self) -> bool:
        """Whether a base has several mapped addresses, so that a peer will see yet another one.

        The NAT's mapping then depends on the destination (RFC 4787 §4.1).
        """
        return any(len(set(self._mapped(base.endpoint))) > 1 for base in self._bases)

    def wants(self, datagram: Datagram) -> bool:
        """Whether a datagram is a STUN server's answer to one of our requests."""
        binding = self._bindings.get((datagram.destination, datagram.source))
        return binding is not None and binding.wants(datagram)

    # Machine ----------------------------------------------------------------------------------

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        binding = self._bindings.get((datagram.destination, datagram.source))
        if binding is None:
            return
        before = binding.mapped
        binding.receive_datagram(datagram, now)
        self._note_server(datagram.source)
        if binding.mapped != before:
            if before is None and self._settle_at is None and self._waiting():
                self._settle_at = now + SETTLE
            elif before is not None or not self._waiting():
                self._publish(now)

    def handle_timeout(self, now: float) -> None:
        changed = False
        for (_, server), binding in self._bindings.items():
            before = binding.mapped
            binding.handle_timeout(now)
            changed |= binding.mapped != before
            self._note_server(server)
        if changed or (self._settle_at is not None and now >= self._settle_at):
            self._publish(now)

    def next_timeout(self) -> float | None:
        times = [binding.next_timeout() for binding in self._bindings.values()]
        return min((t for t in [*times, self._settle_at] if t is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        return [d for binding in self._bindings.values() for d in binding.datagrams_to_send()]

    def next_event(self) -> GatheringEvent | None:
        return self._events.popleft() if self._events else None

    # Inside -----------------------------------------------------------------------------------

    def _rebind(self, now: float) -> None:
        wanted = [
            (base.endpoint, server)
            for base in self._bases
            for server in self._servers
            if base.endpoint.ip.version == server.ip.version
        ]
        self._bindings = {
            key: self._bindings.get(key) or Binding(*key, rng=self._rng, now=now) for key in wanted
        }

    def _waiting(self) -> bool:
        """Whether some first answer may still come soon."""
        return any(b.mapped is None and not b.failing for b in self._bindings.values())

    def _note_server(self, server: Endpoint) -> None:
        bindings = [b for (_, to), b in self._bindings.items() if to == server]
        reachable = any(b.mapped is not None and not b.failing for b in bindings)
        failing = all(b.failing for b in bindings)
        known = self._reachable.get(server)
        if reachable and known is not True:
            self._reachable[server] = True
            if known is False:
                self._events.append(StunServerChanged(server, reachable=True))
        elif failing and known is not False:
            self._reachable[server] = False
            self._events.append(StunServerChanged(server, reachable=False))

    def _mapped(self, base: Endpoint) -> Iterable[Endpoint]:
        for (source, _), binding in self._bindings.items():
            if source == base and binding.mapped is not None:
                yield binding.mapped

    def _publish(self, now: float) -> None:
        self._settle_at = None
        candidates = self._gather()
        if candidates != self._announced:
            self._announced = candidates
            self._events.append(CandidatesChanged(candidates))

    def _gather(self) -> tuple[Candidate, ...]:
        found: dict[Endpoint, Candidate] = {}
        for base in self._bases:
            host = local_candidate(
                CandidateType.HOST, base.endpoint, base.endpoint, base.local_preference
            )
            found.setdefault(host.endpoint, host)
        first = self._bases[0].endpoint if self._bases else None
        for endpoint in self._advertised:
            base_of = next(
                (b.endpoint for b in self._bases if b.endpoint.ip.version == endpoint.ip.version),
                first,
            )
            if base_of is not None:
                kind = CandidateType.SERVER_REFLEXIVE
                found.setdefault(
                    endpoint, local_candidate(kind, endpoint, base_of, ADVERTISED_PREFERENCE)
                )
        guesses: list[Candidate] = []
        for base in self._bases:
            for mapped in list(dict.fromkeys(self._mapped(base.endpoint)))[:MAX_REFLEXIVE]:
                if not is_reachable_address(mapped.ip):
                    continue
                kind = CandidateType.SERVER_REFLEXIVE
                found.setdefault(
                    mapped,
                    local_candidate(kind, mapped, base.endpoint, max(base.local_preference - 1, 1)),
                )
                guess = Endpoint(mapped.ip, base.endpoint.port)
                guesses.append(local_candidate(kind, guess, base.endpoint, GUESS_PREFERENCE))
        for candidate in guesses:
            found.setdefault(candidate.endpoint, candidate)
        ordered = sorted(found.values(), key=lambda c: -c.priority)
        return tuple(ordered[:MAX_CANDIDATES])
