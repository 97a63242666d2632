"""The agent: one TaskGroup around the mesh, from a successful start to an orderly end.

Three sides of it bring in what happens, each on its own: `team_side` (Keybase), `network_side`
(datagrams), `device_side` (WireGuard). They meet in the mesh, whose events are dispatched here.

Order of the end: no more announcements; LEAVE, so that peers drop us at once; then the interface
and everything with it. With `KBWG_KEEP_ON_STOP` none of that: the tunnel stays for the next
start to adopt. Whatever cannot go on raises, and the process ends with an error.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import assert_never

from nat.errors import SharedPortError
from nat.io.driver import Driver
from nat.io.ways import Ways
from nat.path.events import StunServerChanged
from nat.prediction.events import PortsDone, PortsWanted, PortWon, SpliceReleased
from nat.turn.events import (
    ConnectionReleased,
    ConnectionRequested,
    ReconnectRequested,
    RelayChannelBound,
    RelayChannelLost,
    TurnServerChanged,
)

from ..errors import PrivilegeError
from ..health import Health
from ..keybase.client import KeybaseClient
from ..mesh.events import (
    AnnouncementChanged,
    DeviceChanged,
    DirectoryChanged,
    EndpointsChanged,
    FlowsChanged,
    LookWanted,
    MeshEvent,
    RelayLeft,
    RelayTaken,
)
from ..store import Store
from ..team_config import TeamConfig
from . import control
from .device_side import DeviceSide
from .machines import make_machines
from .network_side import NetworkSide
from .reporter import Reporter
from .start import Started
from .team_settings import TeamSettings
from .team_side import TeamSide


class Agent:
    """A running sidecar: makes the parts, and carries what one says to the others.

    Args:
        started: what the start found out.
        client: Keybase.
        store: the state directory.
    """

    def __init__(self, started: Started, client: KeybaseClient, store: Store) -> None:
        self._stop = asyncio.Event()
        self._forced_down = False
        rng = secrets.SystemRandom()
        health = Health()
        self._settings = TeamSettings(started.host_settings, started.team_config, store, health)
        machines = make_machines(started, store, rng=rng, now=asyncio.get_running_loop().time())
        self._mesh = machines.mesh
        self._device = DeviceSide(started, machines.mesh, health=health, mutate=self._mutate)
        self._network = NetworkSide(
            started,
            machines,
            rng=rng,
            mutate=self._mutate,
            keeps_tunnel=lambda: self.keeps_tunnel,
            on_ways=self._on_ways,
        )
        self._team = TeamSide(
            started,
            machines,
            client=client,
            store=store,
            health=health,
            mutate=self._mutate,
            on_team_config=self._on_team_config,
        )
        self._reporter = Reporter(
            started,
            self._settings,
            machines,
            network=self._network,
            device=self._device,
            health=health,
            counters=lambda: {**self._network.counters, **self._team.counters},
        )
        self._driver = Driver[MeshEvent](
            machines.mesh,
            send=self._network.send,
            on_event=self._on_event,
            flush=self._network.flush,
        )
        if machines.restored:
            self._mutate(lambda now: machines.mesh.set_loaded(now, tentative=True))

    def stop(self) -> None:
        """End in order; called by signals."""
        self._stop.set()

    async def run(self) -> None:
        """Run until stopped.

        Raises:
            StartError: the shared port or the control socket cannot be opened.
        """
        try:
            self._network.open()
        except SharedPortError as error:
            raise PrivilegeError(str(error)) from error
        parts = (
            *self._team.parts(),
            *self._network.parts(),
            *self._device.parts(),
            self._reporter.run(),
            self._serve(),
        )
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(part) for part in parts]
                await self._stop.wait()
                if not self.keeps_tunnel:
                    self._network.say_goodbye()
                for task in tasks:
                    task.cancel()
        finally:
            self._driver.close()
            self._network.close()

    async def say_goodbye(self) -> None:
        """Post LEAVE, so that peers drop us at once; give up after a short while."""
        await self._team.say_goodbye()

    @property
    def keeps_tunnel(self) -> bool:
        """Whether the end leaves the interface for the next start."""
        return self._settings.settings.keep_on_stop and not self._forced_down

    async def _serve(self) -> None:
        settings, reporter = self._settings.settings, self._reporter
        async with control.serve(
            control.socket_path(settings.runtime_dir, settings.interface),
            status=reporter.status,
            why=reporter.why,
            netcheck=reporter.netcheck,
            down=self._down,
        ):
            await asyncio.Event().wait()

    def _down(self) -> None:
        self._forced_down = True
        self._stop.set()

    def _mutate(self, change: Callable[[float], None]) -> None:
        self._driver.mutate(change)

    def _on_ways(self, ways: Ways) -> None:
        self._device.set_ways(ways)
        self._team.network_changed()

    def _on_team_config(self, config: TeamConfig, content: bytes | None) -> None:
        if self._settings.take(config, content):
            self._network.renew(self._settings.settings)
            self._device.reconcile()
            self._mutate(lambda now: self._mesh.handle_policy(config.policy, now))

    def _on_event(self, event: MeshEvent) -> None:
        match event:
            case DeviceChanged():
                self._device.reconcile()
            case EndpointsChanged(changes=changes):
                self._device.update(changes)
            case LookWanted():
                self._device.look()
            case FlowsChanged():
                self._device.flows_changed()
            case AnnouncementChanged():
                self._team.announcement_changed()
            case DirectoryChanged():
                self._team.directory_changed()
            case RelayLeft(peer=peer, endpoint=endpoint):
                self._network.relay_left(peer, endpoint)
            case RelayTaken(endpoint=endpoint):
                self._network.relay_taken(endpoint)
            case (
                ConnectionRequested()
                | ConnectionReleased()
                | ReconnectRequested()
                | TurnServerChanged()
                | RelayChannelBound()
                | RelayChannelLost()
            ):
                self._network.handle_relay_event(event)
            case PortsWanted() | PortsDone() | PortWon() | SpliceReleased():
                self._network.handle_prediction_event(event)
            case StunServerChanged():
                pass  # read off when somebody asks
            case _:
                assert_never(event)
