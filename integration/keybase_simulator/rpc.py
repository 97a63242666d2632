"""The CLI's connection to the local service: dialling, breaking, and being poisoned."""

import json
import os
import select
import socket
from collections.abc import Callable
from typing import Any


class CommandError(Exception):
    """A command fails with this text."""


class UsageError(Exception):
    """The arguments make no sense."""


class RateLimitedError(CommandError):
    """The server refuses: too many calls (§1.4)."""

    def __init__(self, text: str, reset: int, capacity: int) -> None:
        super().__init__(text)
        self.data = {
            "name": "chat",
            "callsRemaining": 0,
            "windowReset": reset,
            "maxCalls": capacity,
        }


class ServiceClient:
    """A connection to the service, dialled when it is needed.

    A connection that broke while nobody used it is dialled again without a word. A call in flight
    when the service goes fails with `EOF` and is not repeated. A dial that fails is remembered for
    the life of the process: such a pipe is poisoned (§1.1).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.ratelimits: list[dict[str, Any]] = []
        """What the last answer has told of the tanks (§1.4)."""
        self._connection: socket.socket | None = None
        self._buffer = b""
        self._dial_error: str | None = None

    def call(self, rpc: str, **args: Any) -> Any:
        """Ask the service.

        Raises:
            CommandError: the service's error, or the connection's.
        """
        if self._connection is not None and self._is_broken():
            self._drop()
        self.send(rpc, args)
        answer = json.loads(self.next_line())
        if "rate_limit" in answer:
            raise RateLimitedError(**answer["rate_limit"])
        if "error" in answer:
            raise CommandError(answer["error"])
        self.ratelimits = answer.get("ratelimits", [])
        return answer.get("result")

    def send(self, rpc: str, args: dict[str, Any]) -> None:
        """Send a request whose answer is read elsewhere."""
        connection = self.dial()
        try:
            connection.sendall(json.dumps({"rpc": rpc, "args": args}).encode() + b"\n")
        except OSError:
            self._drop()
            raise CommandError("EOF") from None

    def next_line(self, timeout: float | None = None) -> bytes:
        """Return the service's next line; raises `TimeoutError` after `timeout` seconds."""
        connection = self.dial()
        while b"\n" not in self._buffer:
            if not select.select([connection], [], [], timeout)[0]:
                raise TimeoutError
            try:
                chunk = connection.recv(1 << 20)
            except OSError:
                chunk = b""
            if not chunk:
                self._drop()
                raise CommandError("EOF")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def dial(self) -> socket.socket:
        """Return the connection, dialled if need be."""
        if self._dial_error is not None:
            raise CommandError(self._dial_error)
        if self._connection is None:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self.path)
            except OSError as error:
                reason = os.strerror(error.errno or 0).lower()
                self._dial_error = f"dial unix {self.path}: connect: {reason}"
                raise CommandError(self._dial_error) from None
            self._connection = connection
        return self._connection

    def _is_broken(self) -> bool:
        assert self._connection is not None
        if not select.select([self._connection], [], [], 0)[0]:
            return False
        try:
            return self._connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._buffer = b""


Runnable = Callable[[ServiceClient], None]
"""A command whose arguments were parsed; it may print, and raise `CommandError`."""
