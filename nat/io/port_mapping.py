"""Port mappings of all uplinks: a mapper each, with its socket, and UPnP where it asks for it."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final, assert_never

from pyroute2.netlink.exceptions import NetlinkError

from ..candidate import is_private_address
from ..gathering import MappedEndpoint
from ..machine import Datagram
from ..portmap.events import (
    MapperEvent,
    MapperReport,
    MapperState,
    PortMapped,
    PortUnmapped,
    Released,
    UpnpMapRequested,
    UpnpUnmapRequested,
)
from ..portmap.mapper import Mapper
from ..portmap.memory import GatewayMemory
from ..portmap.values import Uplink
from .announcements import Announcements
from .driver import Driver
from .gateway_socket import GatewaySocket
from .gateways import find_uplinks
from .interfaces import HostNetwork
from .upnp import UpnpClient

_log = logging.getLogger(__name__)

RELEASE_TIMEOUT: Final = 2.0
"""Seconds that the deletion of all mappings may take at the end."""

SOCKET_RETRY: Final = 30.0
"""Seconds until a gateway to which no socket could be opened is tried again: an address may be
coming, descriptors may have run out, and neither is told by a change of the network."""

NEIGHBOUR_WAIT: Final = 0.5
"""Seconds until the hardware address of a new gateway is known, so that it can be recognised."""


class PortMappings:
    """Keeps one UDP port mapped at every gateway.

    Args:
        port: the local port.
        mark: SO_MARK of what is sent; 0 for none.
        secret: for the mappings' nonces; the same after a restart (`nat.portmap.mapper`).
        rng: source of jitter.
        on_change: gets all mappings, best first, whenever they change.
        keep: whether, when the end comes, the mappings stay for the next start.
    """

    def __init__(
        self,
        *,
        port: int,
        mark: int,
        secret: bytes,
        rng: Random,
        on_change: Callable[[tuple[MappedEndpoint, ...]], None],
        keep: Callable[[], bool] = lambda: False,
    ) -> None:
        self._port = port
        self._mark = mark
        self._secret = secret
        self._rng = rng
        self._on_change = on_change
        self._keep = keep
        self._memory = GatewayMemory()
        self._lines: dict[Uplink, _Line] = {}
        self._network: HostNetwork | None = None
        self._followed = False
        self._changed = asyncio.Event()
        self._mapped: tuple[MappedEndpoint, ...] = ()
        self._announcements = Announcements(self._on_announcement)

    def network_changed(self, network: HostNetwork) -> None:
        """Take in the host's network."""
        self._network = network
        self._changed.set()

    @property
    def settled(self) -> bool:
        """Whether every gateway has been asked, and has answered or not."""
        states = [report.state for report in self.reports()]
        return self._followed and MapperState.SEARCHING not in states

    def reports(self) -> tuple[MapperReport, ...]:
        """Describe the mapping of each uplink, best first."""
        now = asyncio.get_running_loop().time()
        return tuple(line.mapper.report(now) for line in self._lines.values())

    @property
    def counters(self) -> Counter[str]:
        """Datagrams that were dropped, by reason."""
        return sum((line.mapper.ignored for line in self._lines.values()), Counter[str]())

    async def run(self) -> None:
        """Keep mappings until cancelled; then delete them, unless they are to be kept."""
        self._announcements.open()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._changed.wait()
                    self._changed.clear()
                    await self._follow(group)
        finally:
            self._announcements.close()
            await self._release()

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        """Open and close lines, so that there is one for each uplink."""
        if self._network is None:
            return
        try:
            wanted = await asyncio.to_thread(find_uplinks, self._network, self._port)
            if any(uplink.gateway.hardware_address is None for uplink in wanted):
                await asyncio.sleep(NEIGHBOUR_WAIT)
                wanted = await asyncio.to_thread(find_uplinks, self._network, self._port)
        except (OSError, NetlinkError) as error:
            # A dump that a change has interrupted, or no socket left: the next look may succeed.
            _log.debug("gateways not read, looked for again", extra={"error": str(error)})
            await asyncio.sleep(NEIGHBOUR_WAIT)
            self._changed.set()
            return
        complete = True
        before, self._lines = self._lines, {}
        for uplink, line in before.items():
            if uplink in wanted:
                line.driver.mutate(line.mapper.verify)
            else:
                line.close()
        for uplink in wanted:
            try:
                self._lines[uplink] = before.get(uplink) or self._open(uplink, group)
            except OSError as error:
                extra = {"host": str(uplink.gateway.ip), "error": str(error)}
                _log.debug("no socket towards the gateway", extra=extra)
                complete = False
        if not complete:
            asyncio.get_running_loop().call_later(SOCKET_RETRY, self._changed.set)
        self._followed = True
        self._publish()

    def _open(self, uplink: Uplink, group: asyncio.TaskGroup) -> "_Line":
        line = _Line(
            uplink,
            mark=self._mark,
            secret=self._secret,
            memory=self._memory,
            rng=self._rng,
            on_change=self._publish,
        )
        line.start(group)
        return line

    async def _release(self) -> None:
        lines, self._lines = self._lines, {}
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT):
                if not self._keep():
                    await asyncio.gather(*(line.release() for line in lines.values()))
        except TimeoutError:
            _log.debug("port mappings are left to their lifetime")
        finally:
            for line in lines.values():
                line.close()

    def _publish(self) -> None:
        """Tell the owner what is mapped, if that has changed."""
        mapped = tuple(
            MappedEndpoint(uplink.base, external, last_resort=is_private_address(external.ip))
            for uplink, line in self._lines.items()
            if (external := line.mapper.external) is not None
        )
        if mapped != self._mapped:
            self._mapped = mapped
            self._on_change(mapped)

    def _on_announcement(self, datagram: Datagram) -> None:
        for uplink, line in self._lines.items():
            if uplink.gateway.ip == datagram.source.ip:
                line.driver.receive_datagram(datagram)


