"""Two WireGuards and the rules that open them, on a line that loses datagrams, in virtual time.

The handshake as WireGuard has it: initiation, response, and a first packet that confirms; nobody
initiates within 5 s of having initiated or responded, and who has initiated tries again after them.
"""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address
from random import Random
from typing import Final

from nat.machine import Endpoint
from nat.path.credentials import Role
from sidecar.identity import PublicKey
from sidecar.wireguard.changes import EndpointChange, OpenPeer
from sidecar.wireguard.device import PeerConfig, PeerState
from sidecar.wireguard.endpoint_rules import EndpointRules

REKEY_TIMEOUT: Final = 5.0
LOOK: Final = 0.05
"""`device_keeper.BUSY_INTERVAL`, and once more as late as a look may be."""

INITIATION, RESPONSE, EMPTY = 148, 92, 32
PEER: Final = PublicKey(bytes(31) + b"\1")
THERE: Final = Endpoint(IPv4Address("198.51.100.1"), 4000)
EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Line:
    """Both directions, and the clock.

    Attributes:
        loss: share of datagrams that vanish.
        delay: shortest and longest seconds that one takes.
    """

    rng: Random
    loss: float
    delay: tuple[float, float]
    now: float = 0.0
    _number: "itertools.count[int]" = field(default_factory=itertools.count)
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)

    def at(self, moment: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (moment, next(self._number), act))

    def carry(self, act: Callable[[], None]) -> None:
        if self.rng.random() >= self.loss:
            self.at(self.now + self.rng.uniform(*self.delay), act)

    def run(self, done: Callable[[], bool], until: float) -> float:
        """Let time pass until `done`; returns when that was, or `until`."""
        while self._due and self._due[0][0] < until and not done():
            self.now, _, act = heapq.heappop(self._due)
            act()
        return self.now if done() else until


class End:
    """One WireGuard with one peer, and its rules."""

    def __init__(self, line: Line, role: Role) -> None:
        self.rules = EndpointRules(PEER, role)
        self.other: End
        self._line = line
        self._keepalive = 0
        self._open = False
        self._timer = 0.0
        self._begin_anew()

    def start(self, moment: float, rtt: float) -> None:
        """Have the path selected at a moment; WireGuard has the peer before."""
        self._look()
        self._line.at(moment, lambda: self._select(rtt))

    def _select(self, rtt: float) -> None:
        self.rules.select(THERE, rtt, self._line.now)
        self._settle()

    def _begin_anew(self) -> None:
        self._limited_until = -REKEY_TIMEOUT
        self._initiation: object | None = None
        self._pending: object | None = None
        self._session: object | None = None
        self._handshake: float | None = None
        self._received = 0

    def _look(self) -> None:
        now = self._line.now
        handshake = None if self._handshake is None else EPOCH
        state = PeerState(
            PeerConfig(PEER, frozenset()),
            THERE if self._open else None,
            self._keepalive,
            self._received,
            0,
            handshake,
        )
        age = None if self._handshake is None else now - self._handshake
        self.rules.observe(state, age, now)
        self._settle()
        self._line.at(now + self._line.rng.uniform(LOOK, 2 * LOOK), self._look)

    def _settle(self) -> None:
        for change in self.rules.changes():
            self._apply(change)
        due = self.rules.next_timeout()
        if due is not None and due > self._timer:
            self._timer = due
            self._line.at(due, self._on_timer)

    def _on_timer(self) -> None:
        self.rules.handle_timeout(self._line.now)
        self._settle()

    def _apply(self, change: EndpointChange) -> None:
        if isinstance(change, OpenPeer) and change.again and self._handshake is None:
            self._begin_anew()
            self._keepalive = 0
        self._open = self._open or change.endpoint is not None
        before, after = self._keepalive, change.persistent_keepalive
        if after is not None:
            self._keepalive = after
            if after and not before:
                self._send()

    def _send(self) -> None:
        session = self._session
        if session is None:
            self._initiate()
        else:
            self._line.carry(lambda: self.other.receive_data(session))

    def _initiate(self) -> None:
        now = self._line.now
        if now < self._limited_until or not self._open:
            return
        self._limited_until = now + REKEY_TIMEOUT
        self._initiation = initiation = object()
        self._line.carry(lambda: self.other.receive_initiation(initiation))
        self._line.at(now + REKEY_TIMEOUT, lambda: self._try_again(initiation))

    def _try_again(self, initiation: object) -> None:
        if self._initiation is initiation:
            self._initiate()

    def receive_initiation(self, initiation: object) -> None:
        self._received += INITIATION
        self._open = True
        self._limited_until = self._line.now + REKEY_TIMEOUT
        self._initiation, self._pending = None, object()
        session = self._pending
        self._line.carry(lambda: self.other.receive_response(initiation, session))

    def receive_response(self, initiation: object, session: object) -> None:
        if initiation is self._initiation:
            self._initiation = None
            self._received += RESPONSE
            self._begin(session)
            self._send()

    def receive_data(self, session: object) -> None:
        if session is self._pending and session is not self._session:
            self._begin(session)
        if session is self._session:
            self._received += EMPTY

    def _begin(self, session: object) -> None:
        self._session, self._handshake = session, self._line.now


def seconds_until_both_have_a_session(
    seed: int, *, loss: float = 0.02, delay: tuple[float, float] = (0.07, 0.13)
) -> float:
    """Open a tunnel once; from when the opening side has a path, on a line as bad as the labs'."""
    line = Line(Random(seed), loss, delay)
    opener, follower = End(line, Role.CONTROLLING), End(line, Role.CONTROLLED)
    opener.other, follower.other = follower, opener
    rtt = sum(delay)
    opener.start(0.0, rtt)
    follower.start(line.rng.uniform(*delay), rtt)
    return line.run(lambda: opener.rules.live and follower.rules.live, until=30.0)
