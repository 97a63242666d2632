"""The connections to TURN servers: made, plugged into WireGuard and closed as `Traversal` asks."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final, assert_never

from nat.io.relay import RelayPort, RelaySettings
from nat.machine import Endpoint
from nat.traversal import Traversal
from nat.turn.events import (
    ConnectionReleased,
    ConnectionRequested,
    ReconnectRequested,
    RelayChannelBound,
    RelayChannelLost,
    RelayEvent,
    TurnServerChanged,
)
from nat.turn.server import TurnServer

from ..wireguard.endpoint_rules import HAND_OVER_MOST

_log = logging.getLogger(__name__)

HAND_OVER: Final = HAND_OVER_MOST
"""Seconds for which data that still comes over a relay is told of, after a peer has left it; the
endpoint rules know how long that matters."""

PLUG_RETRY: Final = 2.0
"""Seconds until a channel for which no socket was to be had is plugged in after all: the traversal
tells of it once, and descriptors that ran out come back."""

_Channel = tuple[Endpoint, Endpoint]
"""A relayed address of ours, and a peer's."""


@dataclass(slots=True)
class _Link:
    """A server that we are, or try to be, connected to."""

    port: RelayPort
    task: asyncio.Task[None]
    channels: dict[_Channel, int] = field(default_factory=dict)
    waiting: dict[_Channel, asyncio.TimerHandle] = field(default_factory=dict)

    def forget(self, key: _Channel) -> int | None:
        """Plug a channel in no more; returns its number if it is plugged in."""
        if (timer := self.waiting.pop(key, None)) is not None:
            timer.cancel()
        return self.channels.pop(key, None)

    def forget_all(self) -> None:
        """Likewise, all of them."""
        for key in [*self.waiting, *self.channels]:
            self.forget(key)


