"""Orders from outside: faults, hostile messages, and looks at what was said (`admin`)."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .chat import Conversation, text_content
from .world import Device, ServiceError, Team, World

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
            "reset-user": world.reset_users.add,
            "latency": self._latency,
            "noise": lambda *lines: setattr(server, "noise", list(lines)),
            "clock-skew": lambda seconds: setattr(world.chat, "clock_skew", float(seconds)),
            "hold-events": lambda on: setattr(server.events.faults, "hold", _flag(on)),
            "events": self._events,
            "ephemeral-policy": self._ephemeral_policy,
            "file": lambda path, text: world.kbfs.publish(path, text.encode(), "", time.time()),
            "file-remove": world.kbfs.remove,
            "file-torn": self._file_torn,
            "say": self._post,
            "post": self._post,
            "post-raw": self._post,
            "edit": self._edit,
            "delete": self._delete,
            "messages": self._messages,
            "dump": self._dump,
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
            case "kbfs_up" | "online" | "logged_in" | "stalled":
                setattr(device, field, _flag(value))
                if field == "kbfs_up" and not device.kbfs_up:
                    self._world.kbfs.lose_writes(device)
                if field == "online" and device.online:
                    self._server.service(device).flush_outbox(time.time())
            case "rate_limited":
                device.rate_limited = int(value)
            case "revoked":
                device.revoked_at = time.time() if _flag(value) else None
            case _:
                raise ValueError(f"a device has no {field} to set")

    def _role(self, team: str, username: str, role: str) -> None:
        self._world.teams.setdefault(team, Team(team)).set_role(username, role, time.time())

    def _latency(self, seconds: Any) -> None:
        self._server.latency = float(seconds)

    def _events(self, fault: str, amount: Any) -> None:
        faults = self._server.events.faults
        if fault == "delay":
            faults.delay = float(amount)
        elif fault in ("drop", "duplicate", "reorder"):
            setattr(faults, fault, int(amount))
        else:
            raise ValueError(f"events cannot be told to {fault}")

    # Files and messages ----------------------------------------------------------------------

    def _file_torn(self, path: str, size: Any) -> None:
        """Let every read of a file end after `size` bytes; -1: read it whole again."""
        self._world.kbfs.files[path].torn = None if int(size) < 0 else int(size)

    def _ephemeral_policy(self, team: str, topic: str, on: Any) -> None:
        self._conversation(team, topic).retention = 86_400.0 if _flag(on) else None

    def _post(
        self, team: str, topic: str, sender: str, body: str, flags: dict[str, Any] | None = None
    ) -> int:
        """Post as any device, members or not, a device that does not exist included."""
        flags = flags or {}
        username, _, name = sender.partition("/")
        device = self._world.devices.get((username, name)) or Device(username, name)
        kind = flags.get("topic_type", "chat")
        chat, now = self._world.chat, time.time()
        conversation = chat.find(team, topic, kind) or chat.create(team, topic, kind, device, now)
        lifetime = 86_400.0 if flags.get("ephemeral") else None
        content = flags.get("content") or text_content(body)
        message = chat.add(conversation, device, content, now, lifetime)
        message.omit_device_name = bool(flags.get("omit_device_name"))
        message.omit_username = bool(flags.get("omit_username"))
        message.force_revoked = bool(flags.get("revoked_device"))
        message.error = flags.get("error")
        message.sent_at_ms = int(flags.get("sent_at_ms", message.sent_at_ms))
        self._server.events.publish(conversation, message)
        return message.id

    def _edit(self, team: str, topic: str, sender: str, number: Any, body: str) -> int:
        conversation = self._conversation(team, topic)
        device = self._world.device(sender)
        message = self._world.chat.edit(conversation, device, int(number), body, time.time())
        self._server.events.publish(conversation, message)
        return message.id

    def _delete(self, team: str, topic: str, sender: str, number: Any) -> int:
        conversation = self._conversation(team, topic)
        device = self._world.device(sender)
        message = self._world.chat.delete(conversation, device, int(number), time.time())
        self._server.events.publish(conversation, message)
        return message.id

    def _messages(self, team: str, topic: str) -> list[dict[str, Any]]:
        return [
            {
                "id": m.id,
                "sender": m.sender.label,
                "sent_at_ms": m.sent_at_ms,
                "content": m.content,
            }
            for m in self._conversation(team, topic).messages
        ]

    def _conversation(self, team: str, topic: str) -> Conversation:
        for kind in ("chat", "dev"):
            found = self._world.chat.find(team, topic, kind)
            if found is not None:
                return found
        raise ServiceError(f"no channel {team}#{topic}")

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


def _flag(value: Any) -> bool:
    return value in (True, "on", "true", "1", "yes")
