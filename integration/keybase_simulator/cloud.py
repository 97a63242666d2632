"""The servers, as services that are processes of their own reach them: ROOT/cloud.sock.

A connection first asks for a session (`oneshot`, `provision`), or attaches one that it has:

    as `client`   from then on it is a device's socket: each request of the CLI, and its answer
    as `service`  the service itself; the device is up for as long as the connection is
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from .accounts import Accounts, Session
from .cache import DeviceCache
from .world import Device, ServiceError

Serve = Callable[[Device, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Cloud:
    """Answers services.

    Args:
        accounts: who may log in.
        serve: answers the requests of one device's clients.
        cache: what a device's service remembers; it forgets when the service ends.
    """

    def __init__(
        self, accounts: Accounts, serve: Serve, cache: Callable[[Device], DeviceCache]
    ) -> None:
        self._accounts = accounts
        self._serve = serve
        self._cache = cache

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        while line := await reader.readline():
            request = json.loads(line)
            args: dict[str, Any] = request["args"]
            try:
                match request["rpc"]:
                    case "attach":
                        device = self._accounts.check(Session(args["device"], args["secret"]))
                        _answer(writer, {"result": None})
                        await self._attached(device, args["as"], reader, writer)
                        return
                    case "oneshot":
                        session = self._accounts.oneshot(**args)
                    case "provision":
                        session = self._accounts.provision(**args)
                    case unknown:
                        raise AssertionError(unknown)
            except ServiceError as error:
                _answer(writer, {"error": str(error)})
            else:
                _answer(writer, {"result": vars(session)})

    async def _attached(
        self, device: Device, role: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if role == "client":
            await self._serve(device, reader, writer)
            return
        device.service_up = device.logged_in = True
        device.kbfs_up = False
        try:
            while line := await reader.readline():
                device.kbfs_up = bool(json.loads(line)["args"]["up"])
                _answer(writer, {"result": None})
        finally:
            device.service_up = device.kbfs_up = False
            self._cache(device).forget_users()


def _answer(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
