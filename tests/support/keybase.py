"""A Keybase in memory, for virtual time: conversations, pushes, and the ways they go wrong.

What the real CLI prints is the simulator's business (`integration/keybase_simulator`); here is what
`KeybaseClient` makes of it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from sidecar.errors import KeybaseError, KeybaseUnavailableError
from sidecar.identity import NodeId
from sidecar.keybase.api import Pushed
from sidecar.keybase.budget import Priority
from sidecar.keybase.client import KeybaseClient
from sidecar.keybase.listener import Listening
from sidecar.keybase.models import Channel, ChatMessage

EPOCH = 1_780_000_000.0
BOB = NodeId("bob", "b" * 32, "host")

AWAY = KeybaseUnavailableError("dial unix: no such file or directory")


@dataclass
class Pushes:
    """A listener, and whom it belongs to."""

    channels: tuple[Channel, ...]
    queue: asyncio.Queue[Pushed | None] = field(default_factory=asyncio.Queue)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Pushed | None:
        getting = asyncio.ensure_future(self.queue.get())
        ending = asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait({getting, ending}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
            raise KeybaseUnavailableError("the listener ended")
        finally:
            getting.cancel()
            ending.cancel()

    async def close(self) -> None:
        self.ended.set()


class MemoryKeybase(KeybaseClient):
    """Channels, and a service that comes, goes and misbehaves.

    Attributes:
        failure: what every call fails with; `None`: nothing.
        reads_fail: the same for reads of a channel alone.
        deaf: nothing is pushed.
        push_delay: seconds that a push takes.
        ahead: seconds by which the server's clock is ahead.
        calls: what was called when.
        listeners: how many were started, at which times.
        page: messages a page.
        pages_fail_after: how many pages a read gets before it fails.
    """

    def __init__(self) -> None:
        super().__init__()
        self.channels: dict[Channel, list[ChatMessage]] = {}
        self.joined: set[Channel] = set()
        self.failure: KeybaseError | None = None
        self.reads_fail: dict[Channel, KeybaseError] = {}
        self.refused: set[Channel] = set()
        self.deaf = False
        self.push_delay = 0.0
        self.ahead = 0.0
        self.calls: list[tuple[float, str]] = []
        self.listeners: list[float] = []
        self.listening: Pushes | None = None
        self.page = 300
        self.pages_fail_after = 1_000

    def post(
        self, channel: Channel, text: str, sender: NodeId = BOB, *, exploding: bool = False
    ) -> int:
        """Let somebody say something."""
        said = self.channels.setdefault(channel, [])
        now = asyncio.get_running_loop().time()
        message = ChatMessage(
            len(said) + 1, sender, EPOCH + now + self.ahead, text, exploding=exploding
        )
        said.append(message)
        self._push(channel, message)
        return message.id

    def end_listener(self) -> None:
        """Let the service go for a moment: its listener ends."""
        if self.listening is not None:
            self.listening.ended.set()
            self.listening = None

    def push_noise(self) -> None:
        """Push something that cannot be shown."""
        assert self.listening is not None
        self.listening.queue.put_nowait(None)

    async def join(self, channel: Channel) -> None:
        self._call("join")
        if channel in self.refused:
            raise KeybaseError("you may not make channels")
        self.channels.setdefault(channel, [])
        self.joined.add(channel)

    async def join_existing(self, channel: Channel) -> bool:
        self._call("join")
        if channel in self.channels:
            self.joined.add(channel)
        return channel in self.channels

    async def send(self, channel: Channel, body: str, priority: Priority = Priority.URGENT) -> int:
        self._call("send")
        return self.post(channel, body)

    async def read(
        self,
        channel: Channel,
        *,
        after: int,
        history: float | None = None,
        now: float = 0.0,
        limit: int = 5000,
    ) -> AsyncIterator[Sequence[ChatMessage]]:
        self._call("read")
        if channel in self.reads_fail:
            raise self.reads_fail[channel]
        found = [m for m in self.channels.get(channel, []) if m.id > after][::-1]
        for first in range(0, len(found), self.page):
            if first >= self.pages_fail_after * self.page:
                raise KeybaseUnavailableError("gone between two pages")
            yield found[first : first + self.page]

    @asynccontextmanager
    async def listen(self, channels: Sequence[Channel]) -> AsyncIterator[Listening]:
        self._call("listen")
        self.listeners.append(asyncio.get_running_loop().time())
        pushes = self.listening = Pushes(tuple(channels))
        try:
            yield pushes
        finally:
            self.listening = None

    def _call(self, name: str) -> None:
        self.calls.append((asyncio.get_running_loop().time(), name))
        if self.failure is not None:
            raise self.failure

    def _push(self, channel: Channel, message: ChatMessage) -> None:
        listening = self.listening
        if listening is None or self.deaf or channel not in listening.channels:
            return
        pushed = Pushed(channel, replace(message))
        loop = asyncio.get_running_loop()
        loop.call_later(self.push_delay, listening.queue.put_nowait, pushed)
