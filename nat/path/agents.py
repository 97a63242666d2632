"""The path agents of all peers that share one port.

Messages find the agent that they concern: a request by the ufrag that it names, a response by its
transaction id. What the agents send goes to one pacer; what they wish of relays is asked for once;
peers behind one address agree on an uplink.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from random import Random

from ..candidate import Candidate
from ..deadlines import Deadlines
from ..early import EarlyCheck, ufrag_of
from ..machine import Datagram, Endpoint, IPAddress
from ..pacer import Pacer
from ..stun.message import MessageClass, StunMessage
from ..turn.relay import RelayWishes
from ..uplinks import SharedUplinks
from .agent import PathAgent
from .credentials import IceCredentials, Role
from .events import DataReport, LossReason, PathLost, PathSelected, PeerId, PeerReport
from .pair import PairKey
from .telling import PathEvent

AgentChange = Callable[[PathAgent], None]
"""Something that is said to an agent."""


class PathAgents:
    """One `PathAgent` for each peer; part of a `Traversal`.

    Args:
        rng: source of transaction ids and jitter; cryptographic in production (RFC 8489 §5).
        pacer: gets what the agents want to send.
        may_send_to: which addresses may be the target of checks.
        is_steady: whether the mapping of a base is known to be the same for every destination.
        data_size: UDP payload in bytes of the largest packet that the data plane makes.
        on_event: gets what the agents say, in its order.
    """

    def __init__(
        self,
        *,
        rng: Random,
        pacer: Pacer,
        may_send_to: Callable[[IPAddress], bool],
        is_steady: Callable[[Endpoint], bool],
        data_size: int | None,
        on_event: Callable[[PathEvent], None],
    ) -> None:
        self._rng = rng
        self._pacer = pacer
        self._may_send_to = may_send_to
        self._is_steady = is_steady
        self._data_size = data_size
        self._on_event = on_event
        self._agents: dict[PeerId, PathAgent] = {}
        self._by_ufrag: dict[str, PeerId] = {}
        self._ufrags: dict[PeerId, str] = {}
        self._deadlines: Deadlines[PeerId] = Deadlines()
        self._wishes: dict[PeerId, RelayWishes] = {}
        self._plugs: dict[PairKey, Endpoint] = {}
        self.wishes_changed = False
        """Whether the agents wish something else of the relays than was taken last."""
        self._suspicious = False
        self._uplinks = SharedUplinks()
        self._active: set[PeerId] = set()
        self._ignored: Counter[str] = Counter()

    def __iter__(self) -> Iterator[PeerId]:
        """Iterate over the peers, in the order in which they were added."""
        return iter(self._agents)

    def add(
        self,
        peer: PeerId,
        *,
        credentials: IceCredentials,
        role: Role,
        candidates: Sequence[Candidate],
        take_early: Callable[[str], Iterable[EarlyCheck]],
        now: float,
    ) -> None:
        """Begin to look for a path to a peer.

        Args:
            peer: the owner's name for it.
            credentials: of this pair of agents.
            role: who nominates.
            candidates: our own.
            take_early: returns the checks that came in for a ufrag before its peer was known.
            now: current time in seconds.

        Raises:
            ValueError: the peer, or its local ufrag, is there already.
        """
        ufrag = credentials.local_ufrag
        if peer in self._agents or ufrag in self._by_ufrag:
            raise ValueError(f"{peer} is there already")
        agent = PathAgent(
            peer=peer,
            credentials=credentials,
            role=role,
            rng=self._rng,
            now=now,
            may_check=self._may_send_to,
            is_steady=self._is_steady,
            agrees=partial(self._uplinks.agrees, peer),
            data_size=self._data_size,
        )
        self._agents[peer] = agent
        self._by_ufrag[ufrag] = peer
        self._ufrags[peer] = ufrag
        agent.set_local_candidates(candidates, now)
        for early in take_early(ufrag):
            agent.receive_early(early.message, early.datagram, now)
        self._take_from(peer, now)

    def remove(self, peer: PeerId, now: float) -> None:
        """Forget a peer; if it had a path, that is lost.

        Raises:
            KeyError: no such peer.
        """
        self._take_from(peer, now)
        agent = self._agents.pop(peer)
        self.wishes_changed |= self._wishes.pop(peer, None) is not None
        del self._by_ufrag[self._ufrags.pop(peer)]
        self._deadlines.discard(peer)
        self._active.discard(peer)
        self._uplinks.forget(peer)
        self._ignored += agent.ignored
        self._pacer.forget(peer)
        if agent.path is not None:
            self._on_event(PathLost(peer, agent.path, LossReason.PEER_GONE))

    def change(self, peer: PeerId, say: AgentChange, now: float) -> None:
        """Say something to one agent.

        Raises:
            KeyError: no such peer.
        """
        say(self._agents[peer])
        self._take_from(peer, now)

    def set_local_candidates(self, candidates: Sequence[Candidate], now: float) -> None:
        """Tell every agent what our candidates are."""
        self._change_all(lambda agent: agent.set_local_candidates(candidates, now), now)

    def network_changed(self, now: float) -> None:
        """Have every agent check every pair at once."""
        self._change_all(lambda agent: agent.network_changed(now), now)

    def report_data(self, peer: PeerId, report: DataReport, now: float) -> None:
        """Take in what the data plane has seen of a peer.

        Raises:
            KeyError: no such peer.
        """
        agent = self._agents[peer]
        agent.share_with(len(self._active))
        agent.report_data(report, now)
        if agent.active(now):
            self._active.add(peer)
        else:
            self._active.discard(peer)
        self._take_from(peer, now)

    def plug(self, key: PairKey, loopback: Endpoint, now: float) -> None:
        """Tell whose channel it is that the data plane reaches at an endpoint."""
        self._plugs[key] = loopback
        channel = (key.base, key.remote)
        for peer in [peer for peer, wishes in self._wishes.items() if channel in wishes.channels]:
            self.change(peer, lambda agent: agent.plug(key, loopback, now), now)

    def unplug(self, key: PairKey, now: float) -> None:
        """Tell that the data plane does not reach a channel any more."""
        self._plugs.pop(key, None)
        self._change_all(lambda agent: agent.unplug(key, now), now)

    def addressee(self, message: StunMessage) -> PeerId | None:
        """Return whom a message concerns."""
        if message.message_class is MessageClass.REQUEST:
            return self._by_ufrag.get(ufrag_of(message))
        return self._asker(message)

    def receive(self, peer: PeerId, message: StunMessage, datagram: Datagram, now: float) -> None:
        """Hand a message to the agent that it concerns."""
        if self._agents[peer].receive_message(message, datagram, now):
            self._pacer.know(datagram.source.ip)
        self._take_from(peer, now)

    def not_sent(self, check: StunMessage, reason: str, now: float) -> None:
        """Note that our own host would not send a check."""
        if (peer := self._asker(check)) is not None:
            transaction_id = check.transaction_id
            self.change(peer, lambda agent: agent.not_sent(transaction_id, reason, now), now)

    def handle_timeout(self, now: float) -> None:
        """Do whatever is due at `now`. Calling early or twice is harmless."""
        for peer in self._deadlines.due(now):
            self.change(peer, lambda agent: agent.handle_timeout(now), now)

    def next_timeout(self) -> float:
        """When to call `handle_timeout` next; infinity: nothing is pending."""
        soonest = self._deadlines.soonest()
        return math.inf if soonest is None else soonest

    def take_wishes(self) -> RelayWishes | None:
        """Take what all agents together wish of the relays; `None`: the same as before."""
        if not self.wishes_changed:
            return None
        self.wishes_changed = False
        return _union(self._wishes.values())

    def take_suspicion(self) -> bool:
        """Return whether our network has looked like another one to any agent since last asked."""
        suspicious, self._suspicious = self._suspicious, False
        return suspicious

    @property
    def ignored(self) -> Counter[str]:
        """Datagrams that changed nothing, by reason."""
        return sum((agent.ignored for agent in self._agents.values()), Counter(self._ignored))

    def report(self, peer: PeerId, now: float) -> PeerReport:
        """Describe the paths of a peer for a person.

        Raises:
            KeyError: no such peer.
        """
        return self._agents[peer].report(now)

    def _change_all(self, say: AgentChange, now: float) -> None:
        for peer in self._agents:
            self.change(peer, say, now)

    def _asker(self, message: StunMessage) -> PeerId | None:
        """Return whose request in flight has the transaction id of a message."""
        for peer, agent in self._agents.items():
            if agent.awaits(message.transaction_id):
                return peer
        return None

    def _take_from(self, peer: PeerId, now: float) -> None:
        """Collect what an agent has to send, to say and to wish, and when it is to be woken up."""
        agent = self._agents[peer]
        self._note_wishes(peer, agent, now)
        for outgoing in agent.outgoing():
            self._pacer.submit(outgoing.datagram, outgoing.urgency, owner=peer)
        self._suspicious |= agent.take_suspicion()
        while (event := agent.next_event()) is not None:
            self._on_event(event)
            self._share_uplink(peer, event)
        self._deadlines.set(peer, agent.next_timeout())

    def _note_wishes(self, peer: PeerId, agent: PathAgent, now: float) -> None:
        wishes, known = agent.wishes(now), self._wishes.get(peer, _NO_WISHES)
        if wishes == known:
            return
        self._wishes[peer] = wishes
        self.wishes_changed = True
        for key in (PairKey(*channel) for channel in wishes.channels - known.channels):
            # Who was at that address before has it still: nobody will be told of it again.
            if (loopback := self._plugs.get(key)) is not None:
                agent.plug(key, loopback, now)

    def _share_uplink(self, peer: PeerId, event: PathEvent) -> None:
        match event:
            case PathSelected(path=path):
                for overruled in self._uplinks.select(peer, path):
                    self._deadlines.set(overruled, 0.0)  # let it choose again at once
            case PathLost():
                self._uplinks.forget(peer)
            case _:
                pass


_NO_WISHES = RelayWishes()


def _union(wishes: Iterable[RelayWishes]) -> RelayWishes:
    every = tuple(wishes)
    return RelayWishes(
        frozenset().union(*(one.permissions for one in every)),
        frozenset().union(*(one.channels for one in every)),
    )
