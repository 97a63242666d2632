"""HTTP on a unix socket: what is asked is answered, and what is no HTTP harms nobody."""

import asyncio
import http.client
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.agent.http_server import MAX_REQUEST, Request, Response, serve


class Host:
    """A server, and what it was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[Request] = []
        self.busy = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, request: Request) -> Response:
        self.asked.append(request)
        self.busy.set()
        await self.gate.wait()
        return Response(200, '{"said": "ü"}') if request.method == "GET" else Response(202)

    async def say(self, data: bytes) -> bytes:
        """Send bytes and the end of them; return what comes back."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            writer.write(data)
            writer.write_eof()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


def play(path: Path, talk: Callable[[Host], Awaitable[None]]) -> Host:
    async def scenario() -> Host:
        host = Host(path / "agent.sock")
        async with serve(host.path, host.handle):
            await talk(host)
        return host

    return asyncio.run(scenario())


def test_the_standard_librarys_client_is_answered(tmp_path: Path) -> None:
    def ask(path: Path, method: str, target: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("kbwg", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.connect(str(path))
        connection.request(method, target, body=b"ignored" if method == "POST" else None)
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        finally:
            connection.close()

    async def talk(host: Host) -> None:
        got = await asyncio.to_thread(ask, host.path, "GET", "/why?peer=bob%2Fnas&x=")
        assert got == (200, '{"said": "ü"}'.encode())
        assert await asyncio.to_thread(ask, host.path, "POST", "/down") == (202, b"")

    host = play(tmp_path, talk)

    assert host.asked == [
        Request("GET", "/why", {"peer": "bob/nas", "x": ""}),
        Request("POST", "/down", {}),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 2 * MAX_REQUEST,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n" + b"x" * 99_999,
        b"GET http://[/ HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["no HTTP", "no host", "long head", "long body", "no URL"],
)
def test_what_is_no_request_is_refused_and_asks_nothing(tmp_path: Path, data: bytes) -> None:
    async def talk(host: Host) -> None:
        assert (await host.say(data))[:12] in (b"HTTP/1.1 400", b"")

    assert play(tmp_path, talk).asked == []


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.binary(max_size=60), max_size=5), st.integers(0, 40))
def test_after_any_bytes_the_next_one_is_answered(
    tmp_path: Path, noise: list[bytes], cut: int
) -> None:
    request = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"

    async def talk(host: Host) -> None:
        for each in noise:
            await host.say(request[:cut] + each)
        assert (await host.say(request)).startswith(b"HTTP/1.1 200")

    play(tmp_path, talk)


def test_what_was_asked_before_the_end_is_answered_before_it(tmp_path: Path) -> None:
    async def scenario() -> bytes:
        host = Host(tmp_path / "agent.sock")
        host.gate.clear()
        async with serve(host.path, host.handle):
            saying = asyncio.create_task(host.say(b"POST /down HTTP/1.1\r\nHost: x\r\n\r\n"))
            await host.busy.wait()
            asyncio.get_running_loop().call_later(0.05, host.gate.set)
        return await saying

    assert asyncio.run(scenario()).startswith(b"HTTP/1.1 202")
