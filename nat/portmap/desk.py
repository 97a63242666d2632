"""What the states of a mapper share: whom they speak to, what they remember, what they tell."""

from collections import deque
from random import Random

from ..machine import Endpoint
from . import pcp
from .conversation import LIFETIME, Conversation
from .events import MapperEvent, UpnpMapRequested
from .memory import GatewayMemory
from .speakers import Meaning
from .values import Granted, Uplink, believable


class Desk:
    """Part of a `Mapper`.

    Args:
        uplink: whose port is mapped, at which gateway.
        conversation: with that gateway.
        memory: of gateways that were asked before.
        rng: source of the spread of renewals.
    """

    def __init__(
        self, uplink: Uplink, *, conversation: Conversation, memory: GatewayMemory, rng: Random
    ) -> None:
        self.uplink = uplink
        self.conversation = conversation
        self.memory = memory
        self.rng = rng
        self.refusal: str | None = None
        """Why the gateway makes no mapping, if it said so."""

        self._events: deque[MapperEvent] = deque()

    @property
    def v4(self) -> bool:
        """Whether ports are mapped; for IPv6 it is pinholes, of which NAT-PMP knows nothing."""
        return self.uplink.base.ip.version == 4

    @property
    def suggested(self) -> Endpoint:
        """What the gateway mapped last; before that, our own port at whatever address."""
        base = self.uplink.base
        unspecified = Endpoint(pcp.unspecified(base.ip.version), base.port)
        return self.memory.last_external(self.uplink.gateway) or unspecified

    def believed(self, meaning: Meaning) -> Meaning:
        """Return what of an answer is used."""
        if isinstance(meaning, Granted):
            return believable(meaning, self.uplink.base)
        return meaning

    def ask_upnp(self, port: int) -> None:
        """Have UPnP map our port to this one, or renew that."""
        self.tell(UpnpMapRequested(self.uplink, port, LIFETIME))

    def tell(self, event: MapperEvent) -> None:
        """Tell the owner."""
        self._events.append(event)

    def next_event(self) -> MapperEvent | None:
        """Take the oldest event that the owner has not seen; `None`: no more."""
        return self._events.popleft() if self._events else None
