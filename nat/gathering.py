"""Gathering of our own candidates (RFC 8445 §5.1.1), for as long as the port lives.

Host candidates are the addresses that the owner names; server-reflexive ones come from Binding
requests from each of them to each STUN server of its family. The requests never end: they keep
the NAT's mapping alive and notice when it changes (how long NATs remember stands in
`stun.binding`, beside the numbers that follow from it). A mapping is believed for as long as any
server confirms it, and for `MISSES` unanswered transactions longer.

Two kinds of server-reflexive candidates are not measured but told: endpoints that the operator
gives, and port mappings that a gateway has made (`nat.portmap`). Both come before the measured
ones, because they let everybody in whatever the NAT filters.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Final

from .candidate import (
    DEFAULT_LOCAL_PREFERENCE,
    Candidate,
    CandidateType,
    local_candidate,
)
from .machine import Datagram, Endpoint
from .path.events import CandidatesChanged, StunServerChanged
from .stun.binding import Binding

MAX_BASES: Final = 8
"""Host addresses that are used: more only multiply pairs."""

MAX_MAPPED: Final = 3
"""Mapped addresses of one base that are announced: a NAT whose mapping depends on the
destination shows another one to each server, and none of them helps much."""

MAX_CANDIDATES: Final = 16
"""Candidates that are announced in all."""

MAX_RELAYED: Final = 4
"""Relayed ones of these: two servers with both families. They come last by their priority, and
have their place nevertheless, for they may be all that works."""

SETTLE: Final = 0.3
"""Seconds that a first answer waits for those of the other servers, to be announced at once."""

JUST_ASKED: Final = 1.0
"""Seconds for which an answer holds although something speaks for another NAT mapping: many peers
may fall silent at once, and that needs one question."""

FRESH: Final = 5.0
"""Seconds that an answer is taken for what the server would say again. An older one is asked for
anew when another server reports a changed mapping; a NAT that maps every request to somewhere
else can then not make us ask without end."""

GUESS_PREFERENCE: Final = 255
"""Local preference of the first "mapped address, local port": behind everything measured."""


@dataclass(frozen=True, slots=True)
class HostAddress:
    """A local transport address that datagrams can leave from.

    Attributes:
        local_preference: 0 to 65535, higher is better (RFC 8445 §5.1.2.1).
    """

    endpoint: Endpoint
    interface: str
    local_preference: int = DEFAULT_LOCAL_PREFERENCE


@dataclass(frozen=True, slots=True)
class MappedEndpoint:
    """An endpoint at which a gateway takes datagrams for a base: a port mapping.

    Attributes:
        external: the gateway's side of it.
        last_resort: whether another NAT stands before the gateway, so that few can send there.
    """

    base: Endpoint
    external: Endpoint
    last_resort: bool = False


GatheringEvent = CandidatesChanged | StunServerChanged

_Reflexive = tuple[Endpoint, Endpoint]
"""The endpoint of a server-reflexive candidate, and its base."""


class Gatherer:
    """Our candidates, a `Machine`.

    Args:
        rng: source of transaction ids; cryptographic outside tests (RFC 8489 §5).
    """

    def __init__(self, *, rng: Random) -> None:
        self._rng = rng
        self._bases: tuple[HostAddress, ...] = ()
        self._servers: tuple[Endpoint, ...] = ()
        self._advertised: tuple[Endpoint, ...] = ()
        self._port_mappings: tuple[MappedEndpoint, ...] = ()
        self._relayed: tuple[Endpoint, ...] = ()
        self._bindings: dict[tuple[Endpoint, Endpoint], Binding] = {}
        self._reachable: dict[Endpoint, bool] = {}
        self._announced: tuple[Candidate, ...] = ()
        self._settle_at: float | None = None
        self._events: deque[GatheringEvent] = deque()

    # What the owner says ----------------------------------------------------------------------

    def set_bases(self, bases: Sequence[HostAddress], now: float) -> None:
        """Replace the local addresses; mappings of those that stay are kept."""
        self._bases = _bounded(bases)
        self._rebind(now)
        self._publish()

    def set_servers(self, servers: Sequence[Endpoint], now: float) -> None:
        """Replace the STUN servers."""
        self._servers = tuple(dict.fromkeys(servers))
        self._reachable = {s: r for s, r in self._reachable.items() if s in self._servers}
        self._rebind(now)
        self._publish()

    def set_advertised(self, endpoints: Sequence[Endpoint], now: float) -> None:
        """Replace the endpoints that the operator gives; they are announced unmeasured."""
        self._advertised = tuple(endpoints)
        self._publish()

    def set_mapped(self, mappings: Sequence[MappedEndpoint], now: float) -> None:
        """Replace the port mappings, best first; no STUN server has to confirm them."""
        self._port_mappings = tuple(mappings)
        self._publish()

    def set_relayed(self, endpoints: Sequence[Endpoint], now: float) -> None:
        """Replace our relayed addresses, the best one first."""
        self._relayed = tuple(endpoints)[:MAX_RELAYED]
        self._publish()

    def network_changed(self, now: float) -> None:
        """Ask every server again at once: routes or the NAT may be others."""
        for binding in self._bindings.values():
            binding.restart(now)

    def suspect(self, now: float) -> None:
        """Ask every server again soon: something speaks for another mapping, or another network."""
        for binding in self._bindings.values():
            if not binding.asking and binding.age(now) > JUST_ASKED:
                binding.restart(now)

    # What it knows ----------------------------------------------------------------------------

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Our candidates as last published, best first."""
        return self._announced

    @property
    def servers(self) -> dict[Endpoint, bool | None]:
        """The STUN servers that are asked, and whether each answers; `None`: not known yet."""
        return {server: self._reachable.get(server) for server in self._servers}

    @property
    def mapping_varies(self) -> bool:
        """Whether a base has several mapped addresses, so that a peer will see yet another one.

        The NAT's mapping then depends on the destination (RFC 4787 §4.1).
        """
        return any(len(self._mapped(base.endpoint)) > 1 for base in self._bases)

    def is_steady(self, base: Endpoint) -> bool:
        """Whether two servers or more see a base at one and the same address."""
        told = [b.mapped for (source, _), b in self._bindings.items() if source == base]
        return len(told) - told.count(None) > 1 and len(set(told) - {None}) == 1

    def wants(self, datagram: Datagram) -> bool:
        """Whether a datagram is a STUN server's answer to one of our requests."""
        binding = self._bindings.get((datagram.destination, datagram.source))
        return binding is not None and binding.wants(datagram)

    # Machine ----------------------------------------------------------------------------------

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        binding = self._bindings.get((datagram.destination, datagram.source))
        if binding is None or not binding.wants(datagram):
            return
        before = binding.mapped
        binding.receive_datagram(datagram, now)
        self._note_server(datagram.source)
        if binding.mapped != before:
            if before is not None:
                self._ask_others(datagram.destination, now)
            if self._settle_at is None:
                self._settle_at = now + SETTLE
        if self._settle_at is not None and not self._waiting():
            self._publish()

    def handle_timeout(self, now: float) -> None:
        lost = False
        for binding in self._bindings.values():
            before = binding.mapped
            binding.handle_timeout(now)
            lost |= binding.mapped != before
        for server in self._servers:
            self._note_server(server)
        if lost or (self._settle_at is not None and now >= self._settle_at):
            self._publish()

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
        """Whether an answer may still come soon."""
        return any(b.asking and not b.failing for b in self._bindings.values())

    def _ask_others(self, base: Endpoint, now: float) -> None:
        """Have the other servers confirm that the mapping of a base is another one."""
        for (source, _), binding in self._bindings.items():
            if source == base and not binding.asking and binding.age(now) > FRESH:
                binding.restart(now)

    def _note_server(self, server: Endpoint) -> None:
        bindings = [b for (_, to), b in self._bindings.items() if to == server]
        if not bindings:
            return  # no address of its family just now: that says nothing about the server
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

    def _mapped(self, base: Endpoint) -> tuple[Endpoint, ...]:
        """Return the distinct mapped addresses of a base, by the order of the servers."""
        found = (b.mapped for (source, _), b in self._bindings.items() if source == base)
        return tuple(dict.fromkeys(mapped for mapped in found if mapped is not None))

    def _publish(self) -> None:
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
        # Candidates of one type differ in their local preference (RFC 8445 §5.1.2.1).
        for highest, reflexive in (
            (
                DEFAULT_LOCAL_PREFERENCE,
                [*self._given(), *self._made(last_resort=False), *self._measured()],
            ),
            (GUESS_PREFERENCE, [*self._guessed(), *self._made(last_resort=True)]),
        ):
            for rank, (endpoint, base_endpoint) in enumerate(dict.fromkeys(reflexive)):
                candidate = local_candidate(
                    CandidateType.SERVER_REFLEXIVE, endpoint, base_endpoint, max(highest - rank, 0)
                )
                found.setdefault(endpoint, candidate)
        ordered = sorted(found.values(), key=lambda candidate: -candidate.priority)
        relayed = self._relayed_candidates()
        return (*ordered[: MAX_CANDIDATES - len(relayed)], *relayed)

    def _relayed_candidates(self) -> tuple[Candidate, ...]:
        """Return a candidate for each relayed address, which is its own base (RFC 8445 §5.1.1.2)."""
        return tuple(
            local_candidate(
                CandidateType.RELAYED, endpoint, endpoint, DEFAULT_LOCAL_PREFERENCE - rank
            )
            for rank, endpoint in enumerate(self._relayed)
        )

    def _given(self) -> Iterator[_Reflexive]:
        """Yield what the operator gives, with the best base that datagrams can answer from."""
        for endpoint in self._advertised:
            version = endpoint.ip.version
            bases = sorted(self._bases, key=lambda base: base.endpoint.ip.version != version)
            if bases:
                yield endpoint, bases[0].endpoint

    def _made(self, *, last_resort: bool) -> Iterator[_Reflexive]:
        """Yield the port mappings of the bases that there are."""
        bases = {base.endpoint for base in self._bases}
        for mapping in self._port_mappings:
            if mapping.base in bases and mapping.last_resort is last_resort:
                yield mapping.external, mapping.base

    def _measured(self) -> Iterator[_Reflexive]:
        for base in self._bases:
            for mapped in self._mapped(base.endpoint)[:MAX_MAPPED]:
                yield mapped, base.endpoint

    def _guessed(self) -> Iterator[_Reflexive]:
        """Yield mapped addresses with the local port: right behind a static port forward."""
        for mapped, base in self._measured():
            yield Endpoint(mapped.ip, base.port), base


def _bounded(bases: Sequence[HostAddress]) -> tuple[HostAddress, ...]:
    """Return the best bases, best first; the bound takes the families in turn."""
    ranked = sorted(bases, key=lambda base: -base.local_preference)
    turns = {4: count(), 6: count()}
    turn = {base: next(turns[base.endpoint.ip.version]) for base in ranked}
    kept = set(sorted(ranked, key=lambda base: turn[base])[:MAX_BASES])
    return tuple(base for base in ranked if base in kept)
