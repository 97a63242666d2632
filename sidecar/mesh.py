"""The mesh of one team: what chat says and what the paths are, made into a wanted device.

A sans-IO machine (`nat.machine`): messages, members, files, datagrams and observations come in;
datagrams, endpoint changes and requests to the owner go out. Owner of the peers; asks
`Directory` who counts and `Traversal` how to reach them.
"""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface
from random import Random
from typing import assert_never

from nat.candidate import Candidate, CandidateType
from nat.machine import Datagram, Endpoint
from nat.path.credentials import Role
from nat.path.events import (
    CandidatesChanged,
    PathLost,
    PathReasserted,
    PathSelected,
    PeerId,
    StunServerChanged,
    TraversalEvent,
)
from nat.traversal import Traversal

from .announcement import Announcement
from .credentials import derive, role
from .directory import Directory, DirectoryPeer, DirectoryView
from .errors import IdentityError
from .health import Condition
from .identity import NodeId, PrivateKey, PublicKey
from .keybase.models import ChatMessage, Membership
from .peers import Peer, describe, peer_id
from .peers_file import PeersFile
from .status import PeerState, PeerStatus
from .wireguard.changes import UpdatePeer
from .wireguard.device import PeerConfig
from .wireguard.device import PeerState as DevicePeer
from .wireguard.endpoint_rules import EndpointRules

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """Peers or addresses of the wanted device have changed: reconcile."""


@dataclass(frozen=True, slots=True)
class EndpointsChanged:
    """Endpoints or keepalives to set at once, in order, after any reconciliation under way."""

    changes: tuple[UpdatePeer, ...]


@dataclass(frozen=True, slots=True)
class AnnouncementChanged:
    """What we announce is not what is announced: post soon."""


@dataclass(frozen=True, slots=True)
class DirectoryChanged:
    """Who is in has changed: keep the cache, show the conditions."""

    view: DirectoryView


MeshEvent = (
    DeviceChanged | EndpointsChanged | AnnouncementChanged | DirectoryChanged | StunServerChanged
)


