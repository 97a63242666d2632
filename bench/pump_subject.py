"""The measured side of `bench pump`: forwards WireGuard's datagrams to a server, or back.

`python -m bench.pump_subject VARIANT WIREGUARD_PORT SERVER_PORT`
"""

import asyncio
import json
import socket
import sys
import time
from collections import Counter
from typing import Any, cast

import uvloop
from aioice.turn import TurnClientUdpProtocol, TurnTransport

from nat.io.channels import Channels
from nat.io.frames import FrameSorter
from nat.io.pump import DatagramPump

CHANNEL = 0x4000
PEER = ("192.0.2.1", 51820)


async def our_pump(wireguard: int, server: int) -> tuple[int, int]:
    """Return the ports of the loopback endpoint and of the socket to the server."""
    counters: Counter[str] = Counter()
    channels = Channels(
        data_port=wireguard, forward=lambda *batch: pump.forward(*batch), counters=counters
    )
    sorter = FrameSorter(channels=channels, on_frame=lambda _: None, counters=counters)
    uplink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    uplink.connect(("127.0.0.1", server))
    pump = DatagramPump(uplink, sorter=sorter, counters=counters)
    return channels.plug(CHANNEL).port, uplink.getsockname()[1]


class ToTurn(asyncio.DatagramProtocol):
    """WireGuard's side: what comes goes to the peer over the channel."""

    def __init__(self, turn: TurnTransport) -> None:
        self._turn = turn

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._turn.sendto(data, PEER)


class ToWireGuard(asyncio.DatagramProtocol):
    """The server's side: what comes goes to WireGuard."""

    transport: asyncio.DatagramTransport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.transport.sendto(data)


async def aioice_pump(wireguard: int, server: int) -> tuple[int, int]:
    """Do the same with aioice's TURN client, its channel already bound."""
    loop = asyncio.get_running_loop()
    address = ("127.0.0.1", server)
    inner = TurnClientUdpProtocol(address, "", "", lifetime=600, channel_refresh_time=500)
    uplink, _ = await loop.create_datagram_endpoint(lambda: inner, remote_addr=address)
    inner.peer_to_channel[PEER] = CHANNEL
    inner.channel_to_peer[CHANNEL] = PEER
    inner.channel_refresh_at[CHANNEL] = time.time() + 3600
    back = ToWireGuard()
    inner.receiver = back
    endpoint, _ = await loop.create_datagram_endpoint(
        lambda: ToTurn(TurnTransport(inner)),
        local_addr=("127.0.0.1", 0),
        remote_addr=("127.0.0.1", wireguard),
    )
    back.transport = endpoint
    return (
        cast("int", endpoint.get_extra_info("sockname")[1]),
        cast("int", uplink.get_extra_info("sockname")[1]),
    )


async def main(variant: str, wireguard: int, server: int) -> None:
    make = {"pump": our_pump, "aioice": aioice_pump}[variant]
    endpoint, uplink = await make(wireguard, server)
    print(json.dumps({"endpoint": endpoint, "uplink": uplink}), flush=True)
    loop = asyncio.get_running_loop()

    def tell() -> None:
        if not sys.stdin.readline():
            loop.stop()
        print(json.dumps({"cpu": time.process_time()}), flush=True)

    loop.add_reader(sys.stdin.fileno(), tell)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
