"""A STUN server as a machine, for the simulated network."""

from nat.machine import Datagram
from nat.stun.message import parse, success_response


class StunServer:
    """Answers Binding requests while `answering`."""

    def __init__(self) -> None:
        self.answering = True
        self.requests = 0
        self._outbox: list[Datagram] = []

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        request = parse(datagram.payload)
        self.requests += 1
        if self.answering:
            response = success_response(request.transaction_id, datagram.source)
            self._outbox.append(Datagram(datagram.destination, datagram.source, response))

    def handle_timeout(self, now: float) -> None:
        pass

    def next_timeout(self) -> float | None:
        return None

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def next_event(self) -> None:
        return None
