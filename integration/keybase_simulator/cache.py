"""What the service of one device remembers, and so answers without asking the servers (§2)."""

from dataclasses import dataclass, field
from typing import Any

from .chat import Conversation, Message
from .world import Device, World

USER_SECONDS = 600.0
"""Seconds for which a user's devices are believed (`CachedUserTimeout`)."""

KEY_INVALID = "key invalid for sender at message ctime"


@dataclass
class DeviceCache:
    """Messages as they were when this client unboxed them, and users as they were last loaded.

    A revocation shows on a message that is unboxed after it, never on one that is kept; the list of
    a user's devices follows when it is loaded again. Only the own user's is never stale.
    """

    device: Device
    _unboxed: dict[tuple[str, int], bool] = field(default_factory=dict)
    _users: dict[str, tuple[float, list[dict[str, Any]]]] = field(default_factory=dict)

    def is_revoked(self, conversation: Conversation, message: Message) -> bool:
        """Return whether the sender's device was revoked when this client unboxed the message."""
        key = conversation.id, message.id
        if key not in self._unboxed:
            self._unboxed[key] = message.sender.revoked_at is not None
        return self._unboxed[key] or message.force_revoked

    def unboxing_error(self, message: Message) -> str | None:
        """Return why the message cannot be unboxed, if so."""
        revoked_at = message.sender.revoked_at
        if message.error is None and revoked_at is not None:
            return KEY_INVALID if message.sent_at_ms >= int(revoked_at * 1000) else None
        return message.error

    def devices_of(self, world: World, username: str, now: float) -> list[dict[str, Any]]:
        """Return a user's devices as `getdeviceinfo` shows them."""
        known = self._users.get(username)
        fresh = known is not None and now - known[0] < USER_SECONDS * world.time_scale
        if known is not None and fresh and username != self.device.username:
            return known[1]
        devices = [
            {"id": d.id, "description": d.name, "type": d.type, "ctime": 1_560_000_000}
            for d in world.user_devices(username)
        ]
        self._users[username] = now, devices
        return devices

    def forget_users(self) -> None:
        """Forget what is only kept in memory: the service starts again."""
        self._users.clear()
