"""Between WireGuard's port and a server, real sockets on loopback."""

import asyncio
import random
import socket
from itertools import groupby, pairwise

from nat.io.mmsg import UDP_SEGMENT
from nat.stun.message import binding_request
from tests.support.relay import (
    CHANNEL,
    CHECK,
    LOOPS,
    OTHER,
    LoopFactory,
    channel_data,
    port_of,
    receive,
    relayed,
    run_on,
    send_to,
    until,
)


def sizes(seed: int, count: int) -> list[bytes]:
    """Numbered payloads, mostly full packets in runs, as bulk traffic has them."""
    rng = random.Random(seed)
    return [
        b"\4\0\0\0" + number.to_bytes(4, "big") + bytes(rng.choice([1444, 1444, 1444, 88, 24]))
        for number in range(count)
    ]


@LOOPS
def test_thousands_of_datagrams_pass_both_ways_in_order(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with relayed() as r:
            endpoint = r.channels.plug(CHANNEL)
            for round_ in range(40):
                payloads = sizes(round_, 50)
                send_to(r.wireguard, payloads, endpoint)
                frames = await receive(r.server, 50)
                assert frames == [channel_data(CHANNEL, payload) for payload in payloads]
                for frame in frames:
                    r.server.send(frame)
                assert await receive(r.wireguard, 50) == payloads
            assert r.counters == dict.fromkeys(
                (
                    "from-wireguard-received",
                    "to-server-sent",
                    "from-server-received",
                    "to-wireguard-sent",
                ),
                2000,
            )

    run_on(loop_factory, scenario())


@LOOPS
def test_bursts_that_wireguard_sends_as_one_become_frames(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with relayed() as r:
            endpoint = r.channels.plug(CHANNEL)
            burst = b"".join(number.to_bytes(4, "big") + bytes(996) for number in range(60))
            r.wireguard.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1000)
            send_to(r.wireguard, [burst + b"the last is shorter"], endpoint)

            frames = await receive(r.server, 61)
            assert b"".join(frame[4:] for frame in frames) == burst + b"the last is shorter"
            assert {frame[:4] for frame in frames[:60]} == {channel_data(CHANNEL, bytes(1000))[:4]}

    run_on(loop_factory, scenario())


@LOOPS
def test_bursts_that_the_network_coalesced_are_taken_apart(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with relayed() as r:
            r.channels.plug(CHANNEL)
            r.channels.plug(OTHER)
            payloads = [number.to_bytes(4, "big") + bytes(996) for number in range(30)]
            frames = [channel_data(CHANNEL if n % 3 else OTHER, p) for n, p in enumerate(payloads)]
            r.server.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1004)
            r.server.send(b"".join(frames))

            arrived = await receive(r.wireguard, 30)
            for remainder in ({0}, {1, 2}):
                wanted = [p for n, p in enumerate(payloads) if n % 3 in remainder]
                assert [p for p in arrived if p in wanted] == wanted

    run_on(loop_factory, scenario())


@LOOPS
def test_a_server_over_ipv6(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with relayed(socket.AF_INET6) as r:
            endpoint = r.channels.plug(CHANNEL)
            send_to(r.wireguard, [b"data" * 400], endpoint)
            assert await receive(r.server, 1) == [channel_data(CHANNEL, b"data" * 400)]

    run_on(loop_factory, scenario())


@LOOPS
def test_control_frames_among_data_reach_the_machine_in_order(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with relayed() as r:
            r.channels.plug(CHANNEL)
            control = [binding_request(bytes([n]) * 12) for n in range(20)]
            for number, message in enumerate(control):
                r.server.send(channel_data(CHANNEL, b"data %d" % number))
                r.server.send(message if number % 2 else channel_data(OTHER, message))
            wanted = [m if n % 2 else channel_data(OTHER, m) for n, m in enumerate(control)]
            assert [await r.control.get() for _ in control] == wanted
            assert await receive(r.wireguard, 20) == [b"data %d" % n for n in range(20)]
            r.pump.send(CHECK)
            assert await receive(r.server, 1) == [CHECK]

    run_on(loop_factory, scenario())


HOSTILE = {
    "nothing": b"",
    "a byte": b"\x40",
    "a header alone": channel_data(CHANNEL, b""),
    "cut short": channel_data(CHANNEL, bytes(100))[:-1],
    "longer than it says": channel_data(CHANNEL, bytes(100)) + bytes(4),
    "a length of 64 KiB": CHANNEL.to_bytes(2, "big") + b"\xff\xff" + bytes(60_000),
    "a reserved channel": channel_data(0x5000, b"data"),
    "STUN of a wrong length": CHECK + bytes(4),
    "noise": bytes(range(255, 155, -1)),
}


@LOOPS
def test_hostile_frames_are_dropped_and_counted(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with relayed() as r:
            r.channels.plug(CHANNEL)
            for frame in HOSTILE.values():
                r.server.send(frame)
            r.server.send(channel_data(OTHER, b"a channel that is not plugged"))
            r.server.send(channel_data(CHANNEL, bytes(60_000)))
            r.server.send(channel_data(CHANNEL, b"the end"))

            assert await receive(r.wireguard, 2) == [bytes(60_000), b"the end"]
            assert r.control.empty()
            assert r.counters["received-dropped-malformed"] == len(HOSTILE)
            assert r.counters["received-dropped-unplugged"] == 1

    run_on(loop_factory, scenario())


@LOOPS
def test_a_server_may_be_away_for_a_while(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with relayed() as r:
            uplink = r.server.getpeername()
            port = port_of(r.server)
            endpoint = r.channels.plug(CHANNEL)
            r.server.close()
            r.pump.send(CHECK)
            send_to(r.wireguard, [b"lost"], endpoint)
            await until(lambda: r.counters["to-server-sent"] == 1)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
                back.setblocking(False)
                back.bind(("127.0.0.1", port))
                back.connect(uplink)
                r.pump.send(CHECK)
                assert await receive(back, 1) == [CHECK]

    run_on(loop_factory, scenario())


@LOOPS
def test_a_flood_is_taken_in_turns_with_other_work(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with relayed() as r:
            r.channels.plug(CHANNEL)
            for number in range(500):
                r.server.send(channel_data(CHANNEL, b"%d" % number))
            loop = asyncio.get_running_loop()
            seen: list[int] = []

            def look() -> None:
                seen.append(r.counters["from-server-received"])
                if seen[-1] < 500:
                    loop.call_soon(look)

            loop.call_soon(look)
            assert await receive(r.wireguard, 500) == [b"%d" % number for number in range(500)]
            await until(lambda: seen[-1] == 500)
            # Never more than a batch between two turns of the loop.
            steps = [key for key, _ in groupby(seen)]
            assert max(b - a for a, b in pairwise(steps)) <= 32
            assert len(steps) >= 500 // 32

    run_on(loop_factory, scenario())
