"""One TURN server as its machine and WireGuard see it: frames, and a pump for data."""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Final, assert_never

from ..backoff import Backoff
from ..machine import Endpoint, IPAddress
from ..turn.server import TurnServer, TurnTransport
from .channels import Channels
from .frames import FrameSorter
from .interfaces import usual_source
from .pump import DatagramPump, Pump
from .server_socket import connect_tcp, connect_udp, resolve, tls_context
from .stream_pump import StreamPump

_log = logging.getLogger(__name__)

RECONNECT: Final = Backoff(first=0.25, factor=2.0, longest=30.0, jitter=0.3)
"""Waits between attempts to reach a server: at once after a hiccup, and never so rarely that a
relay stays unused for more than half a minute after it came back."""

CONNECT_TIMEOUT: Final = 15.0
"""Seconds for the look-up, TCP's handshake (of whose SYNs two may be lost) and that of TLS."""

HURRIED: Final = 2.0
"""Seconds that are left of an attempt when the network changes: it may have begun on the old one."""

STABLE: Final = 10.0
"""Seconds after which a connection counts as a success: a server that accepts and hangs up would
otherwise be tried at full speed for ever."""


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """What all relay ports of an agent share.

    Attributes:
        data_port: WireGuard's listen port.
        mark: SO_MARK of every packet to the servers, so that routes into the tunnel do not
            swallow them; 0 for none.
        ca_file: certificates of further authorities that servers' may be signed by.
    """

    data_port: int
    mark: int = 0
    ca_file: Path | None = None


