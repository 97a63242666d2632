"""Which path two agents must find, computed from their NATs alone (RFC 4787, RFC 8445).

Each agent has announced one endpoint that the internet can reach: its own address, or what a
STUN server saw of it. Both send checks to everything they know of the other; the source of a
check that arrives is known from then on (peer-reflexive). A check that arrives makes a valid
pair, because its answer goes back to where the sender has just sent to. Playing this until
nothing new arrives gives all pairs that any order of packets can make valid.

A relayed endpoint is one more way to be reached: a public address that lets in whom it has a
permission for, by address (RFC 8656 §9). It counts where no direct path exists, two of them
where one is not enough.

Presumed: the two are in different homes; a symmetric NAT keeps to one public address (RFC 4787
REQ-2 "paired"); routers drop unsolicited datagrams to themselves; no port mapping or prediction.
"""

from dataclasses import dataclass
from typing import Final

from .behaviour import Filtering, Input, Mapping, Nat, Udp

_MAPPINGS: Final = (
    Mapping.NONE,
    Mapping.ONE_TO_ONE,
    Mapping.ENDPOINT_INDEPENDENT,
    Mapping.ADDRESS_AND_PORT_DEPENDENT,
)
_FILTERINGS: Final = (
    Filtering.ENDPOINT_INDEPENDENT,
    Filtering.ADDRESS_DEPENDENT,
    Filtering.ADDRESS_AND_PORT_DEPENDENT,
)
"""From the most to the least permeable."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The candidate kinds of a path: how each side is reached by the other."""

    a: str
    b: str

    def __str__(self) -> str:
        return f"{self.a}-{self.b}"


def expected_paths(a: Nat, b: Nat, *, relays: bool = False) -> frozenset[Ends]:
    """Compute the paths of which the agents must select one.

    Args:
        a: what stands between one agent and the internet.
        b: the same of the other.
        relays: whether both have a TURN server that they reach, if need be over TLS.

    Returns:
        Nothing where only a relay helps and there is none. More than one where a symmetric NAT
        filters laxly, so that its host can be reached at two endpoints, and where the relay of
        either side will do.

    Raises:
        ValueError: a router that accepts unsolicited datagrams, where the path depends on who
            sends first.
    """
    if Input.ACCEPT in (a.input, b.input):
        raise ValueError("with NAT_INPUT=accept the path depends on who sends first")
    direct = _valid_pairs(_Reached(a), _Reached(b))
    if direct or not relays:
        return direct
    one_hop = _valid_pairs(_RELAYED, _Reached(b)) | _valid_pairs(_Reached(a), _RELAYED)
    return one_hop or _valid_pairs(_RELAYED, _RELAYED)


def cascade(home: Nat, carrier: Nat) -> Nat:
    """Compute what a NAT behind another one amounts to: of each behaviour the stricter."""
    return Nat(
        mapping=max(home.mapping, carrier.mapping, key=_MAPPINGS.index),
        filtering=max(home.filtering, carrier.filtering, key=_FILTERINGS.index),
        udp=Udp.BLOCKED if Udp.BLOCKED in (home.udp, carrier.udp) else Udp.OPEN,
    )


@dataclass(frozen=True, slots=True)
class _Reached:
    """How the other reaches an agent: through what, and whether that is its relay."""

    nat: Nat
    relayed: bool = False


_RELAYED: Final = _Reached(
    Nat(mapping=Mapping.ONE_TO_ONE, filtering=Filtering.ADDRESS_DEPENDENT), relayed=True
)


def _valid_pairs(a: _Reached, b: _Reached) -> frozenset[Ends]:
    """Let both check until nothing new arrives."""
    if Udp.BLOCKED in (a.nat.udp, b.nat.udp):
        return frozenset()
    sides = (_Side("a", a.nat), _Side("b", b.nat))
    pairs: set[tuple[_Endpoint, _Endpoint]] = set()
    grew = True
    while grew:
        grew = False
        for own, other in (sides, sides[::-1]):
            for source, target in own.checks():
                if not other.admits(source, target):
                    continue
                pair = (source, target) if own is sides[0] else (target, source)
                other.hear_from(source, target)
                grew = grew or pair not in pairs
                pairs.add(pair)
            # A first round in which nothing arrives still opens filters for the next.
            grew = grew or own.opened_something()
    return frozenset(Ends(_kind(at_a, a), _kind(at_b, b)) for at_a, at_b in pairs)


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """A public endpoint of a side: the announced one, or one minted for a single destination."""

    side: str
    destination: "_Endpoint | None" = None


class _Side:
    """An agent behind its NAT."""

    def __init__(self, name: str, nat: Nat) -> None:
        self._nat = nat
        self._announced = _Endpoint(name)
        self._other = _Endpoint("b" if name == "a" else "a")
        """What the other has announced."""

        self._heard: set[tuple[_Endpoint, _Endpoint]] = set()
        """What came in: at which of our endpoints, from which of the other's."""

        self._sent: set[tuple[_Endpoint, _Endpoint]] = set()
        """Which of our endpoints has sent to which of the other's."""

        self._sent_before = 0

    def checks(self) -> list[tuple[_Endpoint, _Endpoint]]:
        """Send all checks; returns the endpoints they leave from and those they go to."""
        if self._nat.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT:
            # An answering check leaves from where the other's came in. The first one may have
            # left before anything came in, and then from an endpoint of its own.
            checks = self._heard | {(_Endpoint(self._announced.side, self._other), self._other)}
        else:
            known = {self._other, *(to for _, to in self._heard)}
            checks = {(self._announced, to) for to in known}
        self._sent |= checks
        return list(checks)

    def admits(self, source: _Endpoint, target: _Endpoint) -> bool:
        """Say whether a datagram to our endpoint `target` passes the filter."""
        match self._nat.filtering:
            case Filtering.ENDPOINT_INDEPENDENT:
                return True
            case Filtering.ADDRESS_DEPENDENT:
                # RFC 4787 §5: whether the inside endpoint, by any mapping, has sent there.
                return any(sent_to.side == source.side for _, sent_to in self._sent)
            case Filtering.ADDRESS_AND_PORT_DEPENDENT:
                # One flow, one entry: a datagram to another mapping belongs to none.
                return (target, source) in self._sent

    def hear_from(self, source: _Endpoint, target: _Endpoint) -> None:
        """Learn the other's endpoint from a check that came in at ours."""
        self._heard.add((target, source))

    def opened_something(self) -> bool:
        """Say whether anything was sent to a new destination since the last call."""
        grew = len(self._sent) > self._sent_before
        self._sent_before = len(self._sent)
        return grew


def _kind(endpoint: _Endpoint, reached: _Reached) -> str:
    if reached.relayed:
        return "relay"
    if endpoint.destination is not None:
        return "prflx"
    return "srflx" if reached.nat.translates else "host"
