"""The peers: every device whose announcement counts, with its path machine and endpoint rules."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from nat.candidate import Candidate
from nat.deadlines import Deadlines
from nat.path.credentials import Role
from nat.path.events import PathLost, PathMtuChanged, PathReasserted, PathSelected, PeerId
from nat.prediction.predictor import Predictor
from nat.traversal import Traversal

from ..announcement import Announcement
from ..credentials import derive, role
from ..directory.view import DirectoryPeer, DirectoryView
from ..errors import IdentityError
from ..identity import DeviceKey, NodeId, PrivateKey, PublicKey
from ..overlay6 import Overlay6
from ..status import PeerState, PeerStatus
from ..tunnel_mtu import peer_mtu
from ..why.document import PeerDetail
from ..wireguard.changes import EndpointChange
from ..wireguard.device import PeerConfig, PeerRoute
from ..wireguard.device import PeerState as DevicePeer
from ..wireguard.endpoint_rules import EndpointRules
from ..wireguard.routes import Flow
from .introduction import Introduction
from .negotiator import Sought
from .peer import Dialogue, Peer, describe, flow_of, prediction_status

_log = logging.getLogger(__name__)

PathEvent = PathSelected | PathLost | PathReasserted | PathMtuChanged


class Peers:
    """Kept in line with the directory; tells the traversal whom to look for.

    A path machine starts only once WireGuard has the peer: a check that we answer is a promise that
    a handshake will be answered, too. An initiation that came before would be dropped, and the
    next one is 5 s later.

    Args:
        own: the device that we are, as Keybase attests it.
        private_key: our WireGuard key.
        traversal: the path machines.
        predictor: port prediction, for peers that these do not reach directly.
        mtu: of the interface.
        known: whether the others know us from an earlier run.
    """

    def __init__(
        self,
        *,
        own: NodeId,
        private_key: PrivateKey,
        traversal: Traversal,
        predictor: Predictor,
        mtu: int,
        known: bool,
    ) -> None:
        self.mtu = mtu
        self._introduction = Introduction(known=known)
        self._own = own
        self._private_key = private_key
        self._public_key = private_key.public_key
        self._traversal = traversal
        self._predictor = predictor
        self._moves = 0
        self._by_key: dict[PublicKey, Peer] = {}
        self._by_id: dict[PeerId, Peer] = {}
        self._deadlines: Deadlines[PublicKey] = Deadlines()
        self._changes: list[EndpointChange] = []
        self._flows: tuple[Flow, ...] | None = None

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._by_key.values())

    @property
    def configs(self) -> dict[PublicKey, PeerConfig]:
        """WireGuard peers that the device should have."""
        return {key: peer.config for key, peer in self._by_key.items()}

    @property
    def flows(self) -> tuple[Flow, ...]:
        """Where the peers' data is to leave; of two to one address, the newer one counts."""
        if self._flows is None:
            newest_first = sorted(self, key=lambda peer: -peer.moves)
            self._flows = tuple(peer.flow for peer in newest_first if peer.flow is not None)
        return self._flows

    @property
    def routes(self) -> frozenset[PeerRoute]:
        """Routes that peers with a narrow path need."""
        return frozenset(route for peer in self for route in peer.routes(self.mtu))

    @property
    def families(self) -> frozenset[int]:
        """IP versions by which WireGuard sends to them at present."""
        observed = (peer.observed for peer in self)
        return frozenset(
            peer.endpoint.ip.version
            for peer in observed
            if peer is not None and peer.endpoint is not None
        )

    @property
    def opening(self) -> bool:
        """Whether a session is about to begin, so that the device is worth a close look."""
        return any(peer.rules.wanted is not None and not peer.rules.live for peer in self)

    @property
    def handing_over(self) -> bool:
        """Whether a peer's data has just left a path, so that the kernel may fall back to it."""
        return any(peer.rules.handing_over for peer in self)

    def note_late(self, peer: PeerId) -> None:
        """Note that data of a peer has come in by a path that it has left."""
        if (known := self._by_id.get(peer)) is not None:
            known.rules.note_late()
            self._follow(known)

    def doubt(self, peer: PeerId) -> None:
        """Note that the path of a peer does not answer as it should."""
        if (known := self._by_id.get(peer)) is not None:
            known.rules.doubt()
            self._follow(known)

    def keep(
        self,
        view: DirectoryView,
        now: float,
        overlay6: Overlay6 | None = None,
        may_stay: Callable[[NodeId], bool] = lambda _: False,
    ) -> bool:
        """Bring the peers in line with the directory; tells whether `configs` are others.

        Args:
            view: the directory.
            now: current time in seconds.
            overlay6: gives IPv6 addresses to all but legacy peers; `None`: not known yet.
            may_stay: whether a device that says nothing stays as it is for now.
        """
        wanted = {
            listed.announcement.public_key: (listed, listed.announcement)
            for listed in view.peers
            if listed.announcement is not None
        }
        announced = {listed.node for listed, _ in wanted.values()}
        gone = [
            key
            for key, peer in self._by_key.items()
            if key not in wanted and (peer.node in announced or not may_stay(peer.node))
        ]
        for key in gone:
            self._remove(key, now)
        changed = bool(gone)
        for listed, announcement in wanted.values():
            changed |= self._keep(listed, announcement, now, overlay6)
        return changed

    def observe(self, observed: Mapping[PublicKey, DevicePeer], wall: datetime, now: float) -> None:
        """Take in the WireGuard peers as they are, at wall-clock time `wall`."""
        for peer in self:
            report = peer.observe(observed.get(peer.public_key), wall, now)
            self._follow(peer)
            if report is None or peer.dialogue is None:
                continue
            if not peer.dialogue.started:
                self._start(peer, peer.dialogue, now)
            self._traversal.report_data(peer.id, report, now)
        for spliced in self._predictor.spliced_peers:
            self._predictor.observe(spliced, self._traversal.report(spliced, now), now)

    def posted(self, id_: int, now: float) -> None:
        """Take in that our announcement is out: from now on the peers come to know us."""
        self._introduction.posted(id_, now)
        for peer in self:
            if peer.started:
                self._hold(peer, now)

    @property
    def sought(self) -> tuple[Sought, ...]:
        """Peers that we look for and have no path to."""
        return tuple(
            Sought(peer.node, peer.announced_id)
            for peer in self
            if peer.started and not peer.reached
        )

    def check_now(self, device: DeviceKey, relays: Sequence[Candidate], now: float) -> None:
        """Check the paths to a device at once; `relays`: where it says that it can be reached, too."""
        for peer in self:
            if peer.node.key != device or not peer.started:
                continue
            assert peer.dialogue is not None
            known = {candidate.endpoint for candidate in peer.dialogue.candidates}
            news = tuple(candidate for candidate in relays if candidate.endpoint not in known)
            if news and news != peer.dialogue.proposed:
                peer.dialogue.proposed = news
                self._tell(peer, peer.dialogue, now)
            else:
                self._traversal.check_now(peer.id, now)

    def handle_event(self, event: PathEvent, now: float) -> Peer | None:
        """Do what a path's event asks for; returns the peer that it is about."""
        peer = self._by_id.get(event.peer)
        if peer is None:
            return None
        fields = {"peer": str(peer.node)}
        match event:
            case PathSelected(path=path, previous=previous):
                _log.info("path selected", extra={**fields, **describe(path)})
                peer.reached = True
                self._predictor.set_path(peer.id, path, now)
                rtt = self._traversal.report(peer.id, now).rtt
                before, peer.flow = peer.flow, flow_of(path)
                moved = before is not None and peer.flow != before
                if peer.flow != before:
                    self._moves += 1
                    peer.moves = self._moves
                    self._flows = None
                upgrade = previous is not None and previous.relayed and not path.relayed
                peer.rules.select(path.data_endpoint, rtt, now, anew=moved, upgrade=upgrade)
            case PathLost(path=path, reason=reason):
                _log.info("path lost", extra={**fields, "reason": reason.value, **describe(path)})
                peer.reached = False
                self._predictor.set_path(peer.id, None, now)
            case PathReasserted(disputed=disputed):
                _log.debug("endpoint re-asserted", extra={**fields, "disputed": str(disputed)})
                peer.rules.reassert(now)
            case PathMtuChanged(limit=limit):
                peer.payload_limit = limit
                mtu = peer_mtu(limit, self.mtu)
                _log.info("path width changed", extra={**fields, "mtu": mtu})
        self._follow(peer)
        return peer

    def handle_timeout(self, now: float) -> None:
        """Let the endpoint rules do what is due."""
        for key in self._deadlines.due(now):
            peer = self._by_key[key]
            peer.rules.handle_timeout(now)
            self._follow(peer)

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout` next."""
        return self._deadlines.soonest()

    def changes(self) -> tuple[EndpointChange, ...]:
        """Take the changes of endpoints and keepalives that are due, in order."""
        changes, self._changes = tuple(self._changes), []
        return changes

    def details(self, view: DirectoryView, now: float) -> tuple[PeerDetail, ...]:
        """Describe every device that may talk to us, by name, and what its path machine knows."""
        details = [self._detail(peer, now) for peer in self]
        details += [
            PeerDetail(_unannounced(listed)) for listed in view.peers if listed.announcement is None
        ]
        return tuple(sorted(details, key=lambda d: (d.status.username, d.status.device)))

    def statuses(self, view: DirectoryView, now: float) -> tuple[PeerStatus, ...]:
        """Describe every device that may talk to us, by name."""
        return tuple(detail.status for detail in self.details(view, now))

    def _detail(self, peer: Peer, now: float) -> PeerDetail:
        if not peer.started or peer.dialogue is None:
            return PeerDetail(peer.status(None, mtu=self.mtu))
        report = self._traversal.report(peer.id, now)
        prediction = prediction_status(self._predictor.report(peer.id, now))
        status = peer.status(report, prediction, mtu=self.mtu)
        return PeerDetail(status, report, peer.dialogue.candidates, peer.dialogue.nat)

    def _keep(
        self,
        listed: DirectoryPeer,
        announcement: Announcement,
        now: float,
        overlay6: Overlay6 | None,
    ) -> bool:
        """Bring one peer in line with what is known of it; tells whether its config is another."""
        assert listed.node is not None
        peer = self._by_key.get(announcement.public_key)
        legacy = announcement.legacy
        changed = False
        if peer is not None and (peer.node != listed.node or peer.legacy != legacy):
            self._remove(peer.public_key, now)
            peer, changed = None, True
        if peer is None:
            peer = self._add(listed.node, announcement)
            if peer is None:
                return changed
            changed = True
        ip6 = None
        if overlay6 is not None and listed.ip is not None and not legacy:
            known = peer.ip6 if listed.ip == peer.ip else None
            ip6 = known or overlay6.address(listed.ip)
        changed |= peer.set_addresses(listed.ip, ip6)
        if peer.announced_id != listed.announced_id:
            peer.announced_id = listed.announced_id
            self._hear(peer, announcement, now)
        return changed

    def _hear(self, peer: Peer, announcement: Announcement, now: float) -> None:
        """Take in what a peer has announced."""
        if peer.dialogue is not None:
            hint = announcement.nat
            peer.dialogue.candidates = announcement.candidates
            peer.dialogue.proposed = ()
            peer.dialogue.nat = hint
            peer.dialogue.mapping_varies = hint is not None and hint.mapping_varies
            if peer.dialogue.started:
                self._tell(peer, peer.dialogue, now)
        elif announcement.endpoint is not None:
            peer.rules.select(announcement.endpoint, None, now)
            self._follow(peer)

    def _follow(self, peer: Peer) -> None:
        """Take what a peer's rules want by now, and note when they are due; after each use."""
        self._changes += peer.rules.changes()
        self._deadlines.set(peer.public_key, peer.rules.next_timeout())

    def _add(self, node: NodeId, announcement: Announcement) -> Peer | None:
        key = announcement.public_key
        own_role: Role | None = None
        dialogue: Dialogue | None = None
        try:
            credentials = derive(self._private_key, self._own, node, key)
        except IdentityError:
            # Nobody needs its private half to talk to us: no peer, be it a legacy one.
            _log.debug("peer refused: key of small order", extra={"peer": str(node)})
            return None
        if not announcement.legacy:
            own_role = role(self._public_key, key)
            dialogue = Dialogue(own_role, credentials)
        peer = Peer(node, key, EndpointRules(key, own_role), dialogue)
        self._by_key[key] = self._by_id[peer.id] = peer
        _log.info("peer added", extra={"peer": str(node), "legacy": announcement.legacy})
        return peer

    def _start(self, peer: Peer, dialogue: Dialogue, now: float) -> None:
        dialogue.started = True
        self._traversal.add_peer(
            peer.id, credentials=dialogue.credentials, role=dialogue.role, now=now
        )
        self._predictor.add_peer(peer.id, credentials=dialogue.credentials, role=dialogue.role)
        self._hold(peer, now)
        self._tell(peer, dialogue, now)

    def _hold(self, peer: Peer, now: float) -> None:
        """Let a peer that cannot know us yet hear nothing of us."""
        known_from = self._introduction.known_from(peer.announced_id)
        if known_from > now:
            self._traversal.hold(peer.id, known_from, now)

    def _tell(self, peer: Peer, dialogue: Dialogue, now: float) -> None:
        """Pass on what a peer has announced."""
        candidates = (*dialogue.candidates, *dialogue.proposed)
        self._traversal.set_remote_candidates(peer.id, candidates, now)
        self._predictor.set_remote(
            peer.id, dialogue.candidates, varies=dialogue.mapping_varies, now=now
        )

    def _remove(self, key: PublicKey, now: float) -> None:
        peer = self._by_key.pop(key)
        del self._by_id[peer.id]
        self._deadlines.discard(key)
        self._changes = [change for change in self._changes if change.public_key != key]
        if peer.flow is not None:
            self._flows = None
        if peer.started:
            self._traversal.remove_peer(peer.id, now)
            self._predictor.remove_peer(peer.id, now)
        _log.info("peer removed", extra={"peer": str(peer.node)})


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
