"""Which overlay address this device claims, if none is listed for it (design A2)."""

from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv4Network
from random import Random

from ..identity import DeviceKey
from .addressing import AddressBook, choose


class OwnClaim:
    """Our claim: the same until something speaks against it.

    Args:
        own: this device.
        subnet: the overlay network.
        preferred: the overlay address of the last run, taken again if it is free.
    """

    def __init__(
        self, own: DeviceKey, subnet: IPv4Network, preferred: IPv4Address | None = None
    ) -> None:
        self._own = own
        self._subnet = subnet
        self._preferred = preferred
        self._choice: IPv4Address | None = None
        self._lost: set[IPv4Address] = set()

    def decide(
        self, book: AddressBook, static: AbstractSet[IPv4Address], rng: Random
    ) -> tuple[IPv4Address | None, int | None]:
        """Return address and `since` of the claim; `(None, None)`: no address is free.

        Args:
            book: who holds what.
            static: addresses of `peers.json`.
            rng: source of a random choice.
        """
        held = book.address_of(self._own)
        if held is not None:
            self._choice = self._preferred = held
            return held, book.leases[held].first
        taken = static | self._lost
        if self._choice is not None and (self._choice in book.leases or self._choice in taken):
            self._lost.add(self._choice)
            self._choice = None
        if self._choice is None:
            if self._preferred is not None and self._is_free(self._preferred, book, taken):
                self._choice = self._preferred
            else:
                self._choice = choose(rng, book, usable=self._subnet, taken=frozenset(taken))
        return self._choice, None

    def _is_free(self, ip: IPv4Address, book: AddressBook, taken: AbstractSet[IPv4Address]) -> bool:
        return ip in self._subnet and ip not in book.leases and ip not in taken
