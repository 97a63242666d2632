"""Everything that NAT traversal does on one shared port, as one machine.

One `Gatherer` finds our candidates, one `PathAgent` for each peer finds the best path to it, one
`Pacer` decides what leaves when. Here they meet: what comes in is handed to whom it concerns, our
candidates reach every agent, and the owner sees one stream of events.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from .candidate import Candidate, is_reachable_address
from .early import EarlyChecks
from .errors import StunError
from .gathering import Gatherer, HostAddress, MappedEndpoint
from .machine import Datagram, Endpoint, IPAddress
from .pacer import Pacer, Urgency
from .path.agents import AgentChange, PathAgents
from .path.credentials import IceCredentials, Role
from .path.events import CandidatesChanged, DataReport, PeerId, PeerReport, TraversalEvent
from .path.pair import PairKey
from .stun.message import MessageClass, is_stun, parse
from .turn.events import RelayChannelLost
from .turn.relay import RelayReport
from .turn.relays import Frame, Relays
from .turn.server import TurnServer
from .underlay import Network, Underlay


class Traversal:
    """Paths from one shared port to any number of peers; a `Machine`.

    Args:
        rng: source of transaction ids and jitter; cryptographic in production (RFC 8489 §5).
        now: current time in seconds.
        refused: networks that are never an underlay, such as the overlay's own: nothing is
            sent there, and nothing from there is believed.
        may_check: which other addresses may be the target of checks.
        data_size: UDP payload in bytes of the largest packet that the data plane makes; with it
            the width of every selected path is measured.
    """

    def __init__(
        self,
        *,
        rng: Random,
        now: float,
        refused: Sequence[Network] = (),
        may_check: Callable[[IPAddress], bool] = is_reachable_address,
        data_size: int | None = None,
    ) -> None:
        self._underlay = Underlay(refused=refused, may_check=may_check)
        self._gatherer = Gatherer(rng=rng)
        self._relays = Relays(rng=rng)
        self._relayed: tuple[Endpoint, ...] = ()
        self._pacer = Pacer(now=now)
        self._early = EarlyChecks()
        self._dropped: Counter[str] = Counter()
        self._outbox: list[Datagram] = []
        self._events: deque[TraversalEvent] = deque()
        self._agents = PathAgents(
            rng=rng,
            pacer=self._pacer,
            may_send_to=self._underlay.may_send_to,
            is_steady=self._gatherer.is_steady,
            data_size=data_size,
            on_event=self._events.append,
        )

    # What the owner says ----------------------------------------------------------------------

    def set_host_addresses(self, bases: Sequence[HostAddress], now: float) -> None:
        """Take the local addresses that datagrams can leave from; refused ones are ignored."""
        usable = tuple(base for base in bases if not self._underlay.refuses(base.endpoint.ip))
        self._gatherer.set_bases(usable, now)
        self._settle(now)

    def set_stun_servers(self, servers: Sequence[Endpoint], now: float) -> None:
        """Take the servers that tell our server-reflexive addresses."""
        self._gatherer.set_servers(servers, now)
        self._settle(now)

    def set_advertised(self, endpoints: Sequence[Endpoint], now: float) -> None:
        """Take endpoints at which the operator says that we can be reached."""
        self._gatherer.set_advertised(endpoints, now)
        self._settle(now)

    def set_turn_servers(self, servers: Sequence[TurnServer], now: float) -> None:
        """Take the servers that may relay for us; asks for connections to them by events."""
        self._relays.set_servers(servers, now)
        self._settle(now)

    def relay_connected(self, server: TurnServer, now: float) -> None:
        """Note that the connection to a TURN server stands."""
        self._relays.connected(server, now)
        self._settle(now)

    def relay_disconnected(self, server: TurnServer, now: float) -> None:
        """Note that it broke, or could not be made."""
        self._relays.disconnected(server, now)
        self._settle(now)

    def receive_frame(self, server: TurnServer, frame: bytes, now: float) -> None:
        """Handle a STUN message or ChannelData that came over the connection to a TURN server."""
        self._relays.receive(server, frame, now)
        self._settle(now)

    def plug(self, relayed: Endpoint, remote: Endpoint, loopback: Endpoint, now: float) -> None:
        """Note where the data plane reaches a channel, which `RelayChannelBound` told of."""
        self._agents.plug(PairKey(relayed, remote), loopback, now)
        self._settle(now)

    def unplug(self, relayed: Endpoint, remote: Endpoint, now: float) -> None:
        """Note that the data plane does not reach a channel any more."""
        self._agents.unplug(PairKey(relayed, remote), now)
        self._settle(now)

    def refuse(self, networks: Sequence[Network]) -> None:
        """Refuse further networks from here on (see `refused`)."""
        self._underlay.refuse(networks)

    def set_mapped(self, mappings: Sequence[MappedEndpoint], now: float) -> None:
        """Take the port mappings that gateways have made for us, best first."""
        usable = [
            mapping for mapping in mappings if not self._underlay.refuses(mapping.external.ip)
        ]
        self._gatherer.set_mapped(usable, now)
        self._settle(now)

    def add_peer(
        self, peer: PeerId, *, credentials: IceCredentials, role: Role, now: float
    ) -> None:
        """Begin to look for a path to a peer.

        Raises:
            ValueError: the peer, or its local ufrag, is there already.
        """
        self._agents.add(
            peer,
            credentials=credentials,
            role=role,
            candidates=self._gatherer.candidates,
            take_early=partial(self._early.take, now=now),
            now=now,
        )
        self._settle(now)

    def set_remote_candidates(
        self, peer: PeerId, candidates: Sequence[Candidate], now: float
    ) -> None:
        """Take what a peer has announced; even the same again has all its pairs checked at once.

        Raises:
            KeyError: no such peer.
        """
        self._change(peer, lambda agent: agent.set_remote_candidates(candidates, now), now)

    def check_now(self, peer: PeerId, now: float) -> None:
        """Check all pairs of a peer at once, because it says that it does the same.

        Raises:
            KeyError: no such peer.
        """
        self._change(peer, lambda agent: agent.network_changed(now), now)

    def hold(self, peer: PeerId, until: float, now: float) -> None:
        """Send a peer openers only (`path.openers`) until it can be expected to know us.

        Raises:
            KeyError: no such peer.
        """
        self._change(peer, lambda agent: agent.hold(until, now), now)

    def remove_peer(self, peer: PeerId, now: float) -> None:
        """Forget a peer; if it had a path, that is lost.

        Raises:
            KeyError: no such peer.
        """
        self._agents.remove(peer, now)
        self._settle(now)

    def report_data(self, peer: PeerId, report: DataReport, now: float) -> None:
        """Take in what the data plane has seen of a peer.

        Raises:
            KeyError: no such peer.
        """
        self._agents.report_data(peer, report, now)
        self._settle(now)

    def not_sent(self, datagram: Datagram, reason: str, now: float) -> None:
        """Note that our own host would not send a datagram; `reason` is for a person."""
        try:
            message = parse(datagram.payload)
        except StunError:
            return
        if message.message_class is MessageClass.REQUEST:
            self._agents.not_sent(message, reason, now)
            self._settle(now)

    def network_changed(self, now: float) -> None:
        """Ask and check everything at once: a link, a route or a NAT may be another."""
        self._gatherer.network_changed(now)
        self._relays.network_changed(now)
        self._agents.network_changed(now)
        self._settle(now)

    # What it knows ----------------------------------------------------------------------------

    @property
    def peers(self) -> tuple[PeerId, ...]:
        """The peers that were added and not removed."""
        return tuple(self._agents)

    @property
    def local_candidates(self) -> tuple[Candidate, ...]:
        """Our candidates, best first."""
        return self._gatherer.candidates

    @property
    def stun_servers(self) -> dict[Endpoint, bool | None]:
        """The STUN servers that are asked, and whether each answers; `None`: not known yet."""
        return self._gatherer.servers

    @property
    def turn_servers(self) -> tuple[RelayReport, ...]:
        """The TURN servers, and what they do for us."""
        return self._relays.reports()

    @property
    def mapping_varies(self) -> bool:
        """Whether our NAT's mapping depends on the destination (RFC 4787 §4.1)."""
        return self._gatherer.mapping_varies

    @property
    def counters(self) -> dict[str, int]:
        """Datagrams that came in or were due, and were dropped, by reason."""
        total = self._dropped + self._agents.ignored + self._relays.dropped
        total["sent to strangers too often"] = self._pacer.capped
        total["checked by a peer too often"] = self._pacer.unanswered
        return dict(+total)

    def report(self, peer: PeerId, now: float) -> PeerReport:
        """Describe the paths of a peer for a person.

        Raises:
            KeyError: no such peer.
        """
        return self._agents.report(peer, now)

    # Machine ----------------------------------------------------------------------------------

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        if self._underlay.refuses(datagram.source.ip):
            self._dropped["from a refused network"] += 1
        elif self._gatherer.wants(datagram):
            self._gatherer.receive_datagram(datagram, now)
        else:
            self._demultiplex(datagram, now)
        self._settle(now)

    def handle_timeout(self, now: float) -> None:
        self._gatherer.handle_timeout(now)
        self._relays.handle_timeout(now)
        self._agents.handle_timeout(now)
        self._settle(now)

    def next_timeout(self) -> float | None:
        gathering = self._gatherer.next_timeout()
        soonest = min(
            self._pacer.next_timeout(),
            self._relays.next_timeout(),
            self._agents.next_timeout(),
            math.inf if gathering is None else gathering,
        )
        return None if soonest == math.inf else soonest

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def frames_to_send(self) -> list[Frame]:
        """Take what is to be sent over the connections to TURN servers."""
        return self._relays.frames_to_send()

    def next_event(self) -> TraversalEvent | None:
        return self._events.popleft() if self._events else None

    # Inside -----------------------------------------------------------------------------------

    def _demultiplex(self, datagram: Datagram, now: float) -> None:
        """Hand a message to the agent that it concerns; keep checks of peers to come."""
        try:
            message = parse(datagram.payload)
        except StunError:
            self._dropped["malformed"] += 1
            return
        peer = self._agents.addressee(message)
        if peer is not None:
            self._agents.receive(peer, message, datagram, now)
        elif message.message_class is MessageClass.REQUEST:
            self._dropped["check of an unknown peer"] += 1
            self._early.keep(message, datagram, now)
        else:
            self._dropped["answer to no request in flight"] += 1

    def _change(self, peer: PeerId, say: AgentChange, now: float) -> None:
        self._agents.change(peer, say, now)
        self._settle(now)

    def _settle(self, now: float) -> None:
        """Pass on what the parts have found, and release what may leave."""
        while self._pass_on(now):
            pass
        for datagram in self._gatherer.datagrams_to_send():
            self._pacer.submit(datagram, Urgency.ANSWER)
        for datagram in self._pacer.release(now):
            if datagram.source in self._relayed:
                self._relays.send(datagram, now)
            else:
                self._outbox.append(datagram)

    def _pass_on(self, now: float) -> bool:
        """Carry news between relays, gatherer and agents; whether there were any."""
        if (wishes := self._agents.take_wishes()) is not None:
            self._relays.wish(wishes, now)
        if self._agents.take_suspicion():
            self._gatherer.suspect(now)
            self._relays.suspect(now)
        news = False
        for datagram in self._relays.take_received():
            news = True
            self._receive_relayed(datagram, now)
        if self._relays.relayed != self._relayed:
            self._relayed = self._relays.relayed
            usable = [end for end in self._relayed if self._underlay.may_send_to(end.ip)]
            self._gatherer.set_relayed(usable, now)
        while (found := self._gatherer.next_event()) is not None:
            self._events.append(found)
            if isinstance(found, CandidatesChanged):
                news = True
                self._agents.set_local_candidates(found.candidates, now)
        # After the candidates: that a relayed address is gone explains more than its channels.
        while (event := self._relays.next_event()) is not None:
            self._events.append(event)
            if isinstance(event, RelayChannelLost):
                news = True
                self._agents.unplug(PairKey(event.relayed, event.remote), now)
        return news or self._agents.wishes_changed

    def _receive_relayed(self, datagram: Datagram, now: float) -> None:
        if self._underlay.refuses(datagram.source.ip):
            self._dropped["from a refused network"] += 1
        elif not is_stun(datagram.payload):
            self._dropped["relayed data without a channel"] += 1
        else:
            self._demultiplex(datagram, now)
