"""HTTP/1.1 on a unix socket (RFC 9112): one request a connection, answered and closed.

h11 knows the protocol. A framework that does more would be a tenth of the agent's memory, for four
questions that its own host asks it now and then.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import h11

_log = logging.getLogger(__name__)

MAX_REQUEST: Final = 16 * 1024
"""Bytes of a request's head, and of its body."""

CHUNK: Final = 4096
"""Bytes that are read at once."""

PATIENCE: Final = 5.0
"""Seconds within which a request must be whole, and for which those under way are waited for at the
end."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked; a body means nothing to anybody here."""

    method: str
    path: str
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered: JSON, or nothing."""

    status: int
    body: str = ""


Handle = Callable[[Request], Awaitable[Response]]


@asynccontextmanager
async def serve(path: Path, handle: Handle) -> AsyncIterator[None]:
    """Answer requests while the context is open, and those that have come in by then.

    Raises:
        OSError: the socket cannot be made.
    """
    conversations: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        conversations.add(task)
        try:
            await _converse(reader, writer, handle)
        finally:
            conversations.discard(task)

    server = await asyncio.start_unix_server(converse, path)
    try:
        yield
    finally:
        server.close()
        if conversations:
            await asyncio.wait(conversations, timeout=PATIENCE)


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handle
) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST)
    try:
        try:
            async with asyncio.timeout(PATIENCE):
                request = await _receive(connection, reader)
            response = await handle(request) if request is not None else None
        except (h11.RemoteProtocolError, ValueError, TimeoutError):
            response = Response(400)
        if response is not None:
            _send(connection, writer, response)
            await writer.drain()
    except (OSError, h11.LocalProtocolError) as error:
        _log.debug("request not answered", extra={"error": str(error)})
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _receive(connection: h11.Connection, reader: asyncio.StreamReader) -> Request | None:
    """Read a whole request; `None`: the other side has closed instead.

    Raises:
        h11.RemoteProtocolError: it is no HTTP, or too long.
        ValueError: its target is no URL.
    """
    request: Request | None = None
    body = 0
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(await reader.read(CHUNK))
            case h11.Request(method=method, target=target):
                url = urlsplit(target.decode("ascii"))
                query = dict(parse_qsl(url.query, keep_blank_values=True))
                request = Request(method.decode("ascii"), url.path, query)
            case h11.Data(data=data):
                body += len(data)
                if body > MAX_REQUEST:
                    raise h11.RemoteProtocolError("too long", error_status_hint=413)
            case h11.EndOfMessage():
                return request
            case _:
                return None


def _send(connection: h11.Connection, writer: asyncio.StreamWriter, response: Response) -> None:
    body = response.body.encode()
    headers = [("content-length", str(len(body))), ("connection", "close")]
    if body:
        headers.append(("content-type", "application/json; charset=utf-8"))
    for event in (
        h11.Response(status_code=response.status, headers=headers),
        h11.Data(data=body),
        h11.EndOfMessage(),
    ):
        writer.write(connection.send(event) or b"")
