"""A simulated network: hosts, NATs, latency, loss and partitions on a clock that only tests advance."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import count
from random import Random
from typing import Any

from nat.machine import Datagram, Endpoint, Machine

from .nat import Filtering, Mapping, Nat

__all__ = ["Filtering", "Host", "Mapping", "Nat", "Sent", "SimNetwork", "endpoint"]

DEFAULT_LATENCY = 0.02
"""Seconds one way."""

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
        """Do something at a time, between two deliveries."""
        heapq.heappush(self._agenda, _InFlight(when, next(self._order), action))

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
        self.at(self.now + delay, lambda: self._deliver(datagram, None))

    def run(self, until: float) -> None:
        """Advance time to `until`, doing everything that falls due."""
        self._drain()
        rounds = 0
        while (due := self._next_due()) is not None and due <= until:
            rounds = rounds + 1 if due <= self.now else 0
            assert rounds < MAX_ROUNDS, "a machine asks to be woken up for ever without progress"
            self.now = max(self.now, due)
            while self._agenda and self._agenda[0].at <= self.now:
                heapq.heappop(self._agenda).action()
            for host in self._hosts:
                if host.online:
                    host.machine.handle_timeout(self.now)
            self._drain()
        self.now = until

    def _next_due(self) -> float | None:
        times = [
            t
            for host in self._hosts
            if host.online and (t := host.machine.next_timeout()) is not None
        ]
        return min([*times, *(entry.at for entry in self._agenda[:1])], default=None)

    def _drain(self) -> None:
        for host in self._hosts:
            if not host.online:
                continue
            for datagram in host.machine.datagrams_to_send():
                self._send(host, datagram)
            while (event := host.machine.next_event()) is not None:
                host.events.append(event)
                host.events_at.append(self.now)

    def _send(self, host: Host, datagram: Datagram) -> None:
        if datagram.source not in host.addresses:
            # The address is gone: the kernel refuses to send from it.
            return
        nat = host.nat
        local = self._on_lan(nat, datagram.destination)
        on_wire = datagram if nat is None or local else nat.egress(datagram, self.now)
        self.sent.append(Sent(self.now, host, datagram, on_wire))
        if any(blocks(on_wire) for blocks in self._blocks) or self._rng.random() < self.loss:
            return
        latency = self.latency(on_wire) if callable(self.latency) else self.latency
        self.at(self.now + latency, lambda: self._deliver(on_wire, nat if local else None, nat))

    def _on_lan(self, nat: Nat | None, destination: Endpoint) -> bool:
        return nat is not None and nat.translates and self._find(nat, destination) is not None

    def _find(self, nat: Nat | None, address: Endpoint) -> Host | None:
        for host in self._hosts:
            if host.nat is nat and address in host.addresses:
                return host
        return None

    def _deliver(self, datagram: Datagram, lan: Nat | None, sender: Nat | None = None) -> None:
        if lan is not None:
            self._hand_over(self._find(lan, datagram.destination), datagram)
            return
        for host in self._hosts:
            nat = host.nat
            if nat is None or not nat.translates:
                if datagram.destination in host.addresses:
                    arrived = datagram if nat is None else nat.ingress(datagram, self.now)
                    if arrived is not None:
                        self._hand_over(host, arrived)
                    return
            elif datagram.destination.ip == nat.public_ip:
                if sender is nat and not nat.hairpinning:
                    return
                arrived = nat.ingress(datagram, self.now)
                if arrived is not None:
                    self._hand_over(self._find(nat, arrived.destination), arrived)
                return

    def _hand_over(self, host: Host | None, datagram: Datagram) -> None:
        if host is not None and host.online:
            host.machine.receive_datagram(datagram, self.now)
