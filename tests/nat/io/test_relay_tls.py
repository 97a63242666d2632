"""TLS to a server: verified, or refused (RFC 8656 §2.1, RFC 7443)."""

import asyncio
import ssl
from ipaddress import ip_address
from pathlib import Path

import pytest

from integration.certificates import AUTHORITY, issue
from nat.io.server_socket import ALPN
from nat.turn.server import TurnTransport
from tests.support.relay import (
    CHANNEL,
    CHECK,
    LOOPS,
    LoopFactory,
    port_of,
    receive,
    run_on,
    send_to,
    udp_socket,
    until,
)
from tests.support.relay_server import Owner, numbered, padded, server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a certificate for localhost and one for another name."""
    root = tmp_path_factory.mktemp("certificates")
    authority = root / "authority"
    authority.mkdir()
    issue(authority, root / "right", names=["localhost"], addresses=[])
    issue(authority, root / "wrong", names=["example.org"], addresses=[ip_address("192.0.2.1")])
    return root


def server_context(directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem", directory / "server.key")
    context.set_alpn_protocols([ALPN])
    return context


@LOOPS
def test_tls_carries_data_both_ways(loop_factory: LoopFactory, certificates: Path) -> None:
    async def scenario() -> None:
        with udp_socket() as wireguard:
            async with server(server_context(certificates / "right")) as it:
                owner = Owner(
                    it.port,
                    TurnTransport.TLS,
                    data_port=port_of(wireguard),
                    ca_file=certificates / "authority" / AUTHORITY,
                )
                async with owner.running() as port:
                    await until(owner.saw("connected"))
                    endpoint = port.plug(CHANNEL)
                    payloads = numbered(100)
                    send_to(wireguard, payloads, endpoint)
                    wanted = b"".join(padded(CHANNEL, each) for each in payloads)
                    await until(lambda: len(it.received) >= len(wanted))
                    assert it.received == wanted
                    it.connections[0].write(wanted)
                    assert await receive(wireguard, 100) == payloads
                    assert it.alpn == [ALPN]

    run_on(loop_factory, scenario())


@LOOPS
@pytest.mark.parametrize(
    ("name", "trusted", "reason"),
    [("wrong", True, "Hostname mismatch"), ("right", False, "unable to get local issuer")],
)
def test_tls_refuses_a_server_that_it_cannot_verify(
    loop_factory: LoopFactory, certificates: Path, name: str, trusted: bool, reason: str
) -> None:
    async def scenario() -> None:
        async with server(server_context(certificates / name)) as it:
            it_loop = asyncio.get_running_loop()
            it_loop.set_exception_handler(lambda *_: None)  # the server's end of it
            ca_file = certificates / "authority" / AUTHORITY if trusted else None
            owner = Owner(it.port, TurnTransport.TLS, ca_file=ca_file)
            async with owner.running() as port:
                await until(lambda: len(owner.log) == 2)
                assert all(line.startswith("its certificate is not accepted") for line in owner.log)
                assert reason in owner.log[0]
                port.send(CHECK)
            assert it.received == b""

    run_on(loop_factory, scenario())
