"""Serves the world: a unix socket for each device's service, and one for the laboratory.

    ROOT/USER/DEVICE/keybased.sock   dialled by the `keybase` executable: the socket is the identity
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
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .service import Service
from .world import Conversation, Device, File, Message, ServiceError, World

DEFAULT_ROOT = "/run/keybase-simulator"
LINE_LIMIT = 64 * 2**20
KBFS_TIMEOUT = 60.0
"""Seconds that a call waits for KBFS; `SIMULATOR_TIME_SCALE` shortens it."""


class Server:
    """The world behind its sockets."""

    def __init__(self, root: Path, world: World, time_scale: float = 1.0) -> None:
        self._root = root
        self._world = world
        self._time_scale = time_scale
        self._listening: dict[str, asyncio.Server] = {}
        self._connections: dict[str, set[asyncio.StreamWriter]] = {}
        self._listeners: list[tuple[Device, asyncio.StreamWriter, dict[str, Any]]] = []
        self._hold_events = False
        self._latency = 0.0

    async def run(self) -> None:
        """Serve until cancelled."""
        self._root.mkdir(parents=True, exist_ok=True)
        for device in self._world.devices.values():
            if device.service_up:
                await self._start_service(device)
        admin = self._root / "admin.sock"
        admin.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._admin, str(admin), limit=LINE_LIMIT)
        try:
            await server.serve_forever()
        finally:
            admin.unlink(missing_ok=True)
            for device in self._world.devices.values():
                await self._stop_service(device)

    def _socket(self, device: Device) -> Path:
        return self._root / device.username / device.name / "keybased.sock"

    async def _start_service(self, device: Device) -> None:
        path = self._socket(device)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        key = str(path)
        connections = self._connections[key] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(writer)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(device, reader, writer)
            connections.discard(writer)
            self._listeners = [entry for entry in self._listeners if entry[1] is not writer]
            writer.close()

        self._listening[key] = await asyncio.start_unix_server(handle, key, limit=LINE_LIMIT)
        device.service_up = True

    async def _stop_service(self, device: Device) -> None:
        path = self._socket(device)
        server = self._listening.pop(str(path), None)
        if server is not None:
            server.close()
        for writer in self._connections.pop(str(path), set()):
            writer.close()
        path.unlink(missing_ok=True)
        device.service_up = False

    async def _serve(
        self, device: Device, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        service = Service(self._world, device, self._publish)
        while line := await reader.readline():
            request = json.loads(line)
            if self._latency:
                await asyncio.sleep(self._latency)
            if request["rpc"] == "listen":
                self._listeners.append((device, writer, request["args"]))
                answer: dict[str, Any] = {"result": None}
            elif device.rate_limited > 0 and not request["rpc"].startswith("fs-"):
                device.rate_limited -= 1
                answer = {"rate_limit": {"reset": 1, "capacity": 900}}
            else:
                answer = await self._answer(service, device, request)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()

    async def _answer(
        self, service: Service, device: Device, request: dict[str, Any]
    ) -> dict[str, Any]:
        name = request["rpc"]
        if name.startswith("fs-") and not device.kbfs_up:
            for _ in range(100):
                await asyncio.sleep(KBFS_TIMEOUT * self._time_scale / 100)
                if device.kbfs_up:
                    break
            else:
                return {"error": "timeout waiting for kbfs (code 1603)"}
        if not device.logged_in and name != "identity":
            return {"error": "Login required"}
        try:
            return {"result": service.call(name, request["args"], _now())}
        except ServiceError as error:
            return {"error": str(error)}

    def _publish(self, conversation: Conversation, message: Message) -> None:
        """Push a message to every listener that should see it."""
        if self._hold_events:
            return
        for device, writer, wanted in list(self._listeners):
            if conversation.topic_type == "dev" and not wanted["dev"]:
                continue
            if wanted["filters"] and conversation.id not in wanted["filters"]:
                continue
            if device.username not in conversation.joined or not device.online:
                continue
            own = message.sender is device
            if own and not wanted["local"]:
                continue
            if message.ephemeral and wanted["hide_exploding"]:
                continue
            event: dict[str, Any] = {"type": "chat", "source": "local" if own else "remote"}
            event |= self._world.summary(conversation, message, device, listening=True)
            event["pagination"] = {
                "next": f"{message.id:x}",
                "previous": f"{message.id:x}",
                "num": 1,
                "last": False,
            }
            writer.write(json.dumps({"event": event}).encode() + b"\n")

    # Laboratory ------------------------------------------------------------------------------

    async def _admin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = json.loads(line)
            try:
                result = await self._order(request["verb"], request.get("args", []))
                answer = {"result": result}
            except (ServiceError, ValueError, KeyError, IndexError) as error:
                answer = {"error": str(error)}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _order(self, verb: str, args: list[Any]) -> Any:
        world = self._world
        match verb, args:
            case "service-stop", [name]:
                await self._stop_service(world.device(name))
            case "service-start", [name]:
                await self._start_service(world.device(name))
            case "hold-events", [on]:
                self._hold_events = on in (True, "on")
            case "latency", [seconds]:
                self._latency = float(seconds)
            case "set", [name, field, value]:
                device = world.device(name)
                kinds: dict[str, Callable[[Any], Any]] = {
                    "kbfs_up": _flag,
                    "online": _flag,
                    "logged_in": _flag,
                    "revoked": _flag,
                    "rate_limited": int,
                }
                setattr(device, field, kinds[field](value))
            case "role", [team, username, role]:
                if role == "none":
                    world.teams[team].pop(username, None)
                else:
                    world.teams[team][username] = role
            case "reset-user", [username]:
                world.reset_users.add(username)
            case "clock-skew", [seconds]:
                world.clock_skew = float(seconds)
            case "ephemeral-policy", [team, topic, on]:
                self._conversation(team, topic).ephemeral_policy = _flag(on)
            case "file", [path, content]:
                before = world.files[path].content if path in world.files else None
                world.files[path] = File(content.encode(), None, 0.0, before)
            case "file-remove", [path]:
                world.files.pop(path, None)
            case "post", [team, topic, sender, body]:
                return self._post(team, topic, sender, body)
            case "post-raw", [team, topic, sender, body, flags]:
                return self._post(team, topic, sender, body, **flags)
            case "edit", [team, topic, sender, number, body]:
                conversation = self._conversation(team, topic)
                message = world.edit(conversation, world.device(sender), int(number), body, _now())
                self._publish(conversation, message)
                return message.id
            case "delete", [team, topic, sender, number]:
                conversation = self._conversation(team, topic)
                message = world.delete(conversation, world.device(sender), int(number), _now())
                self._publish(conversation, message)
                return message.id
            case "messages", [team, topic]:
                return [
                    {
                        "id": m.id,
                        "sender": f"{m.sender.username}/{m.sender.name}",
                        "sent_at_ms": m.sent_at_ms,
                        "content": m.content,
                    }
                    for m in self._conversation(team, topic).messages
                ]
            case _:
                raise ValueError(f"unknown order: {verb} with {len(args)} arguments")
        return None

    def _conversation(self, team: str, topic: str) -> Conversation:
        for conversation in self._world.conversations.values():
            if (conversation.team, conversation.topic) == (team, topic):
                return conversation
        raise ServiceError(f"no channel {team}#{topic}")

    def _post(self, team: str, topic: str, sender: str, body: str, **flags: Any) -> int:
        """Post as any device, members or not: hostile, old and broken messages included."""
        username, _, name = sender.partition("/")
        device = self._world.devices.get((username, name)) or Device(username, name)
        conversation = self._conversation(team, topic)
        message = self._world.text(conversation, device, body, _now())
        message.omit_device_name = bool(flags.get("omit_device_name"))
        message.ephemeral = bool(flags.get("ephemeral"))
        message.error = flags.get("error")
        if "sent_at_ms" in flags:
            message.sent_at_ms = int(flags["sent_at_ms"])
        self._publish(conversation, message)
        return message.id


def world_from_environment(environment: dict[str, str]) -> World:
    """Make the world that `SIMULATOR_*` describe."""
    world = World(int(environment.get("SIMULATOR_SEED", "1")))
    team = environment.get("SIMULATOR_TEAM", "acme.vpn")
    members = environment.get("SIMULATOR_MEMBERS", "").split()
    for member in members:
        username, _, role = member.partition("=")
        world.teams.setdefault(team, {})[username] = role or "writer"
    world.teams.setdefault(team, {})
    # Names with spaces are written with commas between the devices.
    devices = environment.get("SIMULATOR_DEVICES", "")
    for name in devices.split(",") if "," in devices else devices.split():
        username = world.add_device(name.strip()).username
        world.teams[team].setdefault(username, "writer")
    peers = environment.get("SIMULATOR_PEERS_JSON")
    if peers:
        world.files[f"/keybase/team/{team}/peers.json"] = File(peers.encode(), None, 0.0)
    return world


def _flag(value: Any) -> bool:
    return value in (True, "on", "true", "1", "yes")


def _now() -> float:
    return time.time()


async def _main(root: Path, environment: dict[str, str]) -> None:
    scale = float(environment.get("SIMULATOR_TIME_SCALE", "1"))
    server = Server(root, world_from_environment(environment), scale)
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