class RelayKeeper:
    """Owns one `RelayPort` for each server that the traversal wants a connection to.

    Args:
        traversal: told of connections and frames, and where channels are plugged in.
        settings: what all ports share.
        rng: source of jitter.
        on_change: called after each change of the traversal.
        hand_over: see `HAND_OVER`.
        plug_retry: see `PLUG_RETRY`.
    """

    def __init__(
        self,
        traversal: Traversal,
        settings: RelaySettings,
        *,
        rng: Random,
        on_change: Callable[[], None],
        hand_over: float = HAND_OVER,
        plug_retry: float = PLUG_RETRY,
    ) -> None:
        self._hand_over = hand_over
        self._plug_retry = plug_retry
        self._traversal = traversal
        self._settings = settings
        self._rng = rng
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._group: asyncio.TaskGroup | None = None
        self._servers: tuple[TurnServer, ...] = ()
        self._links: dict[TurnServer, _Link] = {}
        self._plugs: dict[Endpoint, tuple[TurnServer, int]] = {}
        self._resuming: dict[Endpoint, asyncio.TimerHandle] = {}
        self._past: Counter[str] = Counter()

    def set_servers(self, servers: tuple[TurnServer, ...]) -> None:
        """Use these servers, from `run` on."""
        self._servers = servers
        if self._group is not None:
            self._traversal.set_turn_servers(servers, self._loop.time())
            self._on_change()

    async def run(self) -> None:
        """Keep the connections until cancelled; then let the servers forget us."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self.set_servers(self._servers)
                await asyncio.Event().wait()
        finally:
            self._group = None
            for link in self._links.values():
                link.forget_all()

    def network_changed(self) -> None:
        """Make the connections anew that cannot go on on this host's network as it is now."""
        for link in self._links.values():
            link.port.network_changed()

    def say_goodbye(self) -> None:
        """Release what the servers keep for us, while the connections still stand."""
        self._traversal.set_turn_servers((), self._loop.time())
        self.flush()

    @property
    def plugs(self) -> frozenset[Endpoint]:
        """Where WireGuard finds the channels that are plugged in."""
        return frozenset(self._plugs)

    @property
    def counters(self) -> Counter[str]:
        """Frames and data by fate, of all connections since the start."""
        return sum((link.port.counters for link in self._links.values()), Counter(self._past))

    def flush(self) -> None:
        """Send what the traversal has for the servers."""
        for frame in self._traversal.frames_to_send():
            link = self._links.get(frame.server)
            if link is not None:
                link.port.send(frame.payload)

    def handle_event(self, event: RelayEvent) -> None:
        """Do what the traversal asks for."""
        match event:
            case ConnectionRequested(server):
                self._connect(server)
            case ConnectionReleased(server):
                self._release(server)
            case ReconnectRequested(server):
                if (link := self._links.get(server)) is not None:
                    link.port.reconnect("the server does not answer")
            case RelayChannelBound(server, relayed, remote, channel):
                self._plug(server, (relayed, remote), channel)
            case RelayChannelLost(server, relayed, remote):
                self._unplug(server, (relayed, remote))
            case TurnServerChanged(server, relayed, trouble):
                state = "relays" if relayed else "stands by"
                text = state if trouble is None else trouble.value
                _log.info("TURN server changed", extra={"server": str(server), "state": text})
            case _:
                assert_never(event)

    def hand_over(self, endpoint: Endpoint, on_late: Callable[[], None]) -> None:
        """Tell for a while of data that still comes by a plug which a peer has left."""
        plug = self._plugs.get(endpoint)
        if plug is not None and (link := self._links.get(plug[0])) is not None:
            self.resume(endpoint)
            link.port.drain(plug[1], on_late)
            self._resuming[endpoint] = self._loop.call_later(self._hand_over, self.resume, endpoint)

    def resume(self, endpoint: Endpoint) -> None:
        """Take data that comes by a plug as a matter of course again."""
        if (timer := self._resuming.pop(endpoint, None)) is not None:
            timer.cancel()
        plug = self._plugs.get(endpoint)
        if plug is not None and (link := self._links.get(plug[0])) is not None:
            link.port.plug(plug[1])

    def _connect(self, server: TurnServer) -> None:
        if server in self._links or self._group is None:
            return
        port = RelayPort(
            server,
            self._settings,
            on_frame=partial(self._on_frame, server),
            on_connected=partial(self._on_connected, server),
            on_disconnected=partial(self._on_disconnected, server),
            rng=self._rng,
        )
        self._links[server] = _Link(port, self._group.create_task(port.run()))

    def _release(self, server: TurnServer) -> None:
        link = self._links.pop(server, None)
        if link is not None:
            link.forget_all()
            link.task.cancel()
            link.port.close()
            self._past += link.port.counters
            self._forget_plugs(server)

    def _plug(self, server: TurnServer, key: _Channel, channel: int) -> None:
        link = self._links.get(server)
        if link is None:
            return
        link.forget(key)
        try:
            loopback = link.port.plug(channel)
        except OSError as error:
            _log.warning("no socket for a relay", extra={"error": error.strerror})
            link.waiting[key] = self._loop.call_later(
                self._plug_retry, self._plug, server, key, channel
            )
            return
        link.channels[key] = channel
        self._plugs[loopback] = (server, channel)
        self._traversal.plug(*key, loopback, self._loop.time())
        self._on_change()

    def _unplug(self, server: TurnServer, key: _Channel) -> None:
        link = self._links.get(server)
        channel = None if link is None else link.forget(key)
        if link is not None and channel is not None:
            link.port.unplug(channel)
            self._plugs = {e: plug for e, plug in self._plugs.items() if plug != (server, channel)}

    def _forget_plugs(self, server: TurnServer) -> None:
        self._plugs = {e: plug for e, plug in self._plugs.items() if plug[0] != server}

    # What ports say ---------------------------------------------------------------------------

    def _on_frame(self, server: TurnServer, frame: bytes) -> None:
        self._traversal.receive_frame(server, frame, self._loop.time())
        self._on_change()

    def _on_connected(self, server: TurnServer) -> None:
        self._traversal.relay_connected(server, self._loop.time())
        self._on_change()

    def _on_disconnected(self, server: TurnServer, reason: str) -> None:
        link = self._links.get(server)
        if link is not None:
            link.forget_all()
            self._forget_plugs(server)
            self._traversal.relay_disconnected(server, self._loop.time())
            self._on_change()
