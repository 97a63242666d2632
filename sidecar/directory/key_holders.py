"""Whose each WireGuard key is, when several devices announce it (design S4).

WireGuard knows a peer by its key alone, so of several devices one counts: we for our own key; the
one whose check has passed, since credentials are bound to key *and* identity; else each in turn,
the first to say it first, until a check passes. So who repeats a stolen key delays its owner at
those who never met it, and gets nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ..announcement import Announcement
from ..identity import DeviceKey, PublicKey
from .records import Standing


@dataclass(frozen=True, slots=True)
class KeyHolding:
    """A key that is announced.

    Attributes:
        holder: who counts as its owner.
        others: who else announces it, and is ignored.
        proven: whether there is nothing more to find out.
    """

    holder: DeviceKey
    others: tuple[DeviceKey, ...]
    proven: bool


class KeyHolders:
    """What is proven of keys, and who is tried."""

    def __init__(self) -> None:
        self._confirmed: dict[PublicKey, DeviceKey] = {}
        self._turns: dict[PublicKey, int] = {}

    def confirm(self, device: DeviceKey, key: PublicKey) -> bool:
        """Note that a check with credentials of key and device has passed; whether that is new."""
        if self._confirmed.get(key) == device:
            return False
        self._confirmed[key] = device
        self._turns.pop(key, None)
        return True

    def try_next(self, key: PublicKey) -> None:
        """Give the next of those who announce a key its turn."""
        self._turns[key] = self._turns.get(key, 0) + 1

    def holdings(
        self, standings: Mapping[DeviceKey, Standing], own: DeviceKey, own_key: PublicKey
    ) -> dict[PublicKey, KeyHolding]:
        """Decide whose each key is.

        Args:
            standings: of all devices that count.
            own: our device.
            own_key: our key, which is ours whoever announces it.
        """
        claimants: dict[PublicKey, list[tuple[bool, int, DeviceKey]]] = {}
        for device, standing in standings.items():
            line = standing.current.line if standing.current is not None else None
            if isinstance(line, Announcement):
                # A legacy line can prove nothing.
                claim = (line.legacy, standing.first_with_key, device)
                claimants.setdefault(line.public_key, []).append(claim)
        found: dict[PublicKey, KeyHolding] = {}
        for key, claims in claimants.items():
            devices = [device for _, _, device in sorted(claims)]
            ours = KeyHolding(own, tuple(d for d in devices if d != own), proven=True)
            found[key] = ours if key == own_key else self._decide(key, devices)
        return found

    def _decide(self, key: PublicKey, devices: list[DeviceKey]) -> KeyHolding:
        proven = self._confirmed.get(key)
        if proven in devices:
            holder = proven
        else:
            holder, proven = devices[self._turns.get(key, 0) % len(devices)], None
        others = tuple(device for device in devices if device != holder)
        return KeyHolding(holder, others, proven is not None or not others)
