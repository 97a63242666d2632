"""Simulated NATs in the words of RFC 4787. They take time as an argument, like every machine."""

from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import ip_address
from random import Random

from nat.machine import Datagram, Endpoint, IPAddress

STRAY_TIMEOUT = 30.0
"""Seconds that Linux keeps what nobody answers (nf_conntrack_udp_timeout)."""


class Mapping(Enum):
    """How a NAT picks the public endpoint (RFC 4787 §4.1), and two things that are not NAPT."""

    NONE = "none"
    """No translation: a router or a stateful firewall."""

    ONE_TO_ONE = "one-to-one"
    """A whole public address for one inside host; ports are kept, nothing is filtered."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


class Filtering(Enum):
    """From whom a NAT lets datagrams in (RFC 4787 §5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


@dataclass
class _Binding:
    """One mapping: who is behind it, whom it has contacted, and when it was last used."""

    internal: Endpoint
    contacted: dict[Endpoint, float] = field(default_factory=dict)
    used_at: float = 0.0


class Nat:
    """A NAT with one public address; the hosts behind it share a LAN.

    Args:
        public_ip: its address on the internet.
        mapping: see `Mapping`.
        filtering: see `Filtering`; with `Mapping.NONE` that of a stateful firewall.
        hairpinning: whether inside hosts reach each other by public endpoints (RFC 4787 §6).
        timeout: seconds without an outbound datagram after which a mapping is forgotten.
        rng: picks the port of each mapping; `None`: they count from `first_port`.
        upstream: the NAT that this one is behind, such as a carrier's; `None`: the internet.
        accepts_input: whether the gateway takes what is sent to itself, as Linux does without a
            firewall: it remembers that for `STRAY_TIMEOUT`, and a host behind it that sends to
            where it came from meanwhile gets another port.
    """

    def __init__(
        self,
        public_ip: IPAddress | str,
        mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT,
        filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT,
        *,
        hairpinning: bool = False,
        timeout: float = 120.0,
        first_port: int = 42000,
        rng: Random | None = None,
        upstream: "Nat | None" = None,
        accepts_input: bool = False,
    ) -> None:
        self.public_ip = ip_address(public_ip) if isinstance(public_ip, str) else public_ip
        self.mapping = mapping
        self.filtering = filtering
        self.hairpinning = hairpinning
        self._timeout = timeout
        self._next_port = first_port
        self._rng = rng
        self._bindings: dict[Endpoint, _Binding] = {}
        self._by_key: dict[tuple[Endpoint, object], Endpoint] = {}
        self.upstream = upstream
        self._accepts_input = accepts_input
        self._strays: dict[tuple[Endpoint, Endpoint], float] = {}
        self._displaced: dict[tuple[Endpoint, Endpoint], tuple[Endpoint, float]] = {}

    def rebind(self, public_ip: IPAddress | None = None) -> None:
        """Forget every mapping, as after a reboot of the router; perhaps take a new address."""
        self._bindings.clear()
        self._by_key.clear()
        if public_ip is not None:
            self.public_ip = public_ip

    def egress(self, datagram: Datagram, now: float) -> Datagram:
        """Translate the source of an outbound datagram."""
        public = self._displaced_endpoint(datagram, now) or self._public_endpoint(datagram, now)
        binding = self._bindings.get(public)
        if binding is None or binding.internal != datagram.source:
            binding = self._bindings[public] = _Binding(datagram.source)
        binding.contacted[datagram.destination] = now
        binding.used_at = now
        return replace(datagram, source=public)

    def ingress(self, datagram: Datagram, now: float) -> Datagram | None:
        """Translate the destination of an inbound datagram; `None`: filtered."""
        if self.mapping is Mapping.ONE_TO_ONE:
            # The inside host is known by its first outbound datagram; its ports are all open.
            binding = self._bindings.get(datagram.destination)
        else:
            binding = self._live(datagram.destination, now)
            if self.mapping is Mapping.NONE and self._open:
                return datagram
            if binding is None or not self._lets_in(binding, datagram.source, now):
                if self._accepts_input:
                    self._strays[datagram.source, datagram.destination] = now
                return None
        if binding is None:
            return None
        return replace(datagram, destination=binding.internal)

    def _displaced_endpoint(self, datagram: Datagram, now: float) -> Endpoint | None:
        """Return the port that a flow got because the gateway's own one clashed with it."""
        flow = (datagram.source, datagram.destination)
        public, used_at = self._displaced.pop(flow, (None, 0.0))
        if public is None or now - used_at > STRAY_TIMEOUT:
            if not self._strays:
                return None
            usual = self._public_endpoint(datagram, now)
            stray_at = self._strays.get((datagram.destination, usual))
            clashes = stray_at is not None and now - stray_at <= STRAY_TIMEOUT
            binding = self._live(usual, now)
            if not clashes or (binding and datagram.destination in binding.contacted):
                return None
            public = self._free_endpoint(now)
        self._displaced[flow] = (public, now)
        return public

    @property
    def translates(self) -> bool:
        return self.mapping is not Mapping.NONE

    @property
    def _open(self) -> bool:
        return self.filtering is Filtering.ENDPOINT_INDEPENDENT

    def _public_endpoint(self, datagram: Datagram, now: float) -> Endpoint:
        key: tuple[Endpoint, object]
        match self.mapping:
            case Mapping.NONE:
                return datagram.source
            case Mapping.ONE_TO_ONE:
                return Endpoint(self.public_ip, datagram.source.port)
            case Mapping.ENDPOINT_INDEPENDENT:
                key = (datagram.source, None)
            case Mapping.ADDRESS_DEPENDENT:
                key = (datagram.source, datagram.destination.ip)
            case Mapping.ADDRESS_AND_PORT_DEPENDENT:
                key = (datagram.source, datagram.destination)
        known = self._by_key.get(key)
        if known is None or self._live(known, now) is None:
            known = self._by_key[key] = self._free_endpoint(now)
        return known

    def _free_endpoint(self, now: float) -> Endpoint:
        while True:
            if self._rng is None:
                self._next_port += 1
                return Endpoint(self.public_ip, self._next_port - 1)
            picked = Endpoint(self.public_ip, self._rng.randrange(1024, 65536))
            if self._live(picked, now) is None:
                return picked

    def _live(self, public: Endpoint, now: float) -> _Binding | None:
        binding = self._bindings.get(public)
        if binding is not None and now - binding.used_at > self._timeout:
            del self._bindings[public]
            return None
        return binding

    def _lets_in(self, binding: _Binding, source: Endpoint, now: float) -> bool:
        contacted = [e for e, at in binding.contacted.items() if now - at <= self._timeout]
        match self.filtering:
            case Filtering.ENDPOINT_INDEPENDENT:
                return True
            case Filtering.ADDRESS_DEPENDENT:
                return any(e.ip == source.ip for e in contacted)
            case Filtering.ADDRESS_AND_PORT_DEPENDENT:
                return source in contacted
