"""Many datagrams a system call (recvmmsg, sendmmsg) and many a packet (UDP GRO and GSO, udp(7)).

Memory is laid out once and passed by address: a batch costs a handful of Python operations, not
several for each datagram. Nothing is copied between receiving and sending, but a datagram that comes
alone: for one, describing where it lies costs more than copying it.
"""

from .inbox import ALONE, LONELY, SLOTS, Inbox, enable_gro
from .layout import UDP_SEGMENT, memory
from .outbox import MAX_SEGMENTS, Outbox

__all__ = [
    "ALONE",
    "LONELY",
    "MAX_SEGMENTS",
    "SLOTS",
    "UDP_SEGMENT",
    "Inbox",
    "Outbox",
    "enable_gro",
    "memory",
]
