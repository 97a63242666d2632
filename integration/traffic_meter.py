"""One end of a measurement: `python -m integration.traffic_meter` inside of a node.

Sends numbered datagrams to the other end and notes which of the other's arrive. Commands come
on standard input, one a line: `go`, `stop` (sending), `report` (and end). It prints `ready` at
first and one JSON object at the end.
"""

import argparse
import json
import os
import selectors
import socket
import struct
import sys
import time
from typing import Final

HEADER: Final = struct.Struct("!4sQ")
MAGIC: Final = b"kbwg"
PADDING: Final = bytes(100 - HEADER.size)
"""To 100 bytes: about a packet of speech, the traffic that notices a gap."""


class Meter:
    """Sends at a fixed rate and keeps count of what arrives."""

    def __init__(self, local: tuple[str, int], remote: tuple[str, int], rate: float) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(local)
        self._socket.setblocking(False)
        self._remote = remote
        self._interval = 1.0 / rate
        self._sent = 0
        self._refused = 0
        self._next_at: float | None = None
        self._arrivals: dict[int, int] = {}
        self._highest = -1
        self._reordered = 0
        self._last_at: float | None = None
        self._longest_gap = 0.0

    def run(self) -> dict[str, object]:
        """Work until told to report."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(sys.stdin, selectors.EVENT_READ)
            while True:
                wait = None if self._next_at is None else self._next_at - time.monotonic()
                ready = {key.fileobj for key, _ in selector.select(wait)}
                if self._socket in ready:
                    self._receive()
                if self._next_at is not None and time.monotonic() >= self._next_at:
                    self._send()
                if sys.stdin in ready:
                    # Not readline: it would keep further commands where select cannot see them.
                    commands = os.read(sys.stdin.fileno(), 1024).split() or [b"report"]
                    for command in commands:
                        match command:
                            case b"go":
                                self._next_at = time.monotonic()
                            case b"stop":
                                self._next_at = None
                            case _:
                                return self._report()

    def _send(self) -> None:
        assert self._next_at is not None
        try:
            self._socket.sendto(HEADER.pack(MAGIC, self._sent) + PADDING, self._remote)
        except OSError:
            # No route, no interface: lost, and said so.
            self._refused += 1
        self._sent += 1
        self._next_at += self._interval

    def _receive(self) -> None:
        while True:
            try:
                data, _ = self._socket.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error of an earlier datagram: the other end will miss that one.
                continue
            now = time.monotonic()
            if len(data) < HEADER.size or not data.startswith(MAGIC):
                continue
            _, number = HEADER.unpack_from(data)
            self._arrivals[number] = self._arrivals.get(number, 0) + 1
            self._reordered += number < self._highest
            self._highest = max(self._highest, number)
            if self._last_at is not None:
                self._longest_gap = max(self._longest_gap, now - self._last_at)
            self._last_at = now

    def _report(self) -> dict[str, object]:
        return {
            "sent": self._sent,
            "refused": self._refused,
            "arrived": sorted(self._arrivals),
            "duplicated": sum(self._arrivals.values()) - len(self._arrivals),
            "reordered": self._reordered,
            "longest_gap": self._longest_gap,
        }


def main() -> None:
    """Measure between two endpoints given as `ip:port`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("local")
    parser.add_argument("remote")
    parser.add_argument("--rate", type=float, required=True, help="datagrams per second")
    arguments = parser.parse_args()
    meter = Meter(_endpoint(arguments.local), _endpoint(arguments.remote), arguments.rate)
    print("ready", flush=True)
    print(json.dumps(meter.run()), flush=True)


def _endpoint(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address, int(port)


if __name__ == "__main__":
    main()
