"""A simulated network: hosts, NATs, latency, loss and partitions on a clock that only tests advance."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from itertools import count
from random import Random
from typing import Any

from nat.machine import Datagram, Endpoint, Machine

from .nat import Filtering, Mapping, Nat

__all__ = ["Filtering", "Host", "Mapping", "Nat", "Sent", "SimNetwork", "endpoint"]

DEFAULT_LATENCY = 0.02
"""Seconds one way."""

DISTANCE = 5
"""Routers between the outermost NATs of any two hosts; what lives shorter does not arrive."""

MAX_ROUNDS = 1000
"""Wake-ups at one instant after which the simulation is stuck."""


def endpoint(ip: str, port: int = 51820) -> Endpoint:
    """Write an endpoint in one word."""
    return Endpoint(ip_address(ip), port)


class Host:
    """A machine at some addresses, behind a NAT or not, and the events it has raised."""

    def __init__(self, machine: Machine[Any], *addresses: Endpoint, nat: Nat | None = None) -> None:
        self.machine = machine
        self.addresses = addresses
        self.nat = nat
        self.events: list[Any] = []
        self.events_at: list[float] = []
        self.online = True
        self.touched = True
        """Whether it may have something to say, or another deadline, since it was last asked."""
        self.due: float | None = None
        """When its machine wants to be woken up."""

    def events_of(self, kind: type[Any]) -> list[Any]:
        """Return the events of one type, oldest first."""
        return [event for event in self.events if isinstance(event, kind)]


@dataclass(frozen=True, slots=True)
class Sent:
    """A datagram as its host sent it, and as it left the NAT."""

    at: float
    host: Host
    datagram: Datagram
    on_wire: Datagram


@dataclass(order=True)
class _InFlight:
    at: float
    order: int
    action: Callable[[], None] = field(compare=False)


class SimNetwork:
    """Delivers datagrams between hosts and wakes them up, in virtual time.

    Args:
        hosts: who takes part; `add` takes more.
        latency: seconds one way, or a function of the datagram as it is on the wire.
        loss: probability that a datagram vanishes.
        rng: decides losses.
    """

    def __init__(
        self,
        *hosts: Host,
        latency: float | Callable[[Datagram], float] = DEFAULT_LATENCY,
        loss: float = 0.0,
        rng: Random | None = None,
    ) -> None:
        self.now = 0.0
        self.sent: list[Sent] = []
        self.latency = latency
        self.loss = loss
        self._hosts = list(hosts)
        self._rng = rng or Random(1)
        self._agenda: list[_InFlight] = []
        self._order = count()
        self._blocks: list[Callable[[Datagram], bool]] = []

    def add(self, host: Host) -> None:
        """Plug in a host."""
        self._hosts.append(host)

    def block(self, predicate: Callable[[Datagram], bool]) -> Callable[[], None]:
        """Drop what `predicate` says of datagrams on the wire; return what lifts it again."""
        self._blocks.append(predicate)
        return lambda: self._blocks.remove(predicate)

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do something at a time, between two deliveries; it may touch any host."""

        def act() -> None:
            action()
            self._touch_all()

        self._schedule(when, act)

    def every(self, interval: float, action: Callable[[], None]) -> None:
        """Do something now and then for ever."""

        def again() -> None:
            action()
            self.at(self.now + interval, again)

        self.at(self.now + interval, again)

    def sent_by(self, host: Host, since: float = 0.0) -> list[Sent]:
        """Return what a host has sent since a time."""
        return [sent for sent in self.sent if sent.host is host and sent.at >= since]

    def inject(self, datagram: Datagram, delay: float = 0.0) -> None:
        """Put a datagram on the wire as if it came from anywhere."""
        self._schedule(self.now + delay, lambda: self._deliver(datagram, None))

    def run(self, until: float) -> None:
        """Advance time to `until`, doing everything that falls due.

        As a driver does, it wakes up a machine when that is due and asks it only after it was woken
        up, received something or may have been changed by a test.
        """
        self._touch_all()
        self._drain()
        rounds = 0
        while (due := self._next_due()) is not None and due <= until:
            rounds = rounds + 1 if due <= self.now else 0
            assert rounds < MAX_ROUNDS, "a machine asks to be woken up for ever without progress"
            self.now = max(self.now, due)
            while self._agenda and self._agenda[0].at <= self.now:
                heapq.heappop(self._agenda).action()
            for host in self._hosts:
                if host.online and host.due is not None and host.due <= self.now:
                    host.machine.handle_timeout(self.now)
                    host.touched = True
            self._drain()
        self.now = until

    def _schedule(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, _InFlight(when, next(self._order), action))

    def _touch_all(self) -> None:
        for host in self._hosts:
            host.touched = True

    def _next_due(self) -> float | None:
        times = [host.due for host in self._hosts if host.due is not None]
        return min([*times, *(entry.at for entry in self._agenda[:1])], default=None)

    def _drain(self) -> None:
        for host in self._hosts:
            if host.touched:
                host.touched = False
                while host.online and self._drain_host(host):
                    pass
                host.due = host.machine.next_timeout() if host.online else None

    def _drain_host(self, host: Host) -> bool:
        """Let a host speak; whether it may have more to say, for an event can bring forth more."""
        for datagram in host.machine.datagrams_to_send():
            self._send(host, datagram)
        before = len(host.events)
        while (event := host.machine.next_event()) is not None:
            host.events.append(event)
            host.events_at.append(self.now)
        return len(host.events) > before

    def _send(self, host: Host, datagram: Datagram) -> None:
        if datagram.source not in host.addresses:
            # The address is gone: the kernel refuses to send from it.
            return
        on_wire, level, hops, inside = datagram, host.nat, 0, None
        while level is not None and inside is None and not self._reaches(level, on_wire):
            if level.translates and on_wire.destination.ip == level.public_ip:
                if not level.hairpinning:
                    return
                inside = level
            on_wire, level, hops = level.egress(on_wire, self.now), level.upstream, hops + 1
            if on_wire.ttl is not None and hops >= on_wire.ttl:
                break
        self.sent.append(Sent(self.now, host, datagram, on_wire))
        if any(blocks(on_wire) for blocks in self._blocks) or self._rng.random() < self.loss:
            return
        if on_wire.ttl is not None and level is None and on_wire.ttl < hops + DISTANCE:
            return
        latency = self.latency(on_wire) if callable(self.latency) else self.latency
        if inside is not None:
            self._schedule(self.now + latency, partial(self._enter, inside, on_wire))
        else:
            self._schedule(self.now + latency, partial(self._deliver, on_wire, level))

    def _reaches(self, level: Nat, datagram: Datagram) -> bool:
        """Whether a datagram's destination is on the network behind a NAT."""
        destination = datagram.destination
        return level.translates and (
            self._find(level, destination) is not None
            or any(nat.public_ip == destination.ip for nat in self._gateways(level))
        )

    def _gateways(self, level: Nat | None) -> list[Nat]:
        """Return the NATs whose outside is on a network; `None`: the internet."""
        found: dict[int, Nat] = {}
        for host in self._hosts:
            nat = host.nat
            while nat is not None:
                if nat.translates and nat.upstream is level:
                    found[id(nat)] = nat
                nat = nat.upstream
        return list(found.values())

    def _find(self, level: Nat | None, address: Endpoint) -> Host | None:
        for host in self._hosts:
            outside = host.nat if host.nat is None or host.nat.translates else host.nat.upstream
            if outside is level and address in host.addresses:
                return host
        return None

    def _deliver(self, datagram: Datagram, level: Nat | None) -> None:
        """Let a datagram arrive on a network: at a host, or at a NAT that leads further in."""
        host = self._find(level, datagram.destination)
        if host is not None:
            firewall = None if host.nat is level else host.nat
            arrived = datagram if firewall is None else firewall.ingress(datagram, self.now)
            if arrived is not None:
                self._hand_over(host, arrived)
            return
        for nat in self._gateways(level):
            if nat.public_ip == datagram.destination.ip:
                self._enter(nat, datagram)
                return

    def _enter(self, nat: Nat, datagram: Datagram) -> None:
        arrived = nat.ingress(datagram, self.now)
        if arrived is not None:
            self._deliver(arrived, nat)

    def _hand_over(self, host: Host | None, datagram: Datagram) -> None:
        if host is not None and host.online:
            host.machine.receive_datagram(datagram, self.now)
            host.touched = True
