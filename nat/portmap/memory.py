"""What is remembered of gateways, so that one without port mapping is left in peace.

Routers log what they refuse, and their owners complain of the spam (Tailscale's issue 10602). A
gateway that has shown nothing is therefore asked again after a minute, then twice as late each
time, also after the host has been elsewhere and came back.
"""

from dataclasses import dataclass
from typing import Final

from ..machine import Endpoint
from .values import Gateway

FIRST_REST: Final = 60.0
"""Seconds that a gateway is left alone after a search without success; doubles each time. After a
power cut hosts are up before their router; one with PCP or NAT-PMP says when it is ready."""

LAST_REST: Final = 4 * 3600.0
"""Longest rest, seconds."""

MAX_GATEWAYS: Final = 32
"""Gateways that are remembered, the latest ones."""


@dataclass(slots=True)
class _Known:
    failures: int = 0
    quiet_until: float = 0.0
    external: Endpoint | None = None


class GatewayMemory:
    """Failures and mappings by gateway, shared by the mappers of all uplinks."""

    def __init__(self) -> None:
        self._known: dict[Gateway, _Known] = {}

    def quiet_until(self, gateway: Gateway) -> float:
        """Return when a gateway may be asked again; long ago if it never failed."""
        return self._of(gateway).quiet_until

    def last_external(self, gateway: Gateway) -> Endpoint | None:
        """Return what the gateway mapped last, to ask for the same again."""
        return self._of(gateway).external

    def failed(self, gateway: Gateway, retry_after: float | None, now: float) -> float:
        """Note a search without success; returns when the next one may begin."""
        known = self._of(gateway)
        pause = FIRST_REST * 2 ** min(known.failures, 10)
        known.failures += 1
        known.quiet_until = now + min(max(pause, retry_after or 0.0), LAST_REST)
        return known.quiet_until

    def succeeded(self, gateway: Gateway, external: Endpoint) -> None:
        """Note a mapping."""
        self._of(gateway).external = external
        self._known[gateway].failures = 0
        self._known[gateway].quiet_until = 0.0

    def _of(self, gateway: Gateway) -> _Known:
        known = self._known.pop(gateway, None) or _Known()
        self._known[gateway] = known  # the latest are at the end
        while len(self._known) > MAX_GATEWAYS:
            del self._known[next(iter(self._known))]
        return known
