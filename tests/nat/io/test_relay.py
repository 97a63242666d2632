"""A relay port against servers that the test plays, on loopback."""

import asyncio
import socket
from functools import partial
from ipaddress import ip_address

import pytest

from nat.io.relay import RelayPort
from nat.io.server_socket import connect_udp
from nat.stun.message import is_stun
from nat.turn.server import TurnTransport
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
    run_on,
    send_to,
    udp_socket,
    until,
)
from tests.support.relay_server import Owner, numbered, padded, server


def all_read(port: RelayPort, count: int) -> bool:
    return port.counters["from-wireguard-received"] == count


@LOOPS
def test_data_and_control_share_a_stream_in_order(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with udp_socket() as wireguard:
            async with server() as it:
                owner = Owner(it.port, TurnTransport.TCP, data_port=port_of(wireguard))
                async with owner.running() as port:
                    await until(owner.saw("connected"))
                    assert port.connected
                    endpoint = port.plug(CHANNEL)
                    payloads = numbered(200)

                    port.send(CHECK)
                    send_to(wireguard, payloads, endpoint)
                    wanted = CHECK + b"".join(padded(CHANNEL, each) for each in payloads)
                    await until(lambda: len(it.received) >= len(wanted))
                    assert it.received == wanted

                    it.connections[0].write(wanted)
                    assert await receive(wireguard, 200) == payloads
                    assert owner.frames == [CHECK]
                    assert port.counters["to-server-sent"] == 200
                    assert port.counters["to-wireguard-sent"] == 200
        assert not port.connected
        assert owner.log == ["connected"]

    run_on(loop_factory, scenario())


@LOOPS
def test_a_stream_may_be_cut_anywhere(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with udp_socket() as wireguard:
            async with server() as it:
                owner = Owner(it.port, TurnTransport.TCP, data_port=port_of(wireguard))
                async with owner.running() as port:
                    await until(owner.saw("connected"))
                    port.plug(CHANNEL)
                    stream = (
                        padded(CHANNEL, b"first")
                        + CHECK
                        + padded(OTHER, b"?")
                        + padded(CHANNEL, b"last")
                    )
                    for byte in stream:
                        it.connections[0].write(bytes([byte]))
                        await it.connections[0].drain()
                        await asyncio.sleep(0)
                    assert await receive(wireguard, 2) == [b"first", b"last"]
                    assert owner.frames == [CHECK]
                    assert port.counters["received-dropped-unplugged"] == 1

    run_on(loop_factory, scenario())


@LOOPS
def test_a_congested_stream_drops_and_counts_instead_of_queueing(
    loop_factory: LoopFactory,
) -> None:
    async def scenario() -> None:
        with udp_socket() as wireguard:
            async with server() as it:
                it.reading.clear()
                owner = Owner(it.port, TurnTransport.TCP, data_port=port_of(wireguard))
                async with owner.running() as port:
                    await until(owner.saw("connected"))
                    endpoint = port.plug(CHANNEL)
                    payload, sent = bytes(1400), 0
                    while not port.counters["to-server-dropped-congested"]:
                        send_to(wireguard, [payload] * 20, endpoint)
                        sent += 20
                        await until(partial(all_read, port, sent))
                    port.send(CHECK)
                    assert port.counters["control-sent"] == 1

                    it.reading.set()
                    taken = port.counters["to-server-sent"]
                    await until(lambda: len(it.received) == taken * 1404 + len(CHECK))
                    # What got through is whole frames, and the refresh after them.
                    assert it.received == channel_data(CHANNEL, payload) * taken + CHECK
                    assert taken + port.counters["to-server-dropped-congested"] == sent

                    send_to(wireguard, [b"flows again."], endpoint)
                    await until(lambda: it.received.endswith(padded(CHANNEL, b"flows again.")))

    run_on(loop_factory, scenario())


@LOOPS
def test_a_lost_connection_is_made_again_and_its_channels_are_gone(
    loop_factory: LoopFactory,
) -> None:
    async def scenario() -> None:
        with udp_socket() as wireguard:
            async with server() as it:
                owner = Owner(it.port, TurnTransport.TCP, data_port=port_of(wireguard))
                async with owner.running() as port:
                    await until(owner.saw("connected"))
                    port.plug(CHANNEL)
                    await until(lambda: len(it.connections) == 1)
                    it.connections[0].close()
                    await until(owner.saw("connected", "closed by the server", "connected"))
                    await until(lambda: len(it.connections) == 2)
                    endpoint = port.plug(CHANNEL)
                    send_to(wireguard, [b"hello again."], endpoint)
                    await until(lambda: it.received == padded(CHANNEL, b"hello again."))

    run_on(loop_factory, scenario())


@LOOPS
@pytest.mark.parametrize("transport", [TurnTransport.UDP, TurnTransport.TCP])
def test_a_connection_is_made_anew_when_packets_leave_from_elsewhere(
    loop_factory: LoopFactory, transport: TurnTransport
) -> None:
    async def scenario() -> None:
        async with server() as it:
            owner = Owner(it.port, transport)
            async with owner.running() as port:
                await until(owner.saw("connected"))
                for same in (None, ip_address("127.0.0.1")):
                    owner.source = same
                    port.network_changed()
                    await asyncio.sleep(0)
                assert owner.log == ["connected"]

                owner.source = ip_address("192.0.2.7")
                port.network_changed()
                await until(owner.saw("connected", "the network changed", "connected"))

    run_on(loop_factory, scenario())


@LOOPS
def test_a_server_that_is_not_there_yet_is_found_later(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        async with server() as gone:
            port_number = gone.port
        owner = Owner(port_number, TurnTransport.TCP)
        async with owner.running() as port:
            await until(lambda: len(owner.log) >= 2)
            assert "connected" not in owner.log
            port.send(CHECK)
            assert port.counters["control-dropped-disconnected"] == 1
            async with server(port=port_number):
                await until(lambda: owner.log[-1] == "connected")
        assert port.counters["connect-failed"] >= 2

    run_on(loop_factory, scenario())


@LOOPS
def test_asked_for_between_two_attempts_the_next_one_comes_at_once(
    loop_factory: LoopFactory,
) -> None:
    async def scenario() -> None:
        async with server() as gone:
            port_number = gone.port
        owner = Owner(port_number, TurnTransport.TCP)
        async with owner.running() as port:
            for attempts in range(1, 8):
                await until(lambda attempts=attempts: len(owner.log) == attempts)  # type: ignore[misc]
                # Without that the seventh would come some twenty seconds later.
                port.reconnect("the network changed")
            assert "connected" not in owner.log

    run_on(loop_factory, scenario())


@pytest.mark.parametrize("transport", list(TurnTransport))
@pytest.mark.parametrize("host", ["", "a..b", "a" * 64 + ".org", "a\0b", "\udcff"])
@LOOPS
def test_a_name_that_is_none_is_a_server_that_cannot_be_reached(
    loop_factory: LoopFactory, host: str, transport: TurnTransport
) -> None:
    async def scenario() -> None:
        async with server() as it:
            owner = Owner(it.port, transport, host=host)
            async with owner.running():
                await until(lambda: len(owner.log) >= 1)

    run_on(loop_factory, scenario())


@LOOPS
def test_a_stream_that_is_not_turn_is_given_up(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        async with server() as it:
            owner = Owner(it.port, TurnTransport.TCP)
            async with owner.running() as port:
                await until(lambda: len(it.connections) == 1)
                it.connections[0].write(b"\xff" * 100)
                await until(owner.saw("connected", "neither STUN nor ChannelData", "connected"))
                assert port.counters["from-server-malformed"] == 1

    run_on(loop_factory, scenario())


@LOOPS
def test_the_owner_may_ask_for_a_new_connection(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        async with server() as it:
            owner = Owner(it.port, TurnTransport.TCP)
            async with owner.running() as port:
                await until(owner.saw("connected"))
                port.reconnect("the network changed")
                await until(owner.saw("connected", "the network changed", "connected"))
                assert len(it.connections) == 2

    run_on(loop_factory, scenario())


@LOOPS
def test_the_owner_need_not_wait_for_a_connection_that_hangs(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        # The server accepts, and says nothing to TLS.
        async with server() as it:
            owner = Owner(it.port, TurnTransport.TLS)
            async with owner.running() as port:
                await until(lambda: len(it.connections) == 1)
                port.reconnect("the network changed")
                await until(lambda: len(it.connections) == 2)
                assert owner.log == ["the network changed"]

    run_on(loop_factory, scenario())


@LOOPS
def test_over_udp_data_and_control_pass_and_a_new_connection_is_a_new_socket(
    loop_factory: LoopFactory,
) -> None:
    async def scenario() -> None:
        with udp_socket() as wireguard, udp_socket() as it:
            owner = Owner(port_of(it), TurnTransport.UDP, data_port=port_of(wireguard))
            async with owner.running() as port:
                await until(owner.saw("connected"))
                endpoint = port.plug(CHANNEL)
                send_to(wireguard, [b"data"], endpoint)
                port.send(CHECK)
                arrived = await receive_from(it, 2)
                assert [payload for payload, _ in arrived] == [
                    CHECK,
                    channel_data(CHANNEL, b"data"),
                ]
                source = arrived[0][1]
                it.sendto(CHECK, ("127.0.0.1", source))
                it.sendto(channel_data(CHANNEL, b"answer"), ("127.0.0.1", source))
                assert await receive(wireguard, 1) == [b"answer"]
                assert owner.frames == [CHECK]

                port.reconnect("the network changed")
                await until(owner.saw("connected", "the network changed", "connected"))
                port.send(CHECK)
                assert (await receive_from(it, 1))[0][1] != source

    run_on(loop_factory, scenario())


def infos(*socks: socket.socket) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
    return [(sock.family, socket.SOCK_DGRAM, 0, "", sock.getsockname()) for sock in socks]


async def answer_bindings(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    answered = asyncio.Event()

    def on_readable() -> None:
        request, source = sock.recvfrom(2048)
        assert is_stun(request)
        sock.sendto(b"\x01\x01" + request[2:], source)
        answered.set()

    loop.add_reader(sock.fileno(), on_readable)
    await answered.wait()
    loop.remove_reader(sock.fileno())


@LOOPS
def test_of_two_families_the_one_that_answers_is_taken(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with udp_socket(socket.AF_INET6) as dead, udp_socket() as alive:
            async with asyncio.TaskGroup() as group:
                group.create_task(answer_bindings(alive))
                chosen = await connect_udp(infos(dead, alive), mark=0)
            with chosen:
                assert chosen.getpeername() == alive.getsockname()

    run_on(loop_factory, scenario())


@LOOPS
def test_of_two_silent_families_the_better_is_taken(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        with udp_socket(socket.AF_INET6) as first, udp_socket() as second:
            with await connect_udp(infos(first, second), mark=0) as chosen:
                assert chosen.getpeername() == first.getsockname()
            first.recv(2048)
            second.recv(2048)

    run_on(loop_factory, scenario())


def test_without_a_choice_nothing_is_asked() -> None:
    async def scenario() -> None:
        with udp_socket() as only:
            with await connect_udp(infos(only), mark=0) as chosen:
                chosen.send(CHECK)
            assert await receive(only, 1) == [CHECK]

    asyncio.run(scenario())


def test_a_family_that_this_kernel_does_not_have_is_passed_over() -> None:
    async def scenario() -> None:
        with udp_socket() as only:
            # A family without sockets, as IPv6 is where the kernel was told to do without.
            missing = (socket.AF_NETROM, socket.SOCK_DGRAM, 0, "", ("2001:db8::1", 3478, 0, 0))
            with await connect_udp([missing, *infos(only)], mark=0) as chosen:
                assert chosen.getpeername() == only.getsockname()
            with pytest.raises(OSError, match="not supported"):
                await connect_udp([missing], mark=0)

    asyncio.run(scenario())
