"""The agent's side towards WireGuard: the device is what the mesh wants, behind its filter."""

import logging
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nat.io.driver import Mutate
from nat.io.ways import Ways

from ..errors import BackendError, StartError
from ..firewall.nft import Firewall
from ..firewall.rules import TunnelFilter
from ..health import Condition, Health
from ..identity import PublicKey
from ..mesh.mesh import Mesh
from ..wireguard.changes import EndpointChange
from ..wireguard.device import DeviceConfig, PeerState
from .device_keeper import DeviceKeeper
from .route_keeper import RouteKeeper
from .start import Started, alias_of

_log = logging.getLogger(__name__)


class DeviceSide:
    """Keeps interface, packet filter and routes, and tells the mesh what WireGuard sees.

    Args:
        started: what the start found out.
        mesh: says what is wanted.
        health: told of what the host refuses.
        mutate: has the mesh changed and driven.
    """

    def __init__(self, started: Started, mesh: Mesh, *, health: Health, mutate: Mutate) -> None:
        self._settings = started.settings
        self._identity = started.identity
        self._mesh = mesh
        self._health = health
        self._mutate = mutate
        self._firewall = Firewall()
        self._routes = RouteKeeper(
            started.routes,
            flows=lambda: mesh.flows,
            on_failure=self._on_routes_failure,
            on_filtered=self._on_filtered,
        )
        self._keeper = DeviceKeeper(
            started.backend,
            routes=self._routes,
            wanted=self._wanted_device,
            guard=self._guard,
            busy=lambda: mesh.busy,
            handing_over=lambda: mesh.handing_over,
            on_observed=self._on_observed,
            on_failure=self._on_device_failure,
        )

    def parts(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return what runs until it is cancelled."""
        return (self._keeper.run(),)

    def reconcile(self) -> None:
        """Compare and mend the whole device soon."""
        self._keeper.reconcile()

    def update(self, changes: Sequence[EndpointChange]) -> None:
        """Set endpoints and keepalives soon, in this order, after any reconciliation."""
        self._keeper.update(changes)

    def look(self) -> None:
        """Look at the peers soon."""
        self._keeper.look()

    def flows_changed(self) -> None:
        """Settle the routes soon: a peer's data is to leave by another uplink."""
        self._routes.changed()
        self._keeper.look()

    def set_ways(self, ways: Ways) -> None:
        """Take in by which interface datagrams leave."""
        self._routes.set_ways(ways)
        self._keeper.look()

    @property
    def has_ipv6(self) -> bool:
        """Whether the interface can have IPv6 addresses."""
        return self._keeper.has_ipv6

    # What the mesh wants ----------------------------------------------------------------------

    def _wanted_device(self) -> DeviceConfig | None:
        if not self._mesh.loaded:
            return None
        identity, settings = self._identity, self._settings
        return DeviceConfig(
            interface=settings.interface,
            alias=alias_of(settings.team, identity),
            private_key=identity.private_key,
            listen_port=identity.listen_port,
            fwmark=settings.fwmark,
            mtu=self._mesh.mtu,
            addresses=self._mesh.addresses,
            peers=self._mesh.peer_configs,
            routes=self._mesh.routes,
            tentative=self._mesh.tentative,
        )

    async def _guard(self, device: DeviceConfig) -> None:
        if self._settings.firewall:
            await self._firewall.keep(TunnelFilter(device.interface, device.addresses))
            return
        clamp = TunnelFilter(device.interface, device.addresses, filtering=False)
        try:
            await self._firewall.keep(clamp)
        except (BackendError, StartError) as error:
            # Only who forwards TCP for others misses it: no reason to be without a tunnel.
            _log.debug("TCP's segments are not clamped", extra={"error": str(error)})

    # What the host says -----------------------------------------------------------------------

    def _on_observed(self, peers: Mapping[PublicKey, PeerState]) -> None:
        self._mutate(lambda now: self._mesh.observe(peers, datetime.now(UTC), now))

    def _on_routes_failure(self, text: str | None) -> None:
        self._tell(Condition.ROUTES_REFUSED, text)

    def _on_device_failure(self, text: str | None) -> None:
        self._tell(Condition.DEVICE_UNUSABLE, text)

    def _on_filtered(self, uplinks: Sequence[tuple[str, str]]) -> None:
        self._health.replace(Condition.UPLINK_FILTERED, uplinks, now=datetime.now(UTC))

    def _tell(self, condition: Condition, text: str | None) -> None:
        cases = [] if text is None else [("", text)]
        self._health.replace(condition, cases, now=datetime.now(UTC))
