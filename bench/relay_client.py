"""A TURN client for one peer and nothing else: the relay port and the allocation of `nat`.

`python -m bench.relay_client URI CA_FILE WIREGUARD_PORT REMOTE_ENDPOINT`; prints, as JSON, the relayed
endpoint and the loopback port for WireGuard, then answers each line with its CPU time and counters.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from random import SystemRandom
from typing import Final
from urllib.parse import urlsplit

import uvloop

from nat.io.relay import RelayPort, RelaySettings
from nat.machine import Endpoint
from nat.turn.allocation import Allocation
from nat.turn.events import ChannelBound
from nat.turn.server import StaticCredentials, TurnServer, TurnTransport

CREDENTIALS: Final = StaticCredentials("kbwg", "relay-me")


class Client:
    """Drives an allocation on a relay port until its peer has a channel."""

    def __init__(self, server: TurnServer, settings: RelaySettings, remote: Endpoint) -> None:
        self._loop = asyncio.get_running_loop()
        self._remote = remote
        self._machine = Allocation(server, rng=SystemRandom(), dropped=Counter())
        self._timer: asyncio.TimerHandle | None = None
        self.port = RelayPort(
            server,
            settings,
            on_frame=self._on_frame,
            on_connected=self._on_connected,
            on_disconnected=self._on_disconnected,
            rng=SystemRandom(),
        )

    def _on_frame(self, frame: bytes) -> None:
        self._machine.receive(frame, self._loop.time())
        self._drain()

    def _on_connected(self) -> None:
        now = self._loop.time()
        self._machine.connected(now)
        self._machine.want(True, now)
        self._machine.permit(self._remote.ip, now)
        self._machine.bind(self._remote, now)
        self._drain()

    def _on_disconnected(self, reason: str) -> None:
        raise SystemExit(f"the server is lost: {reason}")

    def _drain(self) -> None:
        for frame in self._machine.frames_to_send():
            self.port.send(frame)
        while (event := self._machine.next_event()) is not None:
            if isinstance(event, ChannelBound):
                loopback = self.port.plug(event.channel)
                tell({"relayed": str(event.relayed), "loopback": loopback.port})
        if self._timer is not None:
            self._timer.cancel()
        if (at := self._machine.next_timeout()) is not None:
            self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._machine.handle_timeout(self._loop.time())
        self._drain()


def tell(document: dict[str, object]) -> None:
    print(json.dumps(document), flush=True)


def server_of(uri: str) -> TurnServer:
    scheme, _, rest = uri.partition(":")
    parts = urlsplit(f"//{rest}")
    transport = TurnTransport.TCP if parts.query == "transport=tcp" else TurnTransport.UDP
    if scheme == "turns":
        transport = TurnTransport.TLS
    assert parts.hostname is not None
    return TurnServer(parts.hostname, parts.port or 3478, transport, CREDENTIALS)


async def main(uri: str, ca_file: str, data_port: str, remote: str) -> None:
    ip, _, port = remote.rpartition(":")
    client = Client(
        server_of(uri),
        RelaySettings(int(data_port), ca_file=Path(ca_file)),
        Endpoint(ip_address(ip), int(port)),
    )

    def answer() -> None:
        if sys.stdin.readline():
            tell({"cpu": time.process_time(), **client.port.counters})
        else:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), answer)
    await client.port.run()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
