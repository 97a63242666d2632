"""A path agent completes ICE with an unmodified `aioice.Connection`, over real loopback sockets."""

import asyncio
from random import Random

import aioice
import pytest

from nat.candidate import Candidate, CandidateType, local_candidate
from nat.io.driver import Driver
from nat.machine import Datagram, Endpoint
from nat.path.agent import PathAgent
from nat.path.credentials import IceCredentials, Role
from nat.path.events import PathSelected, PeerId
from nat.path.telling import PathEvent
from tests.support.network import endpoint

PATIENCE = 10.0
"""Seconds of real time: aioice's own pace is 20 ms a check."""


class LoopbackSocket(asyncio.DatagramProtocol):
    """One UDP socket of ours: STUN to the agent, the rest to the test."""

    def __init__(self) -> None:
        self.data: asyncio.Queue[bytes] = asyncio.Queue()
        self.driver: Driver[PathEvent] | None = None
        self.base = endpoint("127.0.0.1", 0)
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self.base = endpoint("127.0.0.1", self._transport.get_extra_info("sockname")[1])

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def send(self, datagram: Datagram) -> None:
        self.send_data(datagram.payload, datagram.destination)

    def send_data(self, payload: bytes, to: Endpoint) -> None:
        assert self._transport is not None
        self._transport.sendto(payload, (str(to.ip), to.port))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[:1] < b"\x04" and self.driver is not None:
            self.driver.receive_datagram(Datagram(endpoint(*addr), self.base, data))
        else:
            self.data.put_nowait(data)


def foreign_candidate(candidate: aioice.Candidate) -> Candidate:
    at = endpoint(candidate.host, candidate.port)
    return Candidate(CandidateType.HOST, at, candidate.priority, candidate.foundation, at)


async def complete_ice(role: Role) -> None:
    remote = aioice.Connection(
        ice_controlling=role is Role.CONTROLLED, components=1, use_ipv4=True, use_ipv6=False
    )
    socket = LoopbackSocket()
    await socket.open()
    selected: asyncio.Future[PathSelected] = asyncio.get_running_loop().create_future()

    def on_event(event: PathEvent) -> None:
        if isinstance(event, PathSelected) and not selected.done():
            selected.set_result(event)

    try:
        await remote.gather_candidates()
        agent = PathAgent(
            peer=PeerId("aioice"),
            credentials=IceCredentials(
                "ours", "our-password-of-24-bytes", remote.local_username, remote.local_password
            ),
            role=role,
            rng=Random(1),
            now=asyncio.get_running_loop().time(),
            may_check=lambda ip: ip.version == 4,
        )
        socket.driver = Driver[PathEvent](agent, send=socket.send, on_event=on_event)
        base = local_candidate(CandidateType.HOST, socket.base, socket.base)
        remote.remote_username, remote.remote_password = "ours", "our-password-of-24-bytes"
        await remote.add_remote_candidate(aioice.Candidate.from_sdp(base.to_sdp()))
        await remote.add_remote_candidate(None)
        now = asyncio.get_running_loop().time()
        agent.set_local_candidates([base], now)
        agent.set_remote_candidates([foreign_candidate(c) for c in remote.local_candidates], now)
        socket.driver.drain()

        await remote.connect()
        path = (await selected).path
        socket.send_data(b"\x04 to aioice", path.remote.endpoint)
        assert await remote.recv() == b"\x04 to aioice"
        await remote.send(b"\x04 from aioice")
        assert await socket.data.get() == b"\x04 from aioice"

        assert path.base == socket.base
        theirs = {endpoint(c.host, c.port) for c in remote.local_candidates}
        assert path.remote.endpoint in theirs
    finally:
        if socket.driver is not None:
            socket.driver.close()
        socket.close()
        await remote.close()


@pytest.mark.parametrize("role", list(Role))
def test_completes_with_an_unmodified_aioice(role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    # aioice leaves out loopback, which is all the network that a test may count on.
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    asyncio.run(asyncio.wait_for(complete_ice(role), PATIENCE))
