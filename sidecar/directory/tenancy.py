"""Who has held an overlay address for long keeps it, whatever somebody else says of former times.

The fold of the log (`addressing`) judges by what it can see, and nobody can see more than the last
hours. A member could therefore claim another's address with a `since` of long ago, wait until the
true first claim is out of sight, and be believed. But whoever was there at the time has seen who
held it: an address that a device has held for a whole lease before our eyes, it keeps for as long
as its claims do not pause for longer than one. Only newcomers must go by the fold alone.
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from ..identity import DeviceKey
from .addressing import LEASE, AddressBook, Claim, Lease

ClaimsOf = Callable[[DeviceKey], Iterable[Claim]]
"""The claims of a device that are known, in any order."""


@dataclass(frozen=True, slots=True)
class Tenancy:
    """An address in the hands of one device.

    Attributes:
        first: message id of the claim that it counts from.
        noticed_at: time of the log when we first saw it so, in seconds.
        renewed_at: time of the log of the last claim in an unbroken row.
    """

    device: DeviceKey
    first: int
    noticed_at: float
    renewed_at: float

    @property
    def settled(self) -> bool:
        """Whether it has lasted for a lease before our eyes."""
        return self.renewed_at - self.noticed_at > LEASE


class Tenancies:
    """What this device has seen of who holds what."""

    def __init__(self) -> None:
        self._by_ip: dict[IPv4Address, Tenancy] = {}

    @property
    def known(self) -> Mapping[IPv4Address, Tenancy]:
        """The tenancies, for the cache."""
        return self._by_ip

    def restore(self, tenancies: Mapping[IPv4Address, Tenancy]) -> None:
        """Take back what a former run has seen."""
        self._by_ip = dict(tenancies)

    def settle(
        self, book: AddressBook, claims_of: ClaimsOf, eligible: AbstractSet[DeviceKey]
    ) -> AddressBook:
        """Return the book with every settled address in its holder's hands.

        Args:
            book: what the fold says.
            claims_of: the claims that it was folded from.
            eligible: devices whose claims count.
        """
        overruled: dict[IPv4Address, Lease] = {}
        for ip, lease in book.leases.items():
            known = self._by_ip.get(ip)
            if known is not None and known.device != lease.device:
                known = self._still(ip, known, claims_of(known.device), lease, eligible)
                if known is not None:
                    overruled[ip] = Lease(known.device, known.first, lease.last, known.renewed_at)
            self._by_ip[ip] = _seen(known, lease)
        for ip in self._by_ip.keys() - book.leases.keys():
            del self._by_ip[ip]
        return AddressBook({**book.leases, **overruled}) if overruled else book

    def _still(
        self,
        ip: IPv4Address,
        known: Tenancy,
        claims: Iterable[Claim],
        rival: Lease,
        eligible: AbstractSet[DeviceKey],
    ) -> Tenancy | None:
        """Return a tenancy up to date; `None`: it was not settled, or has come to an end."""
        if not known.settled or known.device not in eligible:
            return None
        latest: Claim | None = None
        for claim in sorted(claims, key=lambda claim: claim.order):
            latest = claim
            if claim.ip == ip and 0 <= claim.sent_at - known.renewed_at <= LEASE:
                known = replace(known, renewed_at=claim.sent_at)
        moved = latest is None or latest.ip != ip
        lapsed = rival.renewed_at - known.renewed_at > LEASE
        return None if moved or lapsed else known


def _seen(known: Tenancy | None, lease: Lease) -> Tenancy:
    """Return what is known of an address, given what the fold says of it and whether we follow."""
    if known is None:
        return Tenancy(lease.device, lease.first, lease.renewed_at, lease.renewed_at)
    if known.device != lease.device:
        return known
    if lease.renewed_at <= known.renewed_at and lease.first >= known.first:
        return known
    renewed_at = max(known.renewed_at, lease.renewed_at)
    return replace(known, first=min(known.first, lease.first), renewed_at=renewed_at)
