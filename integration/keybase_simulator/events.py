"""Pushes to `api-listen`, without replay, and the ways they go wrong (§3)."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .cache import DeviceCache
from .chat import Conversation, Message
from .disorder import Disorder
from .views import conversation_summary, listen_cursor, message_entry
from .world import Device, World


@dataclass(frozen=True)
class Listener:
    """An `api-listen` process of a device, and what it asked for."""

    device: Device
    writer: asyncio.StreamWriter
    filters: frozenset[str]
    local: bool
    dev: bool
    convs: bool
    hide_exploding: bool


@dataclass
class EventFaults:
    """What happens to the next pushes.

    Attributes:
        hold: nothing is pushed, nor later: the listeners are alive and silent.
        drop, duplicate, reorder: how many of the next pushes that befalls; a reordered one comes
            after its successor.
        delay: seconds that every push takes.
        disorder: what befalls them at random besides.
    """

    hold: bool = False
    drop: int = 0
    duplicate: int = 0
    reorder: int = 0
    delay: float = 0.0
    disorder: Disorder | None = None


class Events:
    """All listeners.

    Args:
        cache_of: the cache of a device's service: a push is unboxed by it.
    """

    def __init__(self, world: World, cache_of: Callable[[Device], DeviceCache]) -> None:
        self._world = world
        self._cache_of = cache_of
        self._listeners: list[Listener] = []
        self._late: list[tuple[Listener, dict[str, Any]]] = []
        self.faults = EventFaults()

    def add(self, listener: Listener) -> None:
        """Subscribe a listener."""
        self._listeners.append(listener)

    def remove(self, writer: asyncio.StreamWriter) -> None:
        """Forget the listener of a connection."""
        self._listeners = [entry for entry in self._listeners if entry.writer is not writer]

    def publish(self, conversation: Conversation, message: Message) -> None:
        """Push a message to everybody who should see it."""
        faults = self.faults
        if faults.hold:
            return
        if faults.drop:
            faults.drop -= 1
            return
        copies = 1
        if faults.duplicate:
            faults.duplicate -= 1
            copies = 2
        reached = [d for d in self._world.devices.values() if self._reaches(d, conversation)]
        for device in reached:
            # The service unboxes a push at once, whoever listens to it.
            self._cache_of(device).is_revoked(conversation, message)
        pushes = [
            (listener, self._event(listener, conversation, message))
            for listener in self._listeners
            if listener.device in reached and self._wants(listener, conversation, message)
        ] * copies
        if faults.reorder:
            faults.reorder -= 1
            self._late += pushes
            return
        late, self._late = self._late, []
        self._push(pushes + late)

    def announce(self, conversation: Conversation, device: Device) -> None:
        """Tell a user's listeners of a conversation that the user is in from now on."""
        event: dict[str, Any]
        if conversation.topic_type == "dev":
            # New DEV conversations are pushed without being localized.
            event = {"type": "chat_conv", "error": f"No conversation info found: {conversation.id}"}
        else:
            summary = conversation_summary(conversation, device.username)
            event = {"type": "chat_conv", "conv": summary}
        self._push(
            [
                (listener, event)
                for listener in self._listeners
                if listener.convs
                and listener.device.username == device.username
                and self._reaches(listener.device, conversation)
                and (listener.dev or conversation.topic_type != "dev")
            ]
        )

    def _reaches(self, device: Device, conversation: Conversation) -> bool:
        return (
            device.online
            and device.logged_in
            and device.service_up
            and not device.deaf
            and device.username in conversation.joined
            and self._world.role(conversation.team, device.username) != "none"
        )

    def _wants(self, listener: Listener, conversation: Conversation, message: Message) -> bool:
        if conversation.topic_type == "dev" and not listener.dev:
            return False
        if listener.filters and conversation.id not in listener.filters:
            return False
        if message.lifetime is not None and listener.hide_exploding:
            return False
        return listener.local or message.sender is not listener.device

    def _event(
        self, listener: Listener, conversation: Conversation, message: Message
    ) -> dict[str, Any]:
        cache = self._cache_of(listener.device)
        own = message.sender is listener.device
        cursor = listen_cursor(message.id)
        pagination = {"next": cursor, "previous": cursor, "num": 1, "last": False}
        entry = message_entry(conversation, message, cache, read_pointer=0, listening=True)
        source = "local" if own else "remote"
        return {"type": "chat", "source": source, **entry, "pagination": pagination}

    def _push(self, pushes: list[tuple[Listener, dict[str, Any]]]) -> None:
        disorder = self.faults.disorder
        for listener, event in pushes:
            for delay in [0.0] if disorder is None else disorder.deliveries():
                _write_after(self.faults.delay + delay, listener, event)


def _write_after(delay: float, listener: Listener, event: dict[str, Any]) -> None:
    if delay:
        asyncio.get_running_loop().call_later(delay, _write, listener, event)
    else:
        _write(listener, event)


def _write(listener: Listener, event: dict[str, Any]) -> None:
    if not listener.writer.is_closing():
        listener.writer.write(json.dumps({"event": event}).encode() + b"\n")
