"""What both ways of sharing WireGuard's UDP port with STUN have in common (design D1)."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable

from ..machine import Datagram
from .family_sockets import FamilySockets, Received
from .ways import Ways


class StunPort(ABC):
    """Sends and receives STUN on a port that WireGuard is bound to.

    Args:
        port: WireGuard's listen port.
        mark: SO_MARK of what is sent; 0 for none.
        on_datagram: gets each datagram; its destination is the local address it came to.
        on_refused: gets each datagram that the host would not send, and the name of the error.
    """

    def __init__(
        self,
        port: int,
        *,
        mark: int,
        on_datagram: Callable[[Datagram], None],
        on_refused: Callable[[Datagram, str], None] = lambda datagram, error: None,
    ) -> None:
        self._port = port
        self._mark = mark
        self._sockets = FamilySockets(
            decode=self._datagram, on_datagram=on_datagram, on_refused=on_refused
        )
        self._ways = Ways()

    @property
    def families(self) -> frozenset[int]:
        """IP versions (4, 6) that have a socket."""
        return self._sockets.families

    @property
    def counters(self) -> Counter[str]:
        """Datagrams received, sent and not sent, by reason."""
        return self._sockets.counters

    @abstractmethod
    def open(self) -> None:
        """Open the sockets and begin to receive; a host without IPv6 has one only.

        Raises:
            SharedPortError: this process may not do that, or neither family works.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the sockets and leave nothing; harmless if they are not open."""

    def mend(self) -> bool:
        """Put back what others may have removed since `open`; whether that was so.

        Raises:
            OSError: it is refused.
        """
        return False

    def set_ways(self, ways: Ways) -> None:
        """Say by which interface datagrams leave.

        Whatever is not named leaves as the routes have it, which on a host with several uplinks
        may be by another one than the address belongs to.
        """
        self._ways = ways

    @abstractmethod
    def send(self, datagram: Datagram) -> None:
        """Send from exactly `datagram.source.ip`. What cannot be sent is counted, not raised."""

    @abstractmethod
    def _datagram(self, version: int, received: Received) -> Datagram | None:
        """Make a datagram of what a socket has received; `None`: of no use."""
