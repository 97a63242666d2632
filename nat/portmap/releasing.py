"""Deleting a mapping at the end."""

from ..machine import Endpoint
from .asking import RELEASE_REQUESTS, Asking
from .desk import Desk
from .events import UpnpUnmapRequested
from .transitions import End, Transition
from .values import MappingProtocol


class Releasing:
    """The mapping is being deleted; UPnP's is the owner's business."""

    def __init__(
        self, desk: Desk, protocol: MappingProtocol, external: Endpoint, now: float
    ) -> None:
        self.protocol = protocol
        self._desk = desk
        self._asking = Asking(RELEASE_REQUESTS, now)
        if protocol is MappingProtocol.UPNP:
            desk.tell(UpnpUnmapRequested(desk.uplink, external.port))

    def next_timeout(self) -> float | None:
        return None if self.protocol is MappingProtocol.UPNP else self._asking.at

    def step(self, now: float) -> Transition | None:
        """Ask for the deletion; end when nobody answers."""
        if self.protocol is MappingProtocol.UPNP:
            return None
        if self._asking.due(now):
            self._desk.conversation.delete(self.protocol)
        elif self._asking.failed(now):
            return End()
        return None
