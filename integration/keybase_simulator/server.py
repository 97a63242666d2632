"""Serves the world: a unix socket for each device's service, and one for the laboratory.

    ROOT/USER/DEVICE/keybased.sock   dialled by the `keybase` executable: the socket is the identity
    ROOT/cloud.sock                  the servers, for services that are processes (`cloud`)
    ROOT/admin.sock                  faults and looks, one JSON line each (`admin`)

Unix sockets cross network namespaces and Docker volumes, so the simulated Keybase needs no
network of its own beside the simulated internet.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .accounts import Accounts
from .cache import DeviceCache
from .cloud import Cloud
from .events import Events, Listener
from .laboratory import Laboratory
from .rates import REFUSAL
from .seed import DEFAULT_ROOT, accounts_from_environment, world_from_environment
from .service import Service
from .world import CREATED_MS, Device, ServiceError, World

LINE_LIMIT = 64 * 2**20
"""Bytes of the longest line: a thousand messages of 10 kB each way, and then some."""

KBFS_TIMEOUT = 60.0
"""Seconds that a call waits for a KBFS process to connect (§5)."""

MANGLING = ["keybase", "chat", "send", "bob", "done by 100%"]
"""Arguments of a client that make `status` print what is no JSON (§4)."""

FAULT_POLL = 0.02
"""Seconds between looks whether a fault is over."""

OFF_CHAT = frozenset({"getdeviceinfo"})
"""Chat calls that the service answers without chat's servers: they drink of no tank, and their results
tell of none (K: client/chat_svc_handler.go, GetDeviceInfoV1)."""


class Server:
    """The world behind its sockets."""

    def __init__(self, root: Path, world: World, accounts: Accounts | None = None) -> None:
        self._root = root
        self._world = world
        self._cloud = Cloud(accounts or Accounts(world), self._serve, self.cache)
        self._listening: dict[str, asyncio.Server] = {}
        self._connections: dict[str, set[asyncio.StreamWriter]] = {}
        self._clients: dict[asyncio.StreamWriter, tuple[Device, list[str]]] = {}
        self._caches: dict[str, DeviceCache] = {}
        self._services: dict[str, Service] = {}
        self.events = Events(world, self.cache)
        self.latency = 0.0
        self.noise: list[str] = []

    async def run(self) -> None:
        """Serve until cancelled."""
        self._root.mkdir(parents=True, exist_ok=True)
        for device in list(self._world.devices.values()):
            if device.service_up:
                await self.start_service(device)
        cloud = self._root / "cloud.sock"
        cloud.unlink(missing_ok=True)
        clouds = await asyncio.start_unix_server(self._serve_cloud, str(cloud), limit=LINE_LIMIT)
        # As the real servers, it is there for every user of this machine.
        cloud.chmod(0o666)
        admin = self._root / "admin.sock"
        admin.unlink(missing_ok=True)
        laboratory = Laboratory(self._world, self)
        server = await asyncio.start_unix_server(laboratory.serve, str(admin), limit=LINE_LIMIT)
        try:
            await server.serve_forever()
        finally:
            clouds.close()
            cloud.unlink(missing_ok=True)
            admin.unlink(missing_ok=True)
            for device in list(self._world.devices.values()):
                self.stop_service(device)

    def cache(self, device: Device) -> DeviceCache:
        """Return what a device's service remembers."""
        return self._caches.setdefault(device.label, DeviceCache(device))

    def service(self, device: Device) -> Service:
        """Return a device's service."""
        if device.label not in self._services:
            self._services[device.label] = Service(
                self._world,
                device,
                self.cache(device),
                publish=self.events.publish,
                announce=self.events.announce,
            )
        return self._services[device.label]

    async def start_service(self, device: Device) -> None:
        """Listen on a device's socket."""
        path = self._socket(device)
        if str(path) in self._listening:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        connections = self._connections[str(path)] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(writer)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(device, reader, writer)
            connections.discard(writer)
            self._clients.pop(writer, None)
            self.events.remove(writer)
            writer.close()

        server = await asyncio.start_unix_server(handle, str(path), limit=LINE_LIMIT)
        self._listening[str(path)] = server
        device.service_up = True

    def stop_service(self, device: Device, *, leave_socket: bool = False) -> None:
        """End a device's service and its connections; `leave_socket`: as `kill -9` does."""
        path = self._socket(device)
        server = self._listening.pop(str(path), None)
        if server is not None:
            server.close()
        for writer in self._connections.pop(str(path), set()):
            # At once, not in the loop's next round: who gave the order may count on it.
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            writer.transport.abort()
        if not leave_socket:
            path.unlink(missing_ok=True)
        device.service_up = False
        self.cache(device).forget_users()

    async def _serve_cloud(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._cloud.handle(reader, writer)
        self._clients.pop(writer, None)
        self.events.remove(writer)
        writer.close()

    def _socket(self, device: Device) -> Path:
        return self._root / device.username / device.name / "keybased.sock"

    async def _serve(
        self, device: Device, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while line := await reader.readline():
            request = json.loads(line)
            name, args = request["rpc"], request["args"]
            await _until(lambda: not device.stalled or writer.is_closing())
            if self.latency and name not in ("hello", "ping"):
                await asyncio.sleep(self.latency)
            if writer.is_closing():
                return  # the service ended with the call in flight
            answer = await self._answer(device, writer, name, args)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()

    async def _answer(
        self, device: Device, writer: asyncio.StreamWriter, name: str, args: dict[str, Any]
    ) -> dict[str, Any]:
        match name:
            case "ping":
                return {"pong": True}
            case "hello":
                self._clients[writer] = device, args["argv"]
                return {"result": {"log": self.noise}}
            case "identity":
                return {"result": self._identity(device)}
            case "logout":
                device.logged_in = False
                return {"result": None}
            case "listen":
                filters = frozenset(args.pop("filters"))
                self.events.add(Listener(device, writer, filters, **args))
                return {"result": None}
            case _:
                return await self._answer_by_service(device, name, args)

    async def _answer_by_service(
        self, device: Device, name: str, args: dict[str, Any]
    ) -> dict[str, Any]:
        is_file = name.startswith("fs-")
        if is_file:
            await asyncio.sleep(device.kbfs_delay)
        if is_file and not await self._kbfs_connects(device):
            return {"error": "timeout waiting for kbfs (code 1603)"}
        if not device.logged_in:
            return {"error": "Login required"}
        now = time.time()
        tank = self._world.tank(device.username)
        if device.rate_limited > 0 and not is_file:
            device.rate_limited -= 1
            return {"rate_limit": {"text": REFUSAL, "reset": 1, "capacity": tank.capacity}}
        if not is_file and name not in OFF_CHAT and not tank.take(now):
            return {"rate_limit": tank.refusal(now)}
        try:
            result = self.service(device).call(name, args, now)
        except ServiceError as error:
            return {"error": str(error)}
        if device.nulls and isinstance(result, dict):
            result = _without_lists(result)
        if name in OFF_CHAT:
            return {"result": result}
        return {"result": result, "ratelimits": [tank.shown(now)]}

    async def _kbfs_connects(self, device: Device) -> bool:
        try:
            async with asyncio.timeout(KBFS_TIMEOUT * self._world.time_scale):
                await _until(lambda: device.kbfs_up)
        except TimeoutError:
            return False
        return True

    def _identity(self, device: Device) -> dict[str, Any]:
        clients = [argv for owner, argv in self._clients.values() if owner is device]
        return {
            "logged_in": device.logged_in,
            "username": device.username,
            "uid": device.uid,
            "device": device.name,
            "device_id": device.id,
            "type": device.type,
            "ctime_ms": CREATED_MS,
            "kbfs": device.kbfs_up,
            "log": str(self._socket(device).parent / "keybase.service.log"),
            "clients": [*clients, MANGLING] if device.mangled else clients,
        }


def _without_lists(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result as Go prints it with every list nil."""
    return {
        name: None
        if isinstance(value, list)
        else _without_lists(value)
        if isinstance(value, dict)
        else value
        for name, value in result.items()
    }


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - a fault is a plain value that anybody may set
        await asyncio.sleep(FAULT_POLL)


async def _main(root: Path, environment: dict[str, str]) -> None:
    world = world_from_environment(environment, time.time())
    server = Server(root, world, accounts_from_environment(environment, world))
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)


def main() -> None:
    """Run the server until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--root", type=Path, default=Path(os.environ.get("SIMULATOR_ROOT", DEFAULT_ROOT))
    )
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_main(parser.parse_args().root, dict(os.environ)))


if __name__ == "__main__":
    main()
