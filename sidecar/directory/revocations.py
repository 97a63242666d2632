"""Which devices are revoked: as messages say it, and as the lists of their users' devices do."""

from collections.abc import Mapping
from typing import Final

from ..identity import DeviceKey

LONGEST_CACHE: Final = 900.0
"""Seconds that Keybase's client may take to notice that a user has another device: its cache of
users lives 600 (keybase: `CachedUserTimeout`), plus what clocks may differ."""


class Revocations:
    """Devices that were revoked, for good: a device id is never used again."""

    def __init__(self) -> None:
        self._revoked: set[DeviceKey] = set()
        self._seen: set[DeviceKey] = set()

    def __contains__(self, device: DeviceKey) -> bool:
        return device in self._revoked

    def add(self, device: DeviceKey) -> None:
        """Note that Keybase says so of a message's sender."""
        self._revoked.add(device)

    def handle_devices(
        self, username: str, ids: frozenset[str], spoke_at: Mapping[DeviceKey, float], wall: float
    ) -> int:
        """Take in which devices of a user are not revoked; returns how many more are.

        A device that is missing is revoked if it was there before, or if it has spoken for longer
        than a new one can be unknown. An empty answer says nothing: who speaks has a device.

        Args:
            username: whose devices.
            ids: of all that are not revoked.
            spoke_at: when each device of that user that we know has first spoken.
            wall: wall-clock time, seconds.
        """
        if not ids:
            return 0
        before = len(self._revoked)
        for device, first in spoke_at.items():
            if device[1] in ids:
                self._seen.add(device)
            elif device in self._seen or first < wall - LONGEST_CACHE:
                self._revoked.add(device)
        return len(self._revoked) - before