class Mesh:
    """Everything between the signalling channel and the WireGuard device.

    Args:
        own: the device that we are, as Keybase attests it.
        private_key: our WireGuard key.
        subnet: the overlay network.
        directory: who is in; the mesh feeds it.
        traversal: the path machines; the mesh feeds and drives it.
        rng: source of the choice of an address.
    """

    def __init__(
        self,
        *,
        own: NodeId,
        private_key: PrivateKey,
        subnet: IPv4Network,
        directory: Directory,
        traversal: Traversal,
        rng: Random,
    ) -> None:
        self._own = own
        self._private_key = private_key
        self._public_key = private_key.public_key
        self._subnet = subnet
        self._directory = directory
        self._traversal = traversal
        self._rng = rng
        self._peers: dict[PublicKey, Peer] = {}
        self._by_id: dict[PeerId, Peer] = {}
        self._observed: Mapping[PublicKey, DevicePeer] = {}
        self._view: DirectoryView = directory.view()
        self._wanted: Announcement | None = None
        self._announced: Announcement | None = None
        self._events: deque[MeshEvent] = deque()
        self.loaded = False
        """Whether the directory holds something real: until then no peer is removed."""

    # What comes in ---------------------------------------------------------------------------

    def handle_messages(self, messages: Sequence[ChatMessage], now: float) -> None:
        """Take in messages of the announce channel, in any order."""
        self._directory.handle_messages(messages)
        self._refresh(now)

    def handle_membership(self, membership: Membership, now: float) -> None:
        """Take in the team's members."""
        self._directory.handle_membership(membership)
        self._refresh(now)

    def handle_peers_file(self, peers_file: PeersFile | None, now: float) -> None:
        """Take in `peers.json`; `None`: it does not exist."""
        self._directory.handle_peers_file(peers_file)
        self._refresh(now)

    def set_loaded(self, now: float) -> None:
        """Believe from here on that who is not in the directory is not in the team."""
        if not self.loaded:
            self.loaded = True
            self._events.append(DeviceChanged())
            self._refresh(now)

    def observe(self, peers: Mapping[PublicKey, DevicePeer], wall: datetime, now: float) -> None:
        """Take in the WireGuard peers as they are, at wall-clock time `wall`."""
        self._observed = peers
        for peer in self._peers.values():
            report = peer.observe(peers.get(peer.public_key), wall)
            if report is not None and peer.role is not None:
                self._traversal.report_data(peer.id, report, now)
        self._collect(now)

    # Machine ---------------------------------------------------------------------------------

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        self._traversal.receive_datagram(datagram, now)
        self._collect(now)

    def handle_timeout(self, now: float) -> None:
        self._traversal.handle_timeout(now)
        for peer in self._peers.values():
            peer.rules.handle_timeout(now)
        self._collect(now)

    def next_timeout(self) -> float | None:
        times = [peer.rules.next_timeout() for peer in self._peers.values()]
        times.append(self._traversal.next_timeout())
        return min((time for time in times if time is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        return self._traversal.datagrams_to_send()

    def next_event(self) -> MeshEvent | None:
        return self._events.popleft() if self._events else None

    def drain_traversal(self, now: float) -> None:
        """Handle what the traversal says after its owner has changed it directly."""
        self._collect(now)

    # What is wanted --------------------------------------------------------------------------

    @property
    def own_ip(self) -> IPv4Address | None:
        """Our overlay address, once it is ours."""
        return self._view.own_ip

    @property
    def addresses(self) -> frozenset[IPv4Interface | IPv6Interface]:
        """Overlay addresses that the interface should have."""
        if self._view.own_ip is None:
            return frozenset()
        return frozenset({IPv4Interface((self._view.own_ip, self._subnet.prefixlen))})

    @property
    def conditions(self) -> tuple[tuple[Condition, str, str], ...]:
        """What the directory has to say to an operator: (condition, subject, text)."""
        return self._view.conditions

    @property
    def exhausted(self) -> bool:
        """Whether we need an address and none is free."""
        wanted = self._wanted
        return wanted is not None and not self._view.own_static and wanted.overlay_ip is None

    @property
    def peer_configs(self) -> dict[PublicKey, PeerConfig]:
        """WireGuard peers that the device should have."""
        return {key: peer.config for key, peer in self._peers.items()}

    @property
    def busy(self) -> bool:
        """Whether a session is about to begin, so that the device is worth a close look."""
        return any(
            peer.rules.wanted is not None and not peer.rules.live for peer in self._peers.values()
        )

    @property
    def announcement(self) -> Announcement | None:
        """What we should announce, without a number; `None`: nothing that would help anybody.

        The legacy part is the best guess of one IPv4 endpoint: reflexive before host, since the
        predecessor's peers are rarely in the same LAN.
        """
        return self._wanted

    @property
    def up_to_date(self) -> bool:
        """Whether what was posted last is still what we should announce.

        Our seniority alone (`since`) is not worth a post: the next refresh tells it in time.
        """
        if self._wanted is None or self._announced is None:
            return self._wanted is None
        return replace(self._wanted, since=None) == replace(self._announced, since=None)

    def posted(self, announcement: Announcement) -> None:
        """Remember what was posted, to know when it is no longer true."""
        self._announced = announcement

    def peer_statuses(self, now: float) -> tuple[PeerStatus, ...]:
        """Describe every device that may talk to us, by name."""
        statuses = [
            peer.status(self._traversal.report(peer.id, now) if peer.role is not None else None)
            for peer in self._peers.values()
        ]
        statuses += [
            _unannounced(listed) for listed in self._view.peers if listed.announcement is None
        ]
        return tuple(sorted(statuses, key=lambda status: (status.username, status.device)))

    # Inside ----------------------------------------------------------------------------------

    def _refresh(self, now: float) -> None:
        """Bring peers and events in line with the directory."""
        before = (self.peer_configs, self.addresses)
        self._view = self._directory.view()
        wanted = {
            listed.announcement.public_key: (listed, listed.announcement)
            for listed in self._view.peers
            if listed.announcement is not None
        }
        for key in [key for key in self._peers if key not in wanted]:
            self._remove(key, now)
        for listed, announcement in wanted.values():
            self._keep(listed, announcement, now)
        if (self.peer_configs, self.addresses) != before:
            self._events.append(DeviceChanged())
        self._events.append(DirectoryChanged(self._view))
        self._compose()
        self._collect(now)

    def _compose(self) -> None:
        """Work out what we should announce."""
        candidates = self._traversal.local_candidates
        ip, since = self._directory.claim(self._rng)
        self._wanted = None
        if candidates and self.loaded:
            self._wanted = Announcement(
                public_key=self._public_key,
                endpoint=_legacy_endpoint(candidates),
                seq=0,
                overlay_ip=ip,
                since=since,
                candidates=candidates,
            )
        if self._wanted is not None and not self.up_to_date:
            self._events.append(AnnouncementChanged())

    def _keep(self, listed: DirectoryPeer, announcement: Announcement, now: float) -> None:
        """Add or update one peer."""
        assert listed.node is not None
        peer = self._peers.get(announcement.public_key)
        legacy = announcement.legacy
        if peer is not None and (peer.node != listed.node or (peer.role is None) != legacy):
            self._remove(peer.public_key, now)
            peer = None
        if peer is None:
            peer = self._add(listed.node, announcement, now)
            if peer is None:
                return
        peer.ip = listed.ip
        if peer.announced_id == listed.announced_id:
            return
        peer.announced_id = listed.announced_id
        if not legacy:
            self._traversal.set_remote_candidates(peer.id, announcement.candidates, now)
        elif announcement.endpoint is not None:
            peer.rules.select(announcement.endpoint, None, now)

    def _add(self, node: NodeId, announcement: Announcement, now: float) -> Peer | None:
        key = announcement.public_key
        own_role: Role | None = None
        if not announcement.legacy:
            own_role = role(self._public_key, key)
            try:
                credentials = derive(self._private_key, self._own, node, key)
            except IdentityError:
                _log.warning("peer refused: key of small order", extra={"peer": str(node)})
                return None
            self._traversal.add_peer(peer_id(key), credentials=credentials, role=own_role, now=now)
        peer = Peer(node, key, own_role, EndpointRules(key, own_role))
        self._peers[key] = self._by_id[peer.id] = peer
        _log.info("peer added", extra={"peer": str(node), "legacy": announcement.legacy})
        return peer

    def _remove(self, key: PublicKey, now: float) -> None:
        peer = self._peers.pop(key)
        del self._by_id[peer.id]
        if peer.role is not None:
            self._traversal.remove_peer(peer.id, now)
        _log.info("peer removed", extra={"peer": str(peer.node)})

    def _collect(self, now: float) -> None:
        """Handle what the traversal and the endpoint rules have to say."""
        while (event := self._traversal.next_event()) is not None:
            self._handle(event, now)
        changes = tuple(change for peer in self._peers.values() for change in peer.rules.changes())
        if changes:
            self._events.append(EndpointsChanged(changes))

    def _handle(self, event: TraversalEvent, now: float) -> None:
        match event:
            case PathSelected(peer=name, path=path):
                peer = self._by_id.get(name)
                if peer is None:
                    return
                self._directory.confirm_key(peer.node, peer.public_key)
                rtt = self._traversal.report(name, now).rtt
                _log.info("path selected", extra={"peer": str(peer.node), **describe(path)})
                peer.rules.select(path.remote.endpoint, rtt, now)
            case PathLost(peer=name, path=path, reason=reason):
                peer = self._by_id.get(name)
                if peer is not None:
                    fields = {"peer": str(peer.node), "reason": reason.value, **describe(path)}
                    _log.info("path lost", extra=fields)
            case PathReasserted(peer=name, disputed=disputed):
                peer = self._by_id.get(name)
                if peer is not None:
                    fields = {"peer": str(peer.node), "disputed": str(disputed)}
                    _log.debug("endpoint re-asserted", extra=fields)
                    peer.rules.reassert()
            case CandidatesChanged():
                self._compose()
            case StunServerChanged():
                self._events.append(event)
            case _:
                assert_never(event)


def _legacy_endpoint(candidates: Sequence[Candidate]) -> Endpoint | None:
    """Return the one IPv4 endpoint for predecessors: the best reflexive one, else a host's."""
    from_v4 = [c for c in candidates if c.endpoint.ip.version == 4]
    by_kind = sorted(
        from_v4, key=lambda c: (c.type is not CandidateType.SERVER_REFLEXIVE, -c.priority)
    )
    return by_kind[0].endpoint if by_kind else None


def _unannounced(listed: DirectoryPeer) -> PeerStatus:
    return PeerStatus(
        username=listed.username,
        device=listed.device,
        ip=listed.ip,
        public_key=None,
        state=PeerState.UNANNOUNCED,
        path=None,
        endpoint=None,
        rx_bytes=0,
        tx_bytes=0,
        last_handshake=None,
    )
