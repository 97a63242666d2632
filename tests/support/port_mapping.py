"""A mapper, its gateway written from the RFCs, and the time."""

from ipaddress import ip_address
from random import Random
from typing import Any

from nat.machine import Datagram, Endpoint
from nat.portmap.events import MapperState, UpnpMapRequested
from nat.portmap.mapper import Mapper
from nat.portmap.memory import GatewayMemory
from nat.portmap.values import Gateway as GatewayId
from nat.portmap.values import MappingProtocol, Uplink

from .gateway import Gateway

BASE = Endpoint(ip_address("192.168.1.2"), 20000)
LOCAL = Endpoint(ip_address("192.168.1.2"), 40000)
UPLINK = Uplink(GatewayId(ip_address("192.168.1.1"), "eth0"), BASE)
EXTERNAL = Endpoint(ip_address("203.0.113.2"), 20000)

PCP, NAT_PMP, UPNP = MappingProtocol


class Home:
    """A mapper, its gateway, and the time."""

    def __init__(
        self,
        gateway: Gateway | None = None,
        *,
        memory: GatewayMemory | None = None,
        uplink: Uplink = UPLINK,
        upnp: Any = None,
        secret: bytes = b"secret",
        now: float = 0.0,
    ) -> None:
        self.gateway = gateway or Gateway()
        self.upnp = upnp
        self.now = now
        self.events: list[tuple[float, object]] = []
        self.sent: list[tuple[float, Datagram]] = []
        self.mapper = Mapper(
            uplink,
            local=Endpoint(uplink.base.ip, 40000),
            secret=secret,
            memory=memory or GatewayMemory(),
            rng=Random(1),
            now=now,
        )
        self.settle()

    def settle(self) -> None:
        """Let the gateway answer at once, and UPnP too if it is there."""
        progress = True
        while progress:
            progress = False
            for datagram in self.mapper.datagrams_to_send():
                self.sent.append((self.now, datagram))
                for answer in self.gateway.answer(datagram, self.now):
                    self.mapper.receive_datagram(answer, self.now)
                progress = True
            while (event := self.mapper.next_event()) is not None:
                self.events.append((self.now, event))
                progress = True
                if isinstance(event, UpnpMapRequested) and self.upnp != "silent":
                    self.mapper.upnp_answered(self.upnp, self.now)

    def run(self, until: float) -> None:
        while (due := self.mapper.next_timeout()) is not None and due <= until:
            self.now = max(self.now, due)
            self.mapper.handle_timeout(self.now)
            self.settle()
        self.now = until

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kind)]

    def at(self, kind: type[Any]) -> list[float]:
        return [at for at, event in self.events if isinstance(event, kind)]

    @property
    def state(self) -> MapperState:
        return self.mapper.report(self.now).state
