"""The address book of a log that grows: what is appended is folded in, all else folds anew.

The book is the same as `addressing.fold` of everything that is known; only sooner. A team of a
thousand hears two thirds of a message a second, and folding ten thousand claims takes longer than
that leaves.
"""

from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv4Network
from math import inf
from typing import Final

from ..identity import DeviceKey
from .addressing import AddressBook, Claim, Fold, folded

WINDOW: Final = 4 * 3600.0
"""Seconds of the log's time that claims count for: two leases and an hour. Also what a newcomer
reads, so that it judges by the same claims as those who were there before it."""


class Ledger:
    """All claims that are known.

    Args:
        usable: the subnet.
    """

    def __init__(self, usable: IPv4Network) -> None:
        self._usable = usable
        self._claims: dict[DeviceKey, dict[int, Claim]] = {}
        self._fold: Fold | None = None
        self._fresh: list[Claim] = []
        self._last = (-inf, 0)
        self._static: frozenset[IPv4Address] = frozenset()
        self._eligible: AbstractSet[DeviceKey] = frozenset()
        self._skipped: set[DeviceKey] = set()
        self._book = AddressBook({})

    def add(self, claim: Claim) -> None:
        """Take in a claim."""
        claims = self._claims.setdefault(claim.device, {})
        if claims.get(claim.id) != claim:
            self._fold = None if claim.id in claims else self._fold
            claims[claim.id] = claim
            self._fresh.append(claim)

    def remove(self, device: DeviceKey, id_: int) -> None:
        """Forget a claim, if there is one: its message is void, or too old to be kept."""
        if self._claims.get(device, {}).pop(id_, None) is not None:
            self._fold = None

    def claims_of(self, device: DeviceKey) -> tuple[Claim, ...]:
        """Return the claims of a device that are known, in no order."""
        return tuple(self._claims.get(device, {}).values())

    def book(self, eligible: AbstractSet[DeviceKey], static: frozenset[IPv4Address]) -> AddressBook:
        """Return who holds what.

        Args:
            eligible: devices whose claims count.
            static: addresses of `peers.json`.
        """
        same = eligible == self._eligible and static == self._static
        if self._fold is not None and same and not self._fresh:
            return self._book
        self._fresh.sort(key=lambda claim: claim.order)
        if self._fold is not None and self._can_append(eligible, static):
            self._append(self._fold, eligible)
        else:
            self._fold = self._fold_anew(eligible, static)
        self._last = max([self._last, *(claim.order for claim in self._fresh)])
        self._fresh.clear()
        self._eligible, self._static = frozenset(eligible), static
        self._book = self._fold.book()
        return self._book

    def _fold_anew(self, eligible: AbstractSet[DeviceKey], static: frozenset[IPv4Address]) -> Fold:
        self._skipped = {key for key, claims in self._claims.items() if claims} - set(eligible)
        return folded(
            (c for key in eligible for c in self._claims.get(key, {}).values()),
            usable=self._usable,
            static=static,
        )

    def _can_append(self, eligible: AbstractSet[DeviceKey], static: frozenset[IPv4Address]) -> bool:
        """Whether what is fresh comes after everything else, and nothing else has changed."""
        newcomers = eligible - self._eligible
        return (
            static == self._static
            and self._eligible <= eligible
            and self._skipped.isdisjoint(newcomers)
            and all(claim.order > self._last for claim in self._fresh[:1])
        )

    def _append(self, fold: Fold, eligible: AbstractSet[DeviceKey]) -> None:
        """Fold in what is fresh."""
        for claim in self._fresh:
            if claim.device in eligible:
                fold.claim(claim)
            else:
                self._skipped.add(claim.device)
