"""Overlay addresses of devices without a static entry: a pure fold over messages (design A2).

Whoever has the same set of messages holds the same book, whatever their order of arrival. Time
is the log's `sent_at`, never a local clock:

* the lowest message id that claims a free address holds it;
* a lease lasts 90 minutes from the holder's last claim, judged when a competing claim arrives;
* a device that claims another address gives its earlier one up;
* `since` lets a holder prove its seniority over a claim that came before its visible refreshes:
  believed if that message is visible and matches, or lies before the window that was read while
  the claimant also appears in the window's first lease;
* a deletion retracts the holder's lease from its own id on, if it takes away the last claim.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from random import Random
from typing import Final

LEASE: Final = 90 * 60.0
"""Seconds of the log's time: three announcement intervals and a bit."""

TRIES: Final = 64
"""Random draws before free addresses are listed: enough unless the subnet is nearly full."""

DeviceKey = tuple[str, str]
"""(username, device id): what Keybase attests."""


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """A device's announcement of an address, as message `id` sent at `sent_at` (seconds)."""

    id: int
    sent_at: float
    device: DeviceKey
    ip: IPv4Address
    since: int | None


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


def fold(
    claims: Iterable[Claim],
    deletions: Iterable[tuple[int, int]],
    *,
    usable: IPv4Network,
    static: frozenset[IPv4Address],
) -> AddressBook:
    """Compute who holds what.

    Args:
        claims: of attested devices that are in the team, in any order.
        deletions: (id of the deleting message, id of the deleted one).
        usable: addresses that may be held: the subnet without network and broadcast address.
        static: addresses of `peers.json`, which are nobody else's.
    """
    in_order = sorted(set(claims))
    visible = {claim.id: claim for claim in in_order}
    start = in_order[0] if in_order else None
    in_first_lease = {
        (c.device, c.ip) for c in in_order if start and c.sent_at - start.sent_at <= LEASE
    }
    events: list[tuple[int, Claim | int]] = [(claim.id, claim) for claim in in_order]
    events += sorted(set(deletions))
    events.sort(key=lambda event: event[0])
    leases: dict[IPv4Address, Lease] = {}
    held: dict[DeviceKey, IPv4Address] = {}
    lost: dict[tuple[DeviceKey, IPv4Address], int] = {}
    for _, event in events:
        if isinstance(event, int):
            for ip, retracted in list(leases.items()):
                if retracted.last == event:
                    del leases[ip], held[retracted.device]
            continue
        if not _is_host(event.ip, usable) or event.ip in static:
            continue
        first = _seniority(event, visible, start, in_first_lease)
        if first < lost.get((event.device, event.ip), 0):
            first = event.id  # the row was broken: somebody else held the address meanwhile
        lease = _decide(leases.get(event.ip), event, first)
        if lease is None:
            continue
        before = leases.get(event.ip)
        if before is not None and before.device != event.device:
            del held[before.device]
            lost[before.device, event.ip] = event.id
        earlier = held.get(event.device)
        if earlier is not None and earlier != event.ip:
            del leases[earlier]
        leases[event.ip], held[event.device] = lease, event.ip
    return AddressBook(leases)


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


def _decide(lease: Lease | None, claim: Claim, first: int) -> Lease | None:
    """Return the lease after `claim` of its address; `None`: the claim changes nothing."""
    if lease is None:
        return Lease(claim.device, first, claim.id, claim.sent_at)
    if lease.device == claim.device:
        return replace(
            lease, first=min(lease.first, first), last=claim.id, renewed_at=claim.sent_at
        )
    lapsed = claim.sent_at - lease.renewed_at > LEASE
    if lapsed or first < lease.first:
        return Lease(claim.device, first, claim.id, claim.sent_at)
    return None


def _seniority(
    claim: Claim,
    visible: dict[int, Claim],
    start: Claim | None,
    in_first_lease: set[tuple[DeviceKey, IPv4Address]],
) -> int:
    """Return the id from which the claim counts: `since` if it is believed, else its own."""
    since = claim.since
    if since is None or since >= claim.id or start is None:
        return claim.id
    named = visible.get(since)
    if named is not None:
        same = named.device == claim.device and named.ip == claim.ip
        return since if same else claim.id
    before_window = since < start.id and (claim.device, claim.ip) in in_first_lease
    return since if before_window else claim.id


def _is_host(ip: IPv4Address, usable: IPv4Network) -> bool:
    return ip in usable and ip not in (usable.network_address, usable.broadcast_address)
