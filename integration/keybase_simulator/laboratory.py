"""Orders from outside: faults, hostile messages, and looks at what was said (`admin`)."""

import asyncio
import json
import time
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from .disorder import Disorder
from .message_orders import MessageOrders, flag
from .world import ServiceError, Team, World

if TYPE_CHECKING:
    from .server import Server


class Laboratory:
    """Changes the world behind everybody's back."""

    def __init__(self, world: World, server: "Server") -> None:
        self._world = world
        self._server = server
        self._verbs: dict[str, Callable[..., Any]] = {
            "service-stop": lambda device: server.stop_service(world.device(device)),
            "service-kill": lambda device: server.stop_service(
                world.device(device), leave_socket=True
            ),
            "service-start": self._service_start,
            "set": self._set,
            "add-device": self._add_device,
            "revoke": lambda device: world.revoke(world.device(device), time.time()),
            "role": self._role,
            "remove-member": lambda team, username: self._role(team, username, "none"),
            "reset-user": lambda username: world.reset(username, time.time()),
            "rate-limit": self._rate_limit,
            "latency": self._latency,
            "noise": lambda *lines: setattr(server, "noise", list(lines)),
            "clock-skew": lambda seconds: setattr(world.chat, "clock_skew", float(seconds)),
            "hold-events": lambda on: setattr(server.events.faults, "hold", flag(on)),
            "events": self._events,
            "disorder": self._disorder,
            "file": lambda path, text: world.kbfs.publish(path, text.encode(), "", time.time()),
            "file-remove": world.kbfs.remove,
            "file-torn": self._file_torn,
            "file-conflict": self._file_conflict,
            "dump": self._dump,
            **MessageOrders(world, server.events.publish).verbs,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry out one order a line."""
        while line := await reader.readline():
            request = json.loads(line)
            try:
                result = self._verbs[request["verb"]](*request.get("args", []))
                answer = {"result": await result if asyncio.iscoroutine(result) else result}
            except KeyError as error:
                answer = {"error": f"there is no {error}"}
            except (ServiceError, ValueError, TypeError) as error:
                answer = {"error": str(error)}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    # Hosts and devices -----------------------------------------------------------------------

    async def _service_start(self, label: str) -> None:
        await self._server.start_service(self._world.device(label))

    async def _add_device(self, label: str, kind: str = "desktop") -> None:
        await self._server.start_service(self._world.add_device(label, kind))

    def _set(self, label: str, field: str, value: Any) -> None:
        device = self._world.device(label)
        match field:
            case "kbfs_up" | "online" | "logged_in" | "stalled" | "deaf" | "mangled" | "nulls":
                setattr(device, field, flag(value))
                if field == "kbfs_up" and not device.kbfs_up:
                    self._world.kbfs.lose_writes(device)
                if field == "online" and device.online:
                    self._server.service(device).flush_outbox(time.time())
            case "rate_limited":
                device.rate_limited = int(value)
            case "kbfs_delay":
                device.kbfs_delay = float(value)
            case "revoked":
                device.revoked_at = time.time() if flag(value) else None
            case _:
                raise ValueError(f"a device has no {field} to set")

    def _role(self, team: str, username: str, role: str) -> None:
        self._world.teams.setdefault(team, Team(team)).set_role(username, role, time.time())

    def _rate_limit(self, username: str, capacity: Any, window: Any = 60.0) -> None:
        tank = self._world.tank(username)
        if capacity == "off":
            tank.unlimit()
        else:
            tank.limit(int(capacity), float(window))

    def _latency(self, seconds: Any) -> None:
        self._server.latency = float(seconds)

    # Pushes ----------------------------------------------------------------------------------

    def _events(self, fault: str, amount: Any) -> None:
        faults = self._server.events.faults
        if fault == "delay":
            faults.delay = float(amount)
        elif fault in ("drop", "duplicate", "reorder"):
            setattr(faults, fault, int(amount))
        else:
            raise ValueError(f"events cannot be told to {fault}")

    def _disorder(self, drop: Any, duplicate: Any = 0.0, delay: Any = 0.0) -> None:
        """Let pushes go wrong at random; `off`: not any more."""
        rng = Random(self._world.seed)
        disorder = (
            None if drop == "off" else Disorder(float(drop), float(duplicate), float(delay), rng)
        )
        self._server.events.faults.disorder = disorder

    # Files -----------------------------------------------------------------------------------

    def _file_torn(self, path: str, size: Any) -> None:
        """Let every read of a file end after `size` bytes; -1: read it whole again."""
        self._world.kbfs.files[path].torn = None if int(size) < 0 else int(size)

    def _file_conflict(self, path: str, label: str, text: str) -> str:
        """Let a device have written a file at the same time as somebody else."""
        device = self._world.device(label)
        return self._world.kbfs.publish_conflict(path, text.encode(), device, time.time())

    def _dump(self) -> dict[str, Any]:
        world = self._world
        return {
            "teams": {team.name: team.roles for team in world.teams.values()},
            "devices": {
                d.label: {"id": d.id, "service_up": d.service_up, "logged_in": d.logged_in,
                          "online": d.online, "kbfs_up": d.kbfs_up, "revoked_at": d.revoked_at}
                for d in world.devices.values()
            },
            "conversations": {
                f"{c.team}#{c.topic} ({c.topic_type})": {
                    "id": c.id, "messages": len(c.messages), "joined": sorted(c.joined),
                    "read": dict(c.read),
                }
                for c in world.chat.conversations.values()
            },
            "files": {
                path: [[r.number, r.writer, len(r.content)] for r in file.revisions]
                for path, file in world.kbfs.files.items()
            },
        }  # fmt: skip