class _Line:
    """One uplink: its socket, its mapper, its UPnP.

    Raises:
        OSError: no socket towards the gateway.
    """

    def __init__(
        self,
        uplink: Uplink,
        *,
        mark: int,
        secret: bytes,
        memory: GatewayMemory,
        rng: Random,
        on_change: Callable[[], None],
    ) -> None:
        self._on_change = on_change
        self._upnp = UpnpClient(uplink, mark=mark, rng=rng)
        self._orders: asyncio.Queue[UpnpMapRequested | UpnpUnmapRequested | Released] = (
            asyncio.Queue()
        )
        self._task: asyncio.Task[None] | None = None
        self._socket = GatewaySocket(
            uplink,
            mark=mark,
            on_datagram=lambda datagram: self.driver.receive_datagram(datagram),
            on_refused=lambda: self.driver.mutate(self.mapper.refused),
        )
        self.mapper = Mapper(
            uplink,
            local=self._socket.local,
            secret=secret,
            memory=memory,
            rng=rng,
            now=asyncio.get_running_loop().time(),
        )
        self.driver = Driver[MapperEvent](
            self.mapper, send=self._socket.send, on_event=self._on_event
        )

    def start(self, group: asyncio.TaskGroup) -> None:
        """Carry out, from here on, what the mapper wants of UPnP."""
        self._task = group.create_task(self._obey())

    async def release(self) -> None:
        """Delete the mapping and wait until that is done; `start`'s task has ended before."""
        self.driver.mutate(self.mapper.release)
        await self._obey()

    def close(self) -> None:
        """Stop at once; what is mapped ends with its lifetime."""
        if self._task is not None:
            self._task.cancel()
        self.driver.close()
        self._socket.close()

    async def _obey(self) -> None:
        """Do what the mapper wants of UPnP, one thing after another, until it has ended."""
        while True:
            order = await self._orders.get()
            match order:
                case UpnpMapRequested(suggested=suggested, lifetime=lifetime):
                    answer = await self._upnp.map(suggested, lifetime)
                    self.driver.mutate(partial(self.mapper.upnp_answered, answer))
                case UpnpUnmapRequested(external_port=port):
                    await self._upnp.unmap(port)
                    self.driver.mutate(self.mapper.upnp_deleted)
                case Released():
                    return
                case _:
                    assert_never(order)

    def _on_event(self, event: MapperEvent) -> None:
        match event:
            case PortMapped(external=external, protocol=protocol):
                extra = {"protocol": protocol.value, "external": str(external)}
                _log.info("port mapped", extra=extra)
                self._on_change()
            case PortUnmapped():
                _log.info("port mapping lost")
                self._on_change()
            case UpnpMapRequested() | UpnpUnmapRequested() | Released():
                self._orders.put_nowait(event)
            case _:
                assert_never(event)
