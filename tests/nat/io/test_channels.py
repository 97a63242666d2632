"""The loopback endpoints that WireGuard sees of relayed peers."""

import asyncio
import socket
from functools import partial

from nat.machine import Endpoint
from tests.support.relay import (
    CHANNEL,
    CHECK,
    LOOPS,
    OTHER,
    LoopFactory,
    channel_data,
    port_of,
    receive,
    receive_from,
    relayed,
    run_on,
    send_to,
    udp_socket,
    until,
)


@LOOPS
def test_channels_do_not_mix(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with relayed() as r:
            endpoints = {r.channels.plug(CHANNEL): CHANNEL, r.channels.plug(OTHER): OTHER}
            assert len(endpoints) == 2
            for endpoint in endpoints:
                send_to(r.wireguard, [str(endpoint.port).encode()], endpoint)
            frames = await receive(r.server, 2)
            assert sorted(frames) == sorted(
                channel_data(channel, str(endpoint.port).encode())
                for endpoint, channel in endpoints.items()
            )
            for frame in frames:
                r.server.send(frame)
            for payload, port in await receive_from(r.wireguard, 2):
                assert port == int(payload)

    run_on(loop_factory, scenario())


@LOOPS
def test_another_program_of_this_host_cannot_send_on_a_channel(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with relayed() as r, udp_socket() as stranger:
            endpoint = r.channels.plug(CHANNEL)
            send_to(stranger, [b"forged"], endpoint)
            send_to(r.wireguard, [b"genuine"], endpoint)
            assert await receive(r.server, 1) == [channel_data(CHANNEL, b"genuine")]

    run_on(loop_factory, scenario())


@LOOPS
def test_an_unplugged_channel_is_silent_until_it_is_plugged_again(
    loop_factory: LoopFactory,
) -> None:
    async def scenario() -> None:
        with relayed() as r:
            r.channels.plug(OTHER)
            r.channels.plug(CHANNEL)
            r.channels.unplug(CHANNEL)
            r.channels.unplug(CHANNEL)
            r.server.send(channel_data(CHANNEL, b"nobody is there"))
            r.server.send(channel_data(OTHER, b"somebody is"))
            assert await receive(r.wireguard, 1) == [b"somebody is"]
            assert r.counters["received-dropped-unplugged"] == 1

            endpoint = r.channels.plug(CHANNEL)
            r.server.send(channel_data(CHANNEL, b"back"))
            assert await receive(r.wireguard, 1) == [b"back"]
            send_to(r.wireguard, [b"and forth"], endpoint)
            assert await receive(r.server, 1) == [channel_data(CHANNEL, b"and forth")]

    run_on(loop_factory, scenario())


@LOOPS
def test_draining_calls_back_after_each_batch_until_the_channel_is_plugged_again(
    loop_factory: LoopFactory,
) -> None:
    async def scenario() -> None:
        with relayed() as r:
            first = r.channels.plug(CHANNEL)
            r.channels.plug(OTHER)
            log: list[str] = []

            def on_late() -> None:
                # Called after delivery: what was late lies in WireGuard's socket.
                log.append(r.wireguard.recv(100).decode())

            r.channels.drain(CHANNEL, on_late)
            r.channels.drain(0x4FFF, on_late)
            for payload in (b"one", b"two"):
                r.server.send(channel_data(CHANNEL, payload))
                await until(partial(log.__contains__, payload.decode()))
            r.server.send(channel_data(OTHER, b"not draining"))
            assert await receive(r.wireguard, 1) == [b"not draining"]
            assert log == ["one", "two"]

            assert r.channels.plug(CHANNEL) == first
            r.server.send(channel_data(CHANNEL, b"relayed again"))
            assert await receive(r.wireguard, 1) == [b"relayed again"]
            assert log == ["one", "two"]

    run_on(loop_factory, scenario())


@LOOPS
def test_wireguard_may_be_away_for_a_while(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with relayed() as r:
            r.channels.plug(CHANNEL)
            port = port_of(r.wireguard)
            r.wireguard.close()
            for _ in range(3):
                r.server.send(channel_data(CHANNEL, b"lost"))
            r.server.send(CHECK)
            await r.control.get()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
                back.setblocking(False)
                back.bind(("127.0.0.1", port))
                r.server.send(channel_data(CHANNEL, b"found"))
                assert await receive(back, 1) == [b"found"]

    run_on(loop_factory, scenario())


def test_endpoints_of_channels_are_on_loopback() -> None:
    async def scenario() -> None:
        with relayed() as r:
            endpoint = r.channels.plug(CHANNEL)
            assert isinstance(endpoint, Endpoint)
            assert endpoint.ip.is_loopback
            assert CHANNEL in r.channels
            assert OTHER not in r.channels

    asyncio.run(scenario())
