"""A relay port, and the TCP or TLS server that a test plays for it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from nat.io.relay import RelayPort, RelaySettings
from nat.machine import IPAddress
from nat.turn.server import TurnServer, TurnTransport

from .relay import channel_data


class Server:
    """A TCP or TLS server: what it got, and a way to send and to hang up."""

    def __init__(self) -> None:
        self.port = 0
        self.received = b""
        self.connections: list[asyncio.StreamWriter] = []
        self.alpn: list[str | None] = []
        self.reading = asyncio.Event()
        self.reading.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        if (tls := writer.get_extra_info("ssl_object")) is not None:
            self.alpn.append(tls.selected_alpn_protocol())
        try:
            while data := await reader.read(1 << 16):
                self.received += data
                await self.reading.wait()
        except OSError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def server(context: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Server]:
    it = Server()
    listener = await asyncio.start_server(it.serve, "127.0.0.1", port, ssl=context)
    it.port = listener.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        for connection in it.connections:
            connection.close()
        listener.close()


class Owner:
    """Whoever runs a relay port."""

    def __init__(
        self,
        port: int,
        transport: TurnTransport,
        *,
        data_port: int = 9,
        ca_file: Path | None = None,
        host: str | None = None,
    ) -> None:
        self.log: list[str] = []
        self.frames: list[bytes] = []
        self.source: IPAddress | None = None
        """Where packets to the server leave from now; `None`: there is no route."""
        if host is None:
            host = "localhost" if transport is TurnTransport.TLS else "127.0.0.1"
        self.port = RelayPort(
            TurnServer(host, port, transport),
            RelaySettings(data_port=data_port, ca_file=ca_file),
            on_frame=self.frames.append,
            on_connected=lambda: self.log.append("connected"),
            on_disconnected=self.log.append,
            rng=Random(1),
            way=lambda remote, mark: self.source,
        )

    def saw(self, *log: str) -> Callable[[], bool]:
        return lambda: self.log == list(log)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RelayPort]:
        task = asyncio.get_running_loop().create_task(self.port.run())
        try:
            yield self.port
        finally:
            task.cancel()
            await asyncio.wait([task])


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number + b"x" * (number * 37 % 1400) for number in range(count)]


def padded(channel: int, payload: bytes) -> bytes:
    frame = channel_data(channel, payload)
    return frame + bytes(-len(frame) % 4)
