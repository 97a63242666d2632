"""Where the directory, the paths and the WireGuard peers meet.

A sans-IO machine (`nat.machine`): messages, members, files, datagrams and observations come in;
datagrams, endpoint changes and requests to the owner go out. Asks `Directory` who counts and
`Traversal` how to reach them.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from random import Random

from nat.candidate import Candidate, CandidateType
from nat.machine import Datagram
from nat.path.events import (
    PeerId,
)
from nat.prediction.events import PortWon
from nat.prediction.predictor import Predictor
from nat.stun.nat_behaviour import NatBehaviour
from nat.traversal import Traversal

from ..announcement import Announcement
from ..directory.directory import Directory
from ..directory.view import DirectoryView
from ..health import Condition
from ..identity import DeviceKey, NodeId, PrivateKey, PublicKey
from ..keybase.models import ChatMessage, Membership
from ..nat_report import hint_of
from ..peers_file import PeersFile
from ..status import PeerStatus
from ..team_config import Policy
from ..tunnel_mtu import DEFAULT_MTU
from ..why.document import PeerDetail
from ..wireguard.device import PeerConfig, PeerRoute
from ..wireguard.device import PeerState as DevicePeer
from ..wireguard.routes import Flow
from .bursts import Bursts
from .composing import Composer
from .events import (
    AnnouncementChanged,
    DeviceChanged,
    DirectoryChanged,
    EndpointsChanged,
    FlowsChanged,
    MeshEvent,
)
from .negotiator import Sought
from .own_addresses import OverlayInterface, OwnAddresses
from .path_news import PathNews
from .peers import Peers
from .trials import Trials
from .withdrawals import Withdrawals


class Mesh:
    """Everything between the signalling channel and the WireGuard device.

    Args:
        own: the device that we are, as Keybase attests it.
        private_key: our WireGuard key.
        subnet: the overlay network.
        directory: who is in; the mesh feeds it.
        traversal: the path machines; the mesh feeds and drives it.
        predictor: port prediction; likewise.
        rng: source of the choice of an address.
        mtu: of the interface.
    """

    def __init__(
        self,
        *,
        own: NodeId,
        private_key: PrivateKey,
        subnet: IPv4Network,
        directory: Directory,
        traversal: Traversal,
        predictor: Predictor | None = None,
        rng: Random,
        mtu: int = DEFAULT_MTU,
        known: bool = False,
    ) -> None:
        self._directory = directory
        self._traversal = traversal
        self._predictor = predictor or Predictor(rng=rng, enabled=False)
        self._rng = rng
        self._peers = Peers(
            own=own,
            private_key=private_key,
            traversal=traversal,
            predictor=self._predictor,
            mtu=mtu,
            known=known,
        )
        self._composer = Composer(private_key.public_key)
        self._nat: NatBehaviour | None = None
        self._view: DirectoryView = directory.view()
        self._events: deque[MeshEvent] = deque()
        self._bursts = Bursts()
        self._own = own
        self._own_addresses = OwnAddresses(subnet, self._view.own_ip)
        self._withdrawals = Withdrawals()
        self._trials = Trials()
        self._path_news = PathNews(
            peers=self._peers,
            directory=directory,
            trials=self._trials,
            tell=self._events.append,
            candidates_changed=self._compose,
        )
        self.tentative = False
        """Whether others than those in the directory may be in the team, too."""
        self.loaded = False
        """Whether the directory holds something real: until then no peer is removed."""

    # What comes in ---------------------------------------------------------------------------

    def handle_messages(
        self, messages: Sequence[ChatMessage], now: float, *, more: bool = False
    ) -> None:
        """Take in messages of the announce channel, in any order.

        They count at once, unless others have just come in: then soon, with those that follow; or,
        if it is known that `more` follow, with the last of these.
        """
        self._directory.handle_messages(messages)
        if more:
            return
        if self._bursts.heard(now):
            self._refresh(now)

    def handle_membership(self, membership: Membership, now: float) -> None:
        """Take in the team's members."""
        self._directory.handle_membership(membership)
        self._refresh(now)

    def handle_peers_file(self, peers_file: PeersFile | None, now: float) -> None:
        """Take in `peers.json`; `None`: it does not exist."""
        self._directory.handle_peers_file(peers_file)
        self._refresh(now)

    def handle_devices(
        self, username: str, ids: frozenset[str], *, wall: float, now: float
    ) -> None:
        """Take in which devices of a user are not revoked, at wall-clock time `wall`."""
        self._directory.handle_devices(username, ids, wall)
        if self._directory.view() is not self._view:
            self._refresh(now)

    def handle_staleness(self, stale: bool, now: float) -> None:
        """Believe, or not any more, that who was in the team still is."""
        self._directory.handle_staleness(stale)
        self._refresh(now)

    def handle_policy(self, policy: Policy, now: float) -> None:
        """Take in who may talk to whom, as the team says."""
        self._directory.handle_policy(policy)
        self._refresh(now)

    def set_loaded(self, now: float, *, tentative: bool = False) -> None:
        """Believe from here on that who is not in the directory is not in the team.

        `tentative`: the directory is what we knew when we last ran, so that others may be missing.
        """
        if not self.loaded or (self.tentative and not tentative):
            self.loaded, self.tentative = True, tentative
            self._events.append(DeviceChanged())
            self._refresh(now)

    def observe(self, peers: Mapping[PublicKey, DevicePeer], wall: datetime, now: float) -> None:
        """Take in the WireGuard peers as they are, at wall-clock time `wall`."""
        self._predictor.set_wall_offset(wall.timestamp() - now, now)
        self._peers.observe(peers, wall, now)
        self._collect(now)

    def receive_at_opened_port(self, datagram: Datagram, now: float) -> None:
        """Handle what came in at a port that was opened for prediction."""
        self._predictor.receive_datagram(datagram, now)

    def spliced(self, won: PortWon, now: float) -> None:
        """Take in that a port which has won stands in for the shared one."""
        self._predictor.spliced(won.peer, won.splice, now)
        self.receive_datagram(won.check, now)

    def check_now(self, device: DeviceKey, relays: Sequence[Candidate], now: float) -> None:
        """Check the paths to a device at once: it does the same, and says where it is relayed."""
        self._peers.check_now(device, relays, now)
        self._collect(now)

    def set_nat(self, behaviour: NatBehaviour | None, now: float) -> None:
        """Take in what was found of our NAT; peers are told, as a hint."""
        self._nat = behaviour
        self._compose(now)
        self._collect(now)

    def note_late(self, peer: PeerId, now: float) -> None:
        """Take in that data of a peer has come in by a relay that it has left."""
        self._peers.note_late(peer)
        self._collect(now)

    # Machine ---------------------------------------------------------------------------------

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        self._traversal.receive_datagram(datagram, now)
        self._collect(now)

    def handle_timeout(self, now: float) -> None:
        self._traversal.handle_timeout(now)
        self._predictor.handle_timeout(now)
        self._peers.handle_timeout(now)
        withdrawn = self._withdrawals.handle_timeout(now)
        failed = self._trials.due(now)
        for key in failed:
            self._directory.try_next_holder(key)
        due = self._bursts.handle_timeout(now)
        if failed or withdrawn or due:
            self._bursts.rest(now)
            self._refresh(now)
        self._collect(now)

    def next_timeout(self) -> float | None:
        machines = (
            self._bursts,
            self._peers,
            self._traversal,
            self._predictor,
            self._trials,
            self._withdrawals,
        )
        times = (machine.next_timeout() for machine in machines)
        return min((time for time in times if time is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        return self._traversal.datagrams_to_send() + self._predictor.datagrams_to_send()

    def next_event(self) -> MeshEvent | None:
        return self._events.popleft() if self._events else self._predictor.next_event()

    def not_sent(self, datagram: Datagram, reason: str, now: float) -> None:
        """Note that our own host would not send a datagram."""
        self._traversal.not_sent(datagram, reason, now)
        self._collect(now)

    def drain_traversal(self, now: float) -> None:
        """Handle what the traversal says after its owner has changed it directly."""
        self._collect(now)

    # What is wanted --------------------------------------------------------------------------

    @property
    def own_ip(self) -> IPv4Address | None:
        """Our overlay address, once it is ours."""
        return self._own_addresses.ip

    @property
    def addresses(self) -> frozenset[OverlayInterface]:
        """Overlay addresses that the interface should have."""
        return self._own_addresses.interfaces

    @property
    def own_ip6(self) -> IPv6Address | None:
        """Our overlay IPv6 address; `None` until the team's id and our IPv4 address are known."""
        return self._own_addresses.ip6

    @property
    def usernames(self) -> tuple[str, ...]:
        """Members who have a device that may talk to us, sorted."""
        return tuple(sorted({p.username for p in self._view.peers if p.announcement is not None}))

    @property
    def conditions(self) -> tuple[tuple[Condition, str, str], ...]:
        """What the directory has to say to an operator: (condition, subject, text)."""
        return self._view.conditions

    @property
    def exhausted(self) -> bool:
        """Whether we need an address and none is free."""
        wanted = self._composer.wanted
        return wanted is not None and not self._view.own_static and wanted.overlay_ip is None

    @property
    def peer_configs(self) -> dict[PublicKey, PeerConfig]:
        """WireGuard peers that the device should have."""
        return self._peers.configs

    @property
    def flows(self) -> tuple[Flow, ...]:
        """Where the peers' data is to leave this host."""
        return self._peers.flows

    @property
    def mtu(self) -> int:
        """MTU that the device should have."""
        return self._peers.mtu

    def set_mtu(self, mtu: int) -> None:
        """Take another MTU for the device: the way out of this host is another."""
        if mtu != self._peers.mtu:
            self._peers.mtu = mtu
            self._events.append(DeviceChanged())

    @property
    def routes(self) -> frozenset[PeerRoute]:
        """Routes to single peers that the device should have."""
        return self._peers.routes

    @property
    def families(self) -> frozenset[int]:
        """IP versions by which WireGuard sends to peers at present."""
        return self._peers.families

    @property
    def sought(self) -> tuple[Sought, ...]:
        """Peers that we look for and have no path to."""
        return self._peers.sought

    @property
    def relays(self) -> tuple[Candidate, ...]:
        """Our own relayed candidates, best first."""
        candidates = self._traversal.local_candidates
        return tuple(c for c in candidates if c.type is CandidateType.RELAYED)

    @property
    def busy(self) -> bool:
        """Whether a session is about to begin, so that the device is worth a close look."""
        return self._peers.opening

    @property
    def handing_over(self) -> bool:
        """Whether the device must be watched, so that no peer falls back to a path it has left."""
        return self._peers.handing_over

    @property
    def announcement(self) -> Announcement | None:
        """What we should announce, without a number; `None`: nothing that would help anybody."""
        return self._composer.wanted

    @property
    def up_to_date(self) -> bool:
        """Whether what was posted last is still what we should announce."""
        return self._composer.up_to_date

    def posted(self, announcement: Announcement, id_: int, now: float) -> None:
        """Remember what was posted as which message, to know when it is no longer true."""
        self._composer.posted(announcement)
        self._peers.posted(id_, now)
        self._collect(now)

    def peer_statuses(self, now: float) -> tuple[PeerStatus, ...]:
        """Describe every device that may talk to us, by name."""
        return self._peers.statuses(self._view, now)

    def peer_details(self, now: float) -> tuple[PeerDetail, ...]:
        """Describe every device that may talk to us, with what its path machine knows."""
        return self._peers.details(self._view, now)

    # Inside ----------------------------------------------------------------------------------

    def _refresh(self, now: float) -> None:
        """Bring peers and events in line with the directory."""
        self._bursts.looked()
        before, view = self.addresses, self._directory.view()
        changed = view is not self._view
        told_of = view.clones.runs - self._view.clones.runs
        self._view = view
        self._derive_overlay6()
        self._trials.keep(view.disputed, now)
        self._withdrawals.keep(view.withdrawn, now)
        if view.own_ip is not None or not self._withdrawals.may_stay(self._own):
            self._own_addresses.ip = view.own_ip
        kept = self._peers.keep(view, now, self._own_addresses.overlay6, self._withdrawals.may_stay)
        if kept or self.addresses != before:
            self._events.append(DeviceChanged())
        if changed:
            self._events.append(DirectoryChanged(self._view))
        if told_of and not view.clones.silent:
            self._events.append(AnnouncementChanged())  # so that the other one hears of us
        self._compose(now)
        self._collect(now)

    def _derive_overlay6(self) -> None:
        membership = self._directory.membership
        if membership is not None and membership.team_id is not None:
            network = self._own_addresses.derive(membership.team_id)
            if network is not None:
                self._traversal.refuse([network])

    def _compose(self, now: float) -> None:
        """Work out what we should announce; nothing before we know what the team says."""
        ip, since = self._directory.claim(self._rng)
        speaks = self.loaded and not self._view.clones.silent
        candidates = self._traversal.local_candidates if speaks else ()
        hint = hint_of(self._nat, varies=self._traversal.mapping_varies)
        self._composer.compose(candidates, ip, since, hint)
        # Our side of port prediction follows from what the peers are told, as theirs does.
        varies = hint is not None and hint.mapping_varies
        self._predictor.set_local(self._traversal.local_candidates, varies=varies, now=now)
        if not self._composer.up_to_date:
            self._events.append(AnnouncementChanged())

    def _collect(self, now: float) -> None:
        """Handle what the traversal and the endpoint rules have to say."""
        flows = self.flows
        while (event := self._traversal.next_event()) is not None:
            self._path_news.handle(event, now)
        if self.flows is not flows and self.flows != flows:
            self._events.append(FlowsChanged())
        changes = self._peers.changes()
        if changes:
            self._events.append(EndpointsChanged(changes))
