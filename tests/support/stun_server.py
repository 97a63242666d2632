"""STUN servers as machines, for the simulated network."""

import struct
from typing import TypeVar

from aioice import stun as codec

from nat.machine import Datagram, Endpoint
from nat.stun.attributes import MAGIC_COOKIE
from nat.stun.message import parse, success_response
from nat.stun.wire import walk

T = TypeVar("T")


class _Server:
    """A `Machine` that answers at once or never: it has neither timers nor events."""

    def __init__(self) -> None:
        self._outbox: list[Datagram] = []

    def handle_timeout(self, now: float) -> None:
        pass

    def next_timeout(self) -> float | None:
        return None

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def next_event(self) -> None:
        return None


class StunServer(_Server):
    """Answers Binding requests while `answering`."""

    def __init__(self) -> None:
        super().__init__()
        self.answering = True
        self.requests = 0

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        request = parse(datagram.payload)
        self.requests += 1
        if self.answering:
            response = success_response(request.transaction_id, datagram.source)
            self._outbox.append(Datagram(datagram.destination, datagram.source, response))


class BehaviourServer(_Server):
    """An RFC 5780 server: two addresses with two ports each.

    Args:
        one: primary address and port.
        other: alternate address and port.
        honours: whether it knows CHANGE-REQUEST; if not, it ignores it.
    """

    def __init__(self, one: Endpoint, other: Endpoint, *, honours: bool = True) -> None:
        super().__init__()
        self.endpoints = [
            Endpoint(ip, port) for ip in (one.ip, other.ip) for port in (one.port, other.port)
        ]
        self.silent: set[Endpoint] = set()
        """Endpoints that neither hear nor speak."""

        self.claims: Endpoint | None = None
        """What it says to be its other address; `None`: the truth."""

        self._one, self._other = one, other
        self._honours = honours

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        if datagram.destination in self.silent:
            return
        walked = walk(datagram.payload)
        flags = next((v[3] for kind, v in walked.values if kind == 0x0003), 0)
        here = datagram.destination
        ip = self._turned(here.ip, self._one.ip, self._other.ip) if flags & 4 else here.ip
        port = self._turned(here.port, self._one.port, self._other.port) if flags & 2 else here.port
        source = Endpoint(ip, port) if self._honours else here
        if source in self.silent:
            return
        alternate = Endpoint(
            self._turned(here.ip, self._one.ip, self._other.ip),
            self._turned(here.port, self._one.port, self._other.port),
        )
        transaction = walked.transaction_id
        mapped = codec.pack_xor_address(
            (str(datagram.source.ip), datagram.source.port), transaction
        )
        claimed = self.claims or alternate
        other = codec.pack_address((str(claimed.ip), claimed.port))
        body = _attribute(0x0020, mapped) + _attribute(0x802C, other)
        header = struct.pack("!HH", 0x0101, len(body)) + MAGIC_COOKIE + transaction
        self._outbox.append(Datagram(source, datagram.source, header + body))

    @staticmethod
    def _turned(value: T, one: T, other: T) -> T:
        return other if value == one else one


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value