class RelayPort:
    """A connection to one TURN server that is made again whenever it is lost.

    Args:
        server: where, and over what.
        settings: what all ports share.
        on_frame: gets STUN messages, and ChannelData whose payload is STUN.
        on_connected: the server can be reached: frames can be sent.
        on_disconnected: it cannot (any more), and why. Its allocation is gone (an allocation
            belongs to a 5-tuple, RFC 8656 §2.2), and its channels with it: all are unplugged.
        rng: jitter of the waits.
        way: returns the source address of a packet to an address, with a mark; `None`: no route.
    """

    def __init__(
        self,
        server: TurnServer,
        settings: RelaySettings,
        *,
        on_frame: Callable[[bytes], None],
        on_connected: Callable[[], None],
        on_disconnected: Callable[[str], None],
        rng: Random,
        way: Callable[[IPAddress, int], IPAddress | None] = usual_source,
    ) -> None:
        self._way = way
        self._ends: tuple[IPAddress, IPAddress] | None = None
        self._server = server
        self._settings = settings
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._rng = rng
        self.counters: Counter[str] = Counter()
        """Frames and datagrams by fate; connections made and lost."""
        self._channels = Channels(
            data_port=settings.data_port, forward=self._forward, counters=self.counters
        )
        self._sorter = FrameSorter(
            channels=self._channels, on_frame=on_frame, counters=self.counters
        )
        self._pump: Pump | None = None
        self._lost: asyncio.Future[str] | None = None
        self._attempt: asyncio.Timeout | None = None
        self._hurry = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether frames can be sent."""
        return self._pump is not None

    async def run(self) -> None:
        """Keep the connection until cancelled."""
        loop = asyncio.get_running_loop()
        failures = 0
        try:
            while True:
                began = loop.time()
                reason = await self._connect_once()
                self.close()
                failures = 1 if loop.time() - began >= STABLE else failures + 1
                _log.debug(
                    "TURN server lost", extra={"server": str(self._server), "reason": reason}
                )
                self._on_disconnected(reason)
                await self._pause(RECONNECT.delay(failures, self._rng))
        finally:
            self.close()

    def reconnect(self, reason: str) -> None:
        """Give the connection up and make a new one at once.

        For when the owner knows better: the network changed, or the server does not answer.
        """
        self._hurry.set()
        if self._lost is not None:
            _settle(self._lost, reason)
        if self._pump is None and self._attempt is not None and not self._attempt.expired():
            self._attempt.reschedule(asyncio.get_running_loop().time())

    def network_changed(self) -> None:
        """Make another connection at once if packets to the server now leave from elsewhere.

        The old one would send for ever: from an address that is gone, or by a gateway that takes it
        for spoofed. If nothing of that has changed, the allocation may live on: whether the server
        still knows us, it says itself (`Allocation.probe`).
        """
        if self._pump is not None and self._ends is not None:
            local, remote = self._ends
            source = self._way(remote, self._settings.mark)
            if source not in (None, local):
                self.reconnect("the network changed")
            return
        self._hurry.set()
        if self._attempt is not None and not self._attempt.expired():
            soon = asyncio.get_running_loop().time() + HURRIED
            self._attempt.reschedule(min(soon, self._attempt.when() or soon))

    def send(self, frame: bytes) -> None:
        """Send a STUN message or ChannelData; what cannot be sent is counted, not raised."""
        if self._pump is None:
            self.counters["control-dropped-disconnected"] += 1
        else:
            self._pump.send(frame)

    def plug(self, channel: int) -> Endpoint:
        """Pump this channel's data; return the endpoint that WireGuard's peer gets.

        A channel that is plugged already keeps its endpoint, and stops draining.

        Raises:
            OSError: no socket is to be had.
        """
        return self._channels.plug(channel)

    def unplug(self, channel: int) -> None:
        """Pump this channel no more; harmless if it is not plugged."""
        self._channels.unplug(channel)

    def drain(self, channel: int, on_late: Callable[[], None]) -> None:
        """Call `on_late` right after each batch that is still delivered to WireGuard.

        For a peer that has moved to another path: WireGuard follows what comes late back to the
        relay, so the owner sets its endpoint again at once. Ends with `unplug` or `plug`.
        """
        self._channels.drain(channel, on_late)

    def close(self) -> None:
        """Close the connection and unplug every channel."""
        if self._pump is not None:
            self._pump.close()
            self._pump = None
        self._channels.close()

    async def _connect_once(self) -> str:
        """Connect, and return why that failed or the connection ended."""
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._lost = lost
        self._hurry.clear()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT) as self._attempt:
                self._pump = await self._open(lost)
        except TimeoutError:
            self.counters["connect-failed"] += 1
            return lost.result() if lost.done() else "no answer in time"
        except ssl.SSLCertVerificationError as error:
            self.counters["connect-failed"] += 1
            return f"its certificate is not accepted: {error.verify_message}"
        except (OSError, ValueError) as error:
            # ValueError: a name that the resolver or TLS does not even try.
            self.counters["connect-failed"] += 1
            return getattr(error, "strerror", None) or str(error)
        finally:
            self._attempt = None
        self.counters["connected"] += 1
        self._on_connected()
        return await lost

    async def _open(self, lost: "asyncio.Future[str]") -> Pump:
        host, port, transport = self._server.host, self._server.port, self._server.transport
        mark = self._settings.mark
        match transport:
            case TurnTransport.UDP:
                addresses = await resolve(host, port, socket.SOCK_DGRAM)
                sock = await connect_udp(addresses, mark)
                self._ends = _ends(sock)
                return DatagramPump(sock, sorter=self._sorter, counters=self.counters)
            case TurnTransport.TCP | TurnTransport.TLS:
                addresses = await resolve(host, port, socket.SOCK_STREAM)
                sock = await connect_tcp(addresses, mark)
                self._ends = _ends(sock)
                return await self._open_stream(sock, lost, tls=transport is TurnTransport.TLS)
            case _:
                assert_never(transport)

    async def _open_stream(
        self, sock: socket.socket, lost: "asyncio.Future[str]", *, tls: bool
    ) -> Pump:
        loop = asyncio.get_running_loop()
        pump = StreamPump(
            sorter=self._sorter, counters=self.counters, on_lost=partial(_settle, lost)
        )
        try:
            if tls:
                # Reads files, so not on the loop.
                context = await asyncio.to_thread(tls_context, self._settings.ca_file)
                await loop.create_connection(
                    lambda: pump,
                    sock=sock,
                    ssl=context,
                    server_hostname=self._server.host,
                )
            else:
                await loop.create_connection(lambda: pump, sock=sock)
        except BaseException:
            sock.close()
            raise
        return pump

    def _forward(
        self, channel: int, addresses: list[int], lengths: list[int], lone: memoryview | None
    ) -> None:
        if self._pump is None:
            self.counters["to-server-dropped-disconnected"] += len(lengths)
        else:
            self._pump.forward(channel, addresses, lengths, lone)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return


def _ends(sock: socket.socket) -> tuple[IPAddress, IPAddress]:
    """Return the local and the remote address of a connection."""
    local, remote = (
        ip_address(str(name[0]).partition("%")[0])
        for name in (sock.getsockname(), sock.getpeername())
    )
    return local, remote


def _settle(future: "asyncio.Future[str]", reason: str) -> None:
    if not future.done():
        future.set_result(reason)
