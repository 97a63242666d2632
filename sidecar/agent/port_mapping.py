"""Port mappings as the agent has them: on or off, told to the path machines, shown in the status."""

import asyncio
from collections.abc import Callable, Mapping
from hashlib import blake2s
from random import Random
from typing import Final

from nat.candidate import is_private_address
from nat.gathering import MappedEndpoint
from nat.io.interfaces import HostNetwork
from nat.io.port_mapping import PortMappings
from nat.portmap.events import MapperReport

from ..settings import Settings
from ..status import PortMappingState, PortMappingStatus
from ..store import Identity

_SECRET_LABEL: Final = b"kbwg pcp"
"""What makes the secret of the mappings' nonces useless for anything else (8 bytes at most)."""


class PortMappingKeeper:
    """Keeps WireGuard's port mapped, unless the settings say not to.

    Args:
        settings: whether, and with which mark.
        identity: port and key; a key of its own is derived for the nonces, so that a restarted
            agent can renew and delete what its predecessor mapped.
        rng: source of jitter.
        on_change: gets all mappings, best first, whenever they change.
        outlives: whether the mappings are to stay at the end.
    """

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        *,
        rng: Random,
        on_change: Callable[[tuple[MappedEndpoint, ...]], None],
        outlives: Callable[[], bool],
    ) -> None:
        self._mappings: PortMappings | None = None
        if settings.port_mapping == "on":
            self._mappings = PortMappings(
                port=identity.listen_port,
                mark=settings.fwmark,
                secret=blake2s(identity.private_key.raw, person=_SECRET_LABEL).digest(),
                rng=rng,
                on_change=on_change,
                keep=outlives,
            )

    def network_changed(self, network: HostNetwork) -> None:
        """Take in the host's network."""
        if self._mappings is not None:
            self._mappings.network_changed(network)

    async def run(self) -> None:
        """Map until cancelled; then delete what was mapped."""
        if self._mappings is not None:
            await self._mappings.run()
        else:
            await asyncio.Event().wait()

    @property
    def counters(self) -> Mapping[str, int]:
        """Datagrams that were dropped, by reason."""
        return {} if self._mappings is None else self._mappings.counters

    def statuses(self) -> tuple[PortMappingStatus, ...]:
        """Describe the mapping at each gateway."""
        reports = () if self._mappings is None else self._mappings.reports()
        return tuple(describe_mapping(report) for report in reports)


def describe_mapping(report: MapperReport) -> PortMappingStatus:
    """Describe a mapping for the status document."""
    external = report.external
    expires_in = report.expires_in
    return PortMappingStatus(
        gateway=str(report.uplink.gateway.ip),
        interface=report.uplink.gateway.interface,
        state=PortMappingState(report.state.value),
        found=tuple(protocol.value for protocol in report.spoken),
        protocol=None if report.protocol is None else report.protocol.value,
        internal=str(report.uplink.base),
        external=None if external is None else str(external),
        behind_another_nat=external is not None
        and external.ip.version == 4
        and is_private_address(external.ip),
        expires_in_seconds=None if expires_in is None else round(expires_in),
        refusal=report.refusal,
    )
