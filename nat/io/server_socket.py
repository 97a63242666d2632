"""Connected sockets to a TURN server: name, address family, mark, TLS."""

import asyncio
import errno
import secrets
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from aiohappyeyeballs import start_connection

from ..stun.message import HEADER_SIZE, TRANSACTION_ID_SIZE, binding_request, is_stun
from .stream_pump import prepare_stream

STAGGER: Final = 0.25
"""Seconds after which the next address is tried beside the one before (RFC 8305 §5)."""

PROBES: Final = 3
"""Binding requests to each of several UDP addresses, one each `STAGGER`."""

ALPN: Final = "stun.turn"
"""Protocol name of TURN over TLS (RFC 7443 §4)."""

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
"""An answer of getaddrinfo: family, type, protocol, canonical name, socket address."""


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that believes in the system's authorities, and in those of `ca_file`.

    Raises:
        OSError: the file cannot be read, or is no certificate.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN])
    return context


async def resolve(host: str, port: int, kind: socket.SocketKind) -> Sequence[AddressInfo]:
    """Look a server up, best address first (RFC 6724).

    Raises:
        OSError: it has no address, or the resolver fails.
    """
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)


async def connect_tcp(addresses: Sequence[AddressInfo], mark: int) -> socket.socket:
    """Connect to the first address that answers (RFC 8305), marked from the first packet on.

    Raises:
        OSError: none answers.
    """

    def marked(address: AddressInfo) -> socket.socket:
        return _marked(address, mark)

    sock = await start_connection(
        addresses, happy_eyeballs_delay=STAGGER, interleave=1, socket_factory=marked
    )
    prepare_stream(sock)
    return sock


async def connect_udp(addresses: Sequence[AddressInfo], mark: int) -> socket.socket:
    """Return a socket that is connected to the first address that answers a Binding request.

    UDP connects to dead addresses as well, and one family of a server may be dead. Without a
    choice nothing is asked; and if none answers, as of a server that does TURN only, the best
    address is taken unasked.

    Raises:
        OSError: there is no route to any address, or no socket of its family.
    """
    socks = _routed(addresses, mark)
    chosen = None
    try:
        chosen = socks[0] if len(socks) == 1 else await _first_to_answer(socks)
    finally:
        for sock in socks:
            if sock is not chosen:
                sock.close()
    return chosen


async def _first_to_answer(socks: Sequence[socket.socket]) -> socket.socket:
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[socket.socket] = loop.create_future()
    transaction_id = secrets.token_bytes(TRANSACTION_ID_SIZE)

    def on_readable(sock: socket.socket) -> None:
        with suppress(OSError):  # refused: another may answer
            answer = sock.recv(_MAX_ANSWER)
            genuine = is_stun(answer) and answer[8:HEADER_SIZE] == transaction_id
            if genuine and not answered.done():
                answered.set_result(sock)

    for sock in socks:
        loop.add_reader(sock.fileno(), on_readable, sock)
    try:
        for turn in range(len(socks) + PROBES):
            for sock in socks[: turn + 1]:
                with suppress(OSError):
                    sock.send(binding_request(transaction_id))
            await asyncio.wait([answered], timeout=STAGGER)
            if answered.done():
                return answered.result()
    finally:
        answered.cancel()
        for sock in socks:
            loop.remove_reader(sock.fileno())
    return socks[0]


def _routed(addresses: Sequence[AddressInfo], mark: int) -> list[socket.socket]:
    """Return a connected socket for each address that there is a route to."""
    socks: list[socket.socket] = []
    failure = OSError(errno.EADDRNOTAVAIL, "the server has no address")
    for address in addresses:
        try:
            sock = _marked(address, mark)
        except OSError as error:
            failure = error  # a kernel without IPv6, for one
            continue
        try:
            sock.connect(address[4])
        except OSError as error:
            sock.close()
            failure = error
        else:
            socks.append(sock)
    if not socks:
        raise failure
    return socks


def _marked(address: AddressInfo, mark: int) -> socket.socket:
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    except OSError:
        sock.close()
        raise
    return sock


_MAX_ANSWER: Final = 2048
"""Bytes read of an answer to a Binding request."""
