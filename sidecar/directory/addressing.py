"""Overlay addresses of devices without a static entry: a pure fold over messages (design A2).

Whoever has the same set of messages holds the same book, whatever their order of arrival. Time
is the log's `sent_at`, never a local clock:

* the earliest message that claims a free address holds it; of two of the same millisecond that of
  the lower id. Not the id alone: chat and the DEV topic count each for themselves, so that a claim
  in the one would come before all of the other, however late;
* a lease lasts 90 minutes from the holder's last claim, judged when a competing claim arrives;
* a device that claims another address gives its earlier one up;
* `since` lets a holder prove its seniority over a claim that came before its visible refreshes:
  believed if that message is visible and matches. Of what nobody can see anybody may say anything:
  there who is seen earlier holds, and `tenancy` remembers;
* a deleted claim holds nothing: those who come later cannot see it either.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from random import Random
from typing import Final

from ..identity import DeviceKey

LEASE: Final = 90 * 60.0
"""Seconds of the log's time: three announcement intervals and a bit."""

TRIES: Final = 64
"""Random draws before free addresses are listed: enough unless the subnet is nearly full."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A device's announcement of an address, as message `id` sent at `sent_at` (seconds)."""

    id: int
    sent_at: float
    device: DeviceKey
    ip: IPv4Address
    since: int | None

    @property
    def order(self) -> tuple[float, int]:
        """Its place in the log: by time, since a message's id is only its conversation's own."""
        return (self.sent_at, self.id)


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds an address: since which claim, last renewed by which."""

    device: DeviceKey
    first: int
    last: int
    renewed_at: float


@dataclass(frozen=True, slots=True)
class AddressBook:
    """The result of the fold. No address has two holders and no device two addresses."""

    leases: dict[IPv4Address, Lease]

    def address_of(self, device: DeviceKey) -> IPv4Address | None:
        """Return the address that a device holds."""
        return next((ip for ip, lease in self.leases.items() if lease.device == device), None)

    def addresses(self) -> dict[DeviceKey, IPv4Address]:
        """Return every holder's address."""
        return {lease.device: ip for ip, lease in self.leases.items()}


class Fold:
    """The fold in the middle of the log: fed with claims in their order.

    Args:
        usable: addresses that may be held: the subnet without network and broadcast address.
        static: addresses of `peers.json`, which are nobody else's.
    """

    def __init__(self, *, usable: IPv4Network, static: frozenset[IPv4Address]) -> None:
        self._usable = usable
        self._static = static
        self._visible: dict[int, Claim] = {}
        self._leases: dict[IPv4Address, Lease] = {}
        self._held: dict[DeviceKey, IPv4Address] = {}
        self._lost: dict[tuple[DeviceKey, IPv4Address], tuple[float, int]] = {}

    def claim(self, claim: Claim) -> None:
        """Judge the next claim."""
        self._visible[claim.id] = claim
        if not _is_host(claim.ip, self._usable) or claim.ip in self._static:
            return
        pair = (claim.device, claim.ip)
        first = self._seniority(claim)
        if pair in self._lost and self._order(first) < self._lost[pair]:
            first = claim.id  # the row was broken: somebody else held the address meanwhile
        before = self._leases.get(claim.ip)
        lease = self._decide(before, claim, first)
        if lease is None:
            return
        if before is not None and before.device != claim.device:
            del self._held[before.device]
            self._lost[before.device, claim.ip] = claim.order
        earlier = self._held.get(claim.device)
        if earlier is not None and earlier != claim.ip:
            del self._leases[earlier]
        self._leases[claim.ip], self._held[claim.device] = lease, claim.ip

    def book(self) -> AddressBook:
        """Return who holds what by now."""
        return AddressBook(dict(self._leases))

    def _seniority(self, claim: Claim) -> int:
        """Return the id from which the claim counts: `since` if it is believed, else its own."""
        named = None if claim.since is None else self._visible.get(claim.since)
        same = named is not None and (named.device, named.ip) == (claim.device, claim.ip)
        return named.id if named is not None and same else claim.id

    def _order(self, id_: int) -> tuple[float, int]:
        return self._visible[id_].order

    def _decide(self, lease: Lease | None, claim: Claim, first: int) -> Lease | None:
        """Return the lease after `claim` of its address; `None`: the claim changes nothing."""
        if lease is None:
            return Lease(claim.device, first, claim.id, claim.sent_at)
        if lease.device == claim.device:
            first = min(lease.first, first, key=self._order)
            return replace(lease, first=first, last=claim.id, renewed_at=claim.sent_at)
        lapsed = claim.sent_at - lease.renewed_at > LEASE
        if lapsed or self._order(first) < self._order(lease.first):
            return Lease(claim.device, first, claim.id, claim.sent_at)
        return None


def fold(
    claims: Iterable[Claim],
    *,
    usable: IPv4Network,
    static: frozenset[IPv4Address],
) -> AddressBook:
    """Compute who holds what (`Fold`).

    Args:
        claims: of attested devices that are in the team, in any order.
        usable: the subnet.
        static: addresses of `peers.json`.
    """
    return folded(claims, usable=usable, static=static).book()


def folded(
    claims: Iterable[Claim],
    *,
    usable: IPv4Network,
    static: frozenset[IPv4Address],
) -> Fold:
    """Return the fold after all of these, to go on with."""
    result = Fold(usable=usable, static=static)
    for claim in sorted(set(claims), key=lambda claim: (claim.order, claim.device)):
        result.claim(claim)
    return result


def choose(
    rng: Random, book: AddressBook, *, usable: IPv4Network, taken: frozenset[IPv4Address]
) -> IPv4Address | None:
    """Pick a random address that nobody holds; `None`: all are held.

    Args:
        rng: random, so that 200 devices that start in one second rarely meet.
        book: who holds what.
        usable: the subnet.
        taken: further addresses to leave alone: static ones, and those claimed in vain.
    """
    size = usable.num_addresses
    for _ in range(TRIES):
        ip = usable[rng.randrange(1, size - 1)]
        if ip not in book.leases and ip not in taken:
            return ip
    if size > 2**16:
        return None  # 64 draws from a subnet this large fail only when it is practically full
    free = [ip for ip in usable.hosts() if ip not in book.leases and ip not in taken]
    return rng.choice(free) if free else None


def _is_host(ip: IPv4Address, usable: IPv4Network) -> bool:
    return ip in usable and ip not in (usable.network_address, usable.broadcast_address)
