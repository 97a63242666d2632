"""Discovery of what our NAT does (RFC 5780), for reports and hints; never a gate on trying.

It runs on two fresh local ports, not on the port that it is about. Filtering can be tested only from
where nothing was sent to the address that will answer, and the shared port sends to every server and
peer; a test from there would open the very filter that it tests. What a NAT does, it does to all
ports alike, so the fresh ones tell the truth and the live one is not disturbed.

    first  asks every server, then the RFC 5780 server's other port, and its other address: mapping
    second asks that server alone, then has it answer from elsewhere: filtering
    each   sends to the mapped address of the other: hairpinning

A server that does not answer leaves `unknown`; silence is an answer only where the one who was to
break it has been seen to live.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Final

from ..candidate import is_private_address, is_reachable_address
from ..errors import StunError
from ..machine import Datagram, Endpoint
from . import message as stun
from .nat_behaviour import FilteringBehaviour, MappingBehaviour, NatBehaviour, judge_mapping

MAX_SERVERS: Final = 4
"""Servers that are asked: two tell what can be told without RFC 5780."""

MAX_REQUESTS: Final = 4
"""Requests of one probe. Silence is an answer here, so loss must be unlikely to feign it: with one
datagram in ten lost each way, four go unanswered once in 770 probes."""

FIRST_PAUSE: Final = 0.1
"""Seconds before the first retransmission; doubles each time, so a probe ends after 1.5 s."""


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What became of a server that was asked.

    Attributes:
        mapped: where it saw us; `None`: it did not answer.
        rtt: seconds that its answer took.
        rfc5780: whether it can answer from another address.
    """

    server: Endpoint
    mapped: Endpoint | None
    rtt: float | None
    rfc5780: bool


@dataclass(frozen=True, slots=True)
class BehaviourFound:
    """The discovery has ended."""

    base: Endpoint
    behaviour: NatBehaviour
    servers: tuple[ServerAnswer, ...]


class _Stage(Enum):
    """What is being found out."""

    SERVERS = 0
    MAPPING = 1
    FILTERING = 2
    DONE = 3


@dataclass(slots=True)
class _Probe:
    """One question, repeated until it is answered or was asked often enough."""

    source: Endpoint
    destination: Endpoint
    transaction_id: stun.TransactionId
    at: float
    answers_from: Endpoint
    """Where the answer has to come from."""

    change_ip: bool = False
    change_port: bool = False
    sent: int = 0
    sent_at: float = 0.0
    mapped: Endpoint | None = None
    other: Endpoint | None = None
    rtt: float | None = None
    arrived: bool = False
    """Whether it was answered, or came back to us by itself."""

    unsupported: bool = False

    @property
    def over(self) -> bool:
        return self.arrived or self.unsupported


@dataclass(slots=True)
class _Tests:
    """The probes of the later stages; `None`: not asked."""

    other_port: _Probe | None = None
    other_address: _Probe | None = None
    second: _Probe | None = None
    from_elsewhere: _Probe | None = None
    from_other_port: _Probe | None = None
    hairpins: list[_Probe] = field(default_factory=list)


