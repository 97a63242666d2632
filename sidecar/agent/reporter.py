"""What the agent answers who asks: its status, why a peer is reached as it is, a look at the NAT."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from ..health import Health
from ..status import Status
from ..why.document import Here, Why, describe, find
from ..why.facts import Filtering
from ..why.verdicts import own_side
from .device_side import DeviceSide
from .machines import Machines
from .network_side import NetworkSide
from .report import agent_version, describe_self, merge_counters, note_conditions
from .start import Started
from .team_settings import TeamSettings

NOTE_INTERVAL: Final = 2.0
"""Seconds between looks at what is wrong: a condition counts from when it began, not from when
somebody first asked, and is shown once it has lasted (`health`)."""


class Reporter:
    """Describes an agent at the moment of asking.

    Args:
        started: what the start found out.
        settings: what holds at present.
        machines: what is known of peers and paths.
        network: what is known of the network.
        device: what is known of the interface.
        health: what is wrong.
        counters: returns what was counted, by part.
    """

    def __init__(
        self,
        started: Started,
        settings: TeamSettings,
        machines: Machines,
        *,
        network: NetworkSide,
        device: DeviceSide,
        health: Health,
        counters: Callable[[], Mapping[str, Mapping[str, int]]],
    ) -> None:
        self._started = started
        self._settings = settings
        self._mesh = machines.mesh
        self._traversal = machines.traversal
        self._network = network
        self._device = device
        self._health = health
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._begun = datetime.now(UTC)

    async def run(self) -> None:
        """Note what is wrong, for as long as it is, until cancelled."""
        while True:
            self._note(datetime.now(UTC))
            await asyncio.sleep(NOTE_INTERVAL)

    def status(self) -> Status:
        """Describe this agent now."""
        now = datetime.now(UTC)
        nat = self._network.nat
        self._note(now)
        return Status(
            agent_version=agent_version(),
            started=self._begun,
            self_=describe_self(
                self._settings.settings,
                self._started,
                mesh=self._mesh,
                traversal=self._traversal,
                has_ipv6=self._device.has_ipv6,
                nat=nat.nats(),
                stun=nat.servers(),
                port_mapping=self._network.port_mappings,
            ),
            peers=self._mesh.peer_statuses(self._loop.time()),
            health=self._health.entries(now),
            counters=merge_counters(self._counters()),
        )

    def why(self, peer: str) -> Why:
        """Explain how a peer is reached.

        Raises:
            LookupError: no peer, or several, are called so; says which there are.
        """
        return describe(find(self._mesh.peer_details(self._loop.time()), peer), self._here())

    async def netcheck(self) -> Status:
        """Look at what stands between this host and the internet, then describe this agent."""
        await self._network.nat.look()
        return self.status()

    def _note(self, now: datetime) -> None:
        note_conditions(
            self._health,
            mesh=self._mesh,
            traversal=self._traversal,
            nat=self._network.nat.nats(),
            port_mapping=self._network.port_mappings,
            subnet=self._settings.settings.subnet,
            backend=self._started.backend.name,
            families=self._network.families,
            now=now,
        )

    def _here(self) -> Here:
        settings = self._settings.settings
        servers = self._traversal.stun_servers.values()
        mapped = any(mapping.external for mapping in self._network.port_mappings)
        nat = next(iter(self._network.nat.nats()), None)
        return Here(
            side=own_side(
                self._traversal.local_candidates,
                varies=self._traversal.mapping_varies,
                answering=sum(answers is True for answers in servers),
                silent=sum(answers is False for answers in servers),
                mapped=mapped or bool(settings.advertise),
                filtering=Filtering(nat.filtering) if nat is not None else Filtering.UNKNOWN,
            ),
            listen_port=self._started.identity.listen_port,
            relays=bool(settings.turn_servers),
            prediction=settings.port_prediction,
        )
