"""What we announce: put together from our candidates and our claim of an address."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address

from nat.candidate import Candidate, CandidateType
from nat.machine import Endpoint

from ..announcement import Announcement, NatHint
from ..identity import PublicKey


class Composer:
    """Knows what should be announced, what was, and whether they differ.

    Args:
        public_key: our WireGuard key.
    """

    def __init__(self, public_key: PublicKey) -> None:
        self._public_key = public_key
        self._wanted: Announcement | None = None
        self._posted: Announcement | None = None

    @property
    def wanted(self) -> Announcement | None:
        """What we should announce, without a number; `None`: nothing that would help anybody."""
        return self._wanted

    @property
    def up_to_date(self) -> bool:
        """Whether what was posted last is still what we should announce.

        Our seniority alone (`since`) is not worth a post, nor are details of our NAT: the next
        refresh tells them in time. That its mapping varies is: a peer can do something about it.
        """
        if self._wanted is None or self._posted is None:
            return self._wanted is None
        return _urgent(self._wanted) == _urgent(self._posted)

    def compose(
        self,
        candidates: tuple[Candidate, ...],
        ip: IPv4Address | None,
        since: int | None,
        nat: NatHint | None = None,
    ) -> None:
        """Put together what we should announce; without candidates that is nothing.

        Args:
            candidates: ours, best first.
            ip: the overlay address that we claim or hold by `peers.json`.
            since: message id of our first claim of it.
            nat: what is known of our NAT.
        """
        self._wanted = None
        if candidates:
            self._wanted = Announcement(
                public_key=self._public_key,
                endpoint=legacy_endpoint(candidates),
                seq=0,
                overlay_ip=ip,
                since=since,
                candidates=candidates,
                nat=nat,
            )

    def posted(self, announcement: Announcement) -> None:
        """Remember what was posted, to know when it is no longer true."""
        self._posted = announcement


def _urgent(announcement: Announcement) -> tuple[Announcement, bool]:
    varies = announcement.nat is not None and announcement.nat.mapping_varies
    return replace(announcement, since=None, nat=None), varies


def legacy_endpoint(candidates: Sequence[Candidate]) -> Endpoint | None:
    """Return the one IPv4 endpoint for predecessors: the best reflexive one, else a host's.

    The predecessor's peers are rarely in the same LAN.
    """
    from_v4 = [c for c in candidates if c.endpoint.ip.version == 4]
    by_kind = sorted(
        from_v4, key=lambda c: (c.type is not CandidateType.SERVER_REFLEXIVE, -c.priority)
    )
    return by_kind[0].endpoint if by_kind else None