class BehaviourDiscovery:
    """One discovery; a `Machine` that ends with `BehaviourFound`.

    Args:
        first: a fresh local endpoint.
        second: another one, of the same address.
        servers: STUN servers; those of another family are ignored.
        rng: source of transaction ids.
        now: current time in seconds.
    """

    def __init__(
        self,
        first: Endpoint,
        second: Endpoint,
        servers: Sequence[Endpoint],
        *,
        rng: Random,
        now: float,
    ) -> None:
        self._first = first
        self._second = second
        self._rng = rng
        self._probes: list[_Probe] = []
        self._outbox: list[Datagram] = []
        self._events: deque[BehaviourFound] = deque()
        self._stage = _Stage.SERVERS
        usable = [s for s in dict.fromkeys(servers) if s.ip.version == first.ip.version]
        self._servers = [self._probe(first, server, now) for server in usable[:MAX_SERVERS]]
        self._tests = _Tests()
        self.handle_timeout(now)

    # Machine ----------------------------------------------------------------------------------

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        try:
            message = stun.parse(datagram.payload)
        except StunError:
            return
        for probe in self._probes:
            if probe.transaction_id == message.transaction_id and not probe.over:
                self._answer(probe, message, datagram, now)
        self.handle_timeout(now)

    def handle_timeout(self, now: float) -> None:
        for probe in self._probes:
            if not probe.over and now >= probe.at and probe.sent < MAX_REQUESTS:
                self._send(probe, now)
        while self._stage is not _Stage.DONE and self._settled(now):
            self._next_stage(now)

    def next_timeout(self) -> float | None:
        return min((probe.at for probe in self._probes if not probe.over), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def next_event(self) -> BehaviourFound | None:
        return self._events.popleft() if self._events else None

    # Stages -----------------------------------------------------------------------------------

    def _settled(self, now: float) -> bool:
        return all(p.over or (p.sent == MAX_REQUESTS and now >= p.at) for p in self._probes)

    def _next_stage(self, now: float) -> None:
        self._probes = []
        self._stage = _Stage(self._stage.value + 1)
        answered = [probe for probe in self._servers if probe.arrived]
        match self._stage:
            case _Stage.MAPPING if answered:
                self._begin_mapping(answered, now)
            case _Stage.FILTERING if answered:
                self._begin_filtering(now)
            case _Stage.DONE:
                servers = tuple(
                    ServerAnswer(p.destination, p.mapped, p.rtt, p.other is not None)
                    for p in self._servers
                )
                self._events.append(BehaviourFound(self._first, self._judge(), servers))
            case _:
                pass
        for probe in self._probes:
            self._send(probe, now)

    def _begin_mapping(self, answered: list[_Probe], now: float) -> None:
        tests = self._tests
        capable = next((probe for probe in answered if probe.other is not None), None)
        server = (capable or answered[0]).destination
        if capable is not None and capable.other is not None:
            other_port = Endpoint(server.ip, capable.other.port)
            tests.other_port = self._probe(self._first, other_port, now)
            tests.other_address = self._probe(self._first, capable.other, now)
        tests.second = self._probe(self._second, server, now)

    def _begin_filtering(self, now: float) -> None:
        tests = self._tests
        second, port, address = tests.second, tests.other_port, tests.other_address
        if second is None or second.mapped is None:
            return
        server = second.destination
        if port is not None and address is not None:
            tests.from_elsewhere = self._probe(
                self._second, server, now, answers_from=address.destination, change_ip=True
            )
            tests.from_other_port = self._probe(
                self._second, server, now, answers_from=port.destination
            )
        first = next(probe.mapped for probe in self._servers if probe.mapped is not None)
        if first != self._first:
            # Both ways, so that each opens its own filter for the other.
            tests.hairpins = [
                self._probe(self._first, second.mapped, now),
                self._probe(self._second, first, now),
            ]

    # Probes -----------------------------------------------------------------------------------

    def _probe(
        self,
        source: Endpoint,
        destination: Endpoint,
        now: float,
        *,
        answers_from: Endpoint | None = None,
        change_ip: bool = False,
    ) -> _Probe:
        probe = _Probe(
            source,
            destination,
            self._rng.randbytes(stun.TRANSACTION_ID_SIZE),
            at=now,
            answers_from=answers_from or destination,
            change_ip=change_ip,
            change_port=answers_from is not None,
        )
        self._probes.append(probe)
        return probe

    def _send(self, probe: _Probe, now: float) -> None:
        probe.at = now + FIRST_PAUSE * 2**probe.sent
        probe.sent += 1
        probe.sent_at = now
        payload = stun.binding_request(
            probe.transaction_id, change_ip=probe.change_ip, change_port=probe.change_port
        )
        self._outbox.append(Datagram(probe.source, probe.destination, payload))

    def _answer(
        self, probe: _Probe, message: stun.StunMessage, datagram: Datagram, now: float
    ) -> None:
        match message.message_class:
            case stun.MessageClass.REQUEST:
                # Nobody else knows the transaction: it is our own, turned round by the NAT.
                probe.arrived = probe in self._tests.hairpins
            case stun.MessageClass.ERROR if datagram.source == probe.destination:
                probe.unsupported = True
            case stun.MessageClass.SUCCESS if datagram.destination == probe.source:
                if datagram.source == probe.answers_from:
                    self._believe(probe, message, now)
                elif datagram.source == probe.destination:
                    probe.unsupported = True  # it does not know CHANGE-REQUEST
            case _:
                pass

    def _believe(self, probe: _Probe, message: stun.StunMessage, now: float) -> None:
        mapped = message.mapped_address
        if mapped is None or mapped.port == 0 or not is_reachable_address(mapped.ip):
            return
        if mapped.ip.version != probe.source.ip.version or message.unknown_required:
            return
        probe.arrived = True
        probe.mapped = mapped
        probe.rtt = now - probe.sent_at
        probe.other = _other_address(message.other_address, probe.destination)

    # Verdict ----------------------------------------------------------------------------------

    def _judge(self) -> NatBehaviour:
        tests = self._tests
        probes = [*self._servers, tests.other_port, tests.other_address]
        seen = {p.destination: p.mapped for p in probes if p is not None and p.mapped is not None}
        mapping = judge_mapping(self._first, seen)
        public = next(iter(seen.values())).ip if seen else None
        if mapping in (MappingBehaviour.NONE, MappingBehaviour.UNKNOWN) and public in (
            None,
            self._first.ip,
        ):
            return NatBehaviour(mapping, self._judge_filtering(), None, None, public)
        return NatBehaviour(
            mapping, self._judge_filtering(), self._judge_hairpinning(), self._preserves(), public
        )

    def _judge_filtering(self) -> FilteringBehaviour:
        """Classify by which answers came in (RFC 5780 §4.4)."""
        tests = self._tests
        elsewhere, other_port = tests.from_elsewhere, tests.from_other_port
        if elsewhere is None or other_port is None or elsewhere.unsupported:
            return FilteringBehaviour.UNKNOWN
        if elsewhere.arrived:
            return FilteringBehaviour.ENDPOINT_INDEPENDENT
        if tests.other_address is None or not tests.other_address.arrived:
            return FilteringBehaviour.UNKNOWN  # nobody may be there to answer
        if other_port.arrived:
            return FilteringBehaviour.ADDRESS_DEPENDENT
        if tests.other_port is None or not tests.other_port.arrived or other_port.unsupported:
            return FilteringBehaviour.UNKNOWN
        return FilteringBehaviour.ADDRESS_AND_PORT_DEPENDENT

    def _judge_hairpinning(self) -> bool | None:
        hairpins = self._tests.hairpins
        return any(probe.arrived for probe in hairpins) if hairpins else None

    def _preserves(self) -> bool | None:
        second = self._tests.second
        first = next((p.mapped for p in self._servers if p.mapped is not None), None)
        if first is None or second is None or second.mapped is None:
            return None
        return first.port == self._first.port and second.mapped.port == self._second.port


def _other_address(claimed: Endpoint | None, server: Endpoint) -> Endpoint | None:
    """Return the endpoint that a server says it also answers from, if it can be believed.

    A server could have us send to anybody; a dozen datagrams at most, and never into a network that
    it is not in itself.
    """
    if claimed is None or claimed.ip.version != server.ip.version or claimed.port == 0:
        return None
    if not is_reachable_address(claimed.ip) or is_private_address(claimed.ip) != is_private_address(
        server.ip
    ):
        return None
    return claimed if claimed.ip != server.ip and claimed.port != server.port else None
