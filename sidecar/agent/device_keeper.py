"""Keeps the WireGuard device as it is wanted, and tells what it sees there.

One task owns the back end, so that changes are never made in the wrong order: an endpoint is set
only after the reconciliation that adds its peer. Endpoints of peers that WireGuard has come before
all else: data waits for them, and a comparison of everything takes a busy host half a second.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final

from ..errors import BackendError, StartError
from ..identity import PublicKey
from ..wireguard.backend import Backend
from ..wireguard.changes import EndpointChange
from ..wireguard.device import DeviceConfig, PeerState
from ..wireguard.reconcile import diff, settled
from .route_keeper import RouteKeeper

_log = logging.getLogger(__name__)

POLL_INTERVAL: Final = 0.5
"""Seconds between looks at the peers: the kernel roams by itself and tells nobody, and data that
begins to flow on a path that died while nobody used it must not wait long for a check."""

CROWD: Final = 100
"""Peers from which on looks are half as often: one takes wireguard-go 5 ms then, 45 for 1,000."""

BUSY_INTERVAL: Final = 0.05
"""Seconds between looks while a first handshake is expected."""

HAND_OVER_INTERVAL: Final = 0.005
"""Seconds between looks while data that is still under way may make the kernel fall back to a path
that was left. Shorter than the time between the packets of a busy call, so that the two ends do not
keep each other at the old path."""

RECONCILE_INTERVAL: Final = 30.0
"""Seconds between full comparisons: somebody else may have changed the interface."""

FIRST_RETRY: Final = 0.1
"""Seconds until a round that failed for the first time is tried again: wireguard-go has died, and
traffic should be back 2 s after that."""

RETRY: Final = 1.0
"""Seconds until a round that failed again is tried again."""


class DeviceKeeper:
    """Reconciles, applies endpoint changes and observes, for as long as it runs.

    Args:
        backend: the one that is driven here and nowhere else.
        routes: settled before an endpoint is set, so that no datagram leaves by another uplink.
        wanted: returns the wanted device; `None` while nothing may be removed yet.
        guard: makes the packet filter be that of a wanted device, before anything of it is; again
            whenever its addresses are others, and periodically. Not for each new peer, whose first
            datagram would wait for it: one run of `nft` takes a busy host 30 ms.
        busy: whether a session is about to begin.
        handing_over: whether a peer's data has just left a path.
        on_observed: gets the peers after every look.
        on_failure: gets the text of what does not work, `None` when it works again.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        routes: RouteKeeper,
        wanted: Callable[[], DeviceConfig | None],
        guard: Callable[[DeviceConfig], Awaitable[None]],
        busy: Callable[[], bool],
        handing_over: Callable[[], bool] = lambda: False,
        on_observed: Callable[[Mapping[PublicKey, PeerState]], None],
        on_failure: Callable[[str | None], None],
    ) -> None:
        self._backend = backend
        self._routes = routes
        self._wanted = wanted
        self._guard = guard
        self._busy = busy
        self._handing_over = handing_over
        self._on_observed = on_observed
        self._on_failure = on_failure
        self._updates: list[EndpointChange] = []
        self._known: AbstractSet[PublicKey] = frozenset()
        self._dirty = True
        self._guarded: AbstractSet[IPv4Interface | IPv6Interface] | None = None
        self._wake = asyncio.Event()
        self.has_ipv6 = False
        """Whether the interface can have IPv6 addresses, as of the last comparison."""

    def reconcile(self) -> None:
        """Compare and mend the whole device soon."""
        self._dirty = True
        self._wake.set()

    def update(self, changes: Sequence[EndpointChange]) -> None:
        """Set endpoints and keepalives soon, in this order, after any reconciliation."""
        self._updates.extend(changes)
        self._wake.set()

    def look(self) -> None:
        """Look at the peers soon, and closely for as long as `busy` says."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        next_full = loop.time() + RECONCILE_INTERVAL
        retry = FIRST_RETRY
        while True:
            if loop.time() >= next_full:
                self._dirty, self._guarded = True, None
                next_full = loop.time() + RECONCILE_INTERVAL
            try:
                await self._round()
            except (BackendError, StartError) as error:
                _log.warning("device refused a change", extra={"error": str(error)})
                self._known, self._guarded = frozenset(), None
                self._on_failure(str(error))
                self._dirty = True
                await asyncio.sleep(retry)
                retry = RETRY
                continue
            retry = FIRST_RETRY
            self._on_failure(None)
            await self._rest()

    async def _round(self) -> None:
        self._wake.clear()
        if all(change.public_key in self._known for change in self._updates):
            await self._move()
        if self._dirty:
            wanted = self._wanted()
            if wanted is not None:
                self._dirty = False
                await self._mend(wanted)
        await self._routes.settle()
        await self._move()
        peers = await self._backend.read_peers()
        self._known = frozenset(peers)
        self._routes.observe(
            frozenset(peer.endpoint.ip for peer in peers.values() if peer.endpoint is not None)
        )
        self._on_observed(peers)

    async def _move(self) -> None:
        """Set the endpoints that are due."""
        while self._updates:
            if not self._routes.settled:
                await self._routes.settle()
                continue
            # Taken out only when they are done: refused ones are tried again after the mending.
            updates = list(self._updates)
            await self._backend.apply(updates)
            del self._updates[: len(updates)]

    async def _mend(self, wanted: DeviceConfig) -> None:
        actual = await self._backend.read()
        if actual is not None:
            wanted = settled(wanted, actual)
        if actual is None or wanted.addresses != self._guarded:
            await self._guard(wanted)
            self._guarded = wanted.addresses
        if actual is None:
            _log.warning("interface vanished, made again", extra={"interface": wanted.interface})
            await self._backend.create(wanted.alias)
            actual = await self._backend.read()
        if actual is None:
            raise BackendError(f"interface {wanted.interface} vanishes as soon as it is made")
        self.has_ipv6 = actual.ipv6
        changes = diff(wanted, actual)
        if changes:
            _log.debug("device reconciled", extra={"changes": len(changes)})
            await self._backend.apply(changes)

    async def _rest(self) -> None:
        interval = POLL_INTERVAL if len(self._known) < CROWD else 2 * POLL_INTERVAL
        if self._busy():
            interval = BUSY_INTERVAL
        if self._handing_over():
            interval = HAND_OVER_INTERVAL
        try:
            async with asyncio.timeout(interval):
                await self._wake.wait()
        except TimeoutError:
            pass
