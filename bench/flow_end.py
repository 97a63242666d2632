"""One end of a flow: `… flow_end LOCAL REMOTE RATE`, endpoints as `ip:port`, inside of a node.

Sends numbered datagrams and notes by the kernel's clock when those of the other end arrive. It
needs neither interface nor route at its start: the address may come and go. Each line on standard
input asks for what is known, as one JSON object; the end of input ends it.
"""

import json
import os
import selectors
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Final

NUMBER: Final = struct.Struct("!Q")
PADDING: Final = bytes(100 - NUMBER.size)
"""To 100 bytes: about a packet of speech."""

IP_FREEBIND: Final = 15
SO_TIMESTAMPNS: Final = 35
_TIMESPEC: Final = struct.Struct("@qq")


class End:
    """Sends at a fixed rate, and keeps when what arrived."""

    def __init__(self, local: tuple[str, int], remote: tuple[str, int], rate: float) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind(local)
        self._socket.setblocking(False)
        self._remote = remote
        self._interval = 1.0 / rate
        self._sent = 0
        self._arrived: list[float] = []

    def run(self) -> None:
        """Work until the end of input."""
        due = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(sys.stdin, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select(due - time.monotonic())}
                if self._socket in ready:
                    self._receive()
                if time.monotonic() >= due:
                    self._send()
                    due += self._interval
                if sys.stdin in ready:
                    if not os.read(sys.stdin.fileno(), 1024):
                        return
                    self._tell()

    def _send(self) -> None:
        # No route, no key, no interface: it is lost.
        with suppress(OSError):
            self._socket.sendto(NUMBER.pack(self._sent) + PADDING, self._remote)
        self._sent += 1

    def _receive(self) -> None:
        while True:
            try:
                _, ancillary, _, _ = self._socket.recvmsg(2048, 64)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier datagram
            (stamp,) = (value for _, kind, value in ancillary if kind == SO_TIMESTAMPNS)
            seconds, nanoseconds = _TIMESPEC.unpack(stamp)
            self._arrived.append(seconds + nanoseconds / 1e9)

    def _tell(self) -> None:
        now = time.clock_gettime(time.CLOCK_REALTIME)
        print(json.dumps({"at": now, "arrived": self._arrived}), flush=True)
        self._arrived.clear()


def _endpoint(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address, int(port)


if __name__ == "__main__":
    print("ready", flush=True)
    End(_endpoint(sys.argv[1]), _endpoint(sys.argv[2]), float(sys.argv[3])).run()
